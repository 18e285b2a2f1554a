"""The course's toolbox: a table of contents of coursepack/, in the order that the data goes.

A notebook imports this module alone. What it offers is written, and best read, in these rooms, each
of which imports only from those before it. The networks and their layers are in model.py.
"""

# Where the course lies, writing without losing, checks of folders and ranges.
from coursepack.files import ROOT, check_range, check_writable, find_folder, replace_file

# What a process needs before PyTorch works well in it; how many threads a run takes.
from coursepack.threads import THREADS, count_cores, fix_threads, set_up_torch

# Reading images and labels: .npz, torchvision's files, the sample of 5,000 digits.
from coursepack.sources import read_npz, read_sample

# The named datasets: finding, loading, statistics of their pixels.
from coursepack.data import (
    DATASETS, SAMPLE, Dataset, describe_data, find_dataset, load_dataset, pixel_statistics,
)

# The parameters of a run and of a summary, checked together.
from coursepack.recipe import (
    PENALIZE, PLACES, SCHEDULES, Recipe, by_hand_parameters, live_parameters,
    pick_device, summary_parameters,
)

# uint8 images -> moved and normalized batches.
from coursepack.batches import apply_affine, random_affine, to_input, training_batches

# What a step does to the weights: penalties, learning rate, optimizer.
from coursepack.steps import (
    add_penalty, decay, learning_rate, make_optimizer, penalized_parameters, penalty, rate_for_l2,
    scale_free_weights, shrink, take_step,
)

# An unfinished run: what it is of, who may write to it, going on with it.
from coursepack.checkpoints import checkpoint_file, hold, identity, release, resume, save_checkpoint

# Network, training, evaluation.
from coursepack.training import (
    build_model, evaluate, loss_and_accuracy, predict, probe, train, train_and_test, train_epoch,
)

# What can be measured in a trained network.
from coursepack.measures import (
    MEASURES, batch_statistics, fit, measure, pooled_rank, sparsity, variance_shift, weight_norms,
)

# Which test images a network gets wrong.
from coursepack.mistakes import (
    Misclassified, calibration_error, load_misclassified, reliability_table, shared_mistakes,
)

# What a run leaves behind, and reading it.
from coursepack.records import (
    PUBLISHED, RECIPES, find_runs, load_record, load_run, save_run, share_near_zero,
)

# Experiments of many small runs, each a row of a table.
from coursepack.laboratory import (
    describe_table, load_records, load_table, read_table, run_once, train_beside, try_out, wrap,
)

# Recipes side by side: names and looks, intervals, tables, differences.
from coursepack.compare import (
    LOOKS, Difference, accuracy_interval, by_recipe, check_comparable, final_values, findings,
    mcnemar_test, mean_interval, pairwise_differences, recipe_title, results_table,
)

# What the table of a study says: means, intervals, differences.
from coursepack.effects import (
    against, all_pairs, by_point, describe_differences, paired_against, readable_p,
    readable_shares, seeds_needed, slope, variance_table, welch_at,
)

# What all pictures share, graphs by epoch; and the one call that sets a process up.
from coursepack.figures import (
    GRAPHS, add_caption, axes_grid, label_ends, plot_graph, set_up, show, show_images,
)

# Which numbers share a mean, how weights are spread, what a network got wrong.
from coursepack.pictures import (
    plot_confusions, plot_means, plot_misclassified, plot_reliability, plot_weights,
)

# Pictures of the tables of studies.
from coursepack.charts import (
    add_note, draw_power, plot_effect, plot_heat, plot_path, with_errors, with_ways,
)
