"""The course's toolbox: a table of contents of coursepack/, in the order that the data goes.

A notebook imports this module alone. What it offers is written, and best read, in these rooms, each
of which imports only from those before it. The networks and their layers are in model.py.
"""

# Where the course lies, writing without losing, checks of folders and ranges.
from coursepack.files import check_writable, find_folder

# The named datasets: finding, loading, statistics of their pixels.
from coursepack.data import load_dataset

# The parameters of a run and of a summary, checked together.
from coursepack.recipe import (
    Recipe, by_hand_parameters, live_parameters, pick_device, summary_parameters,
)

# uint8 images -> moved and normalized batches.
from coursepack.batches import apply_affine, random_affine, to_input

# What a step does to the weights: penalties, learning rate, optimizer.
from coursepack.steps import decay, penalized_parameters, penalty, rate_for_l2, shrink

# Network, training, evaluation.
from coursepack.training import build_model, evaluate, predict, probe, train

# What can be measured in a trained network.
from coursepack.measures import batch_statistics, pooled_rank, sparsity

# Which test images a network gets wrong.
from coursepack.mistakes import calibration_error, shared_mistakes

# What a run leaves behind, and reading it.
from coursepack.records import PUBLISHED, find_runs, load_run, save_run

# Experiments of many small runs, each a row of a table.
from coursepack.laboratory import (
    describe_table, load_records, load_table, train_beside, try_out, wrap,
)

# Recipes side by side: names and looks, intervals, tables, differences.
from coursepack.compare import (
    LOOKS, accuracy_interval, by_recipe, check_comparable, findings, mcnemar_test, recipe_title,
    results_table,
)

# What the table of a study says: means, intervals, differences.
from coursepack.effects import (
    against, all_pairs, by_point, describe_differences, paired_against, readable_p,
    readable_shares, seeds_needed, slope, variance_table, welch_at,
)

# What all pictures share, graphs by epoch; and the one call that sets a process up.
from coursepack.figures import (
    add_caption, axes_grid, label_ends, plot_graph, set_up, show, show_images,
)

# Which numbers share a mean, how weights are spread, what a network got wrong.
from coursepack.pictures import (
    plot_confusions, plot_means, plot_misclassified, plot_reliability, plot_weights,
)

# Pictures of the tables of studies.
from coursepack.charts import (
    add_note, draw_power, plot_effect, plot_heat, plot_path, with_errors, with_ways,
)
