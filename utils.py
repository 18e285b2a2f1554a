"""The course's toolbox: a table of contents of coursepack/, in the order that the data goes.

A notebook imports this module alone. What it offers is written, and best read, in these wings, each
of which imports only from those before it. The networks and their layers are in model.py.
"""

# -- ground: where the course lies, checks of folders; the device
from coursepack.files import check_writable, find_folder
from coursepack.threads import pick_device

# -- data: the named datasets; your own
from coursepack.data.datasets import load_dataset
from coursepack.data.imports import import_data

# -- train: what a step does to weights; the parameters of a run; batches; network and loop
from coursepack.train.updates import decay, penalized_parameters, penalty, rate_for_l2, shrink
from coursepack.train.recipe import (
    Recipe, by_hand_parameters, live_parameters, summary_parameters,
)
from coursepack.train.batches import apply_affine, random_affine, to_input
from coursepack.train.loop import build_model, evaluate, predict, train, train_beside

# -- runs: what a run leaves behind; its mistakes; runs of one recipe
from coursepack.runs.mistakes import shared_mistakes
from coursepack.runs.records import PUBLISHED, find_runs, load_run, save_run
from coursepack.runs.recipes import by_recipe, check_comparable, recipe_title

# -- lab: what can be measured in a network; experiments of many runs; what their tables say
from coursepack.lab.measures import batch_statistics, pooled_rank, recomputed, sparsity
from coursepack.lab.rows import describe_table, load_records, load_table, try_out, wrap
from coursepack.lab.effects import (
    accuracy_interval, describe_differences, dunnett, findings, games_howell, mcnemar_test,
    paired_t_tests, readable_p, results_table, seeds_needed,
)

# -- show: looks and the theme; graphs by epoch and grids; what is computed; charts of tables
from coursepack.show.looks import LOOKS, set_up
from coursepack.show.figures import (
    add_caption, axes_grid, label_ends, plot_graph, show, show_images,
)
from coursepack.show.pictures import (
    plot_confusions, plot_means, plot_misclassified, plot_reliability, plot_samples, plot_weights,
)
from coursepack.show.charts import (
    add_note, draw_power, plot_differences, plot_effect, plot_path, plot_runs,
    with_errors, with_kinds, with_ways,
)
