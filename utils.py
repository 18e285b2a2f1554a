"""The course's toolbox: a table of contents of coursepack/, in the order that the data goes.

A notebook imports this module alone. What it offers is written, and best read, in these rooms, each
of which imports only from those before it. The networks and their layers are in model.py.
"""

# Where the course lies, writing without losing, checks of folders and ranges.
from coursepack.files import ROOT, check_range, check_writable, find_folder, replace_file

# What a process needs before PyTorch works well in it; how many threads a run takes.
from coursepack.threads import THREADS, count_cores, fix_threads, set_up_torch

# Reading images and labels: .npz, torchvision's files, the sample of 5,000 digits.
from coursepack.sources import check_arrays, read_npz, read_sample, read_torchvision, unreachable

# The named datasets: finding, loading, statistics of their pixels.
from coursepack.data import (
    DATASETS, SAMPLE, Dataset, describe_data, find_dataset, load_dataset, pixel_statistics,
)

# The parameters of a run and of a summary, checked together.
from coursepack.recipe import (
    PENALIZE, PLACES, SCHEDULES, Recipe, check_injected, pick_device, summary_parameters,
)

# uint8 images -> moved and normalized batches.
from coursepack.batches import apply_affine, random_affine, to_input, training_batches

# An unfinished run: what it is of, who may write to it, going on with it.
from coursepack.checkpoints import checkpoint_file, hold, identity, release, resume, save_checkpoint

# Network, penalty, learning rate, training, evaluation.
from coursepack.training import (
    add_penalty, build_model, evaluate, learning_rate, loss_and_accuracy, make_optimizer,
    penalized_parameters, penalty, predict, train, train_and_test, train_epoch,
)

# Which test images a network gets wrong.
from coursepack.mistakes import Misclassified, find_misclassified, load_misclassified

# What a run leaves behind, and reading it.
from coursepack.records import (
    PUBLISHED, RECIPES, find_runs, load_record, load_run, save_run, share_near_zero,
)

# Recipes side by side: names and looks, intervals, tables, differences.
from coursepack.compare import (
    LOOKS, Difference, accuracy_interval, by_recipe, check_comparable, final_values, findings,
    mcnemar_test, mean_interval, pairwise_differences, recipe_title, results_table,
)

# All pictures; and the one call that sets a process up.
from coursepack.figures import (
    GRAPHS, add_caption, axes_grid, label_ends, plot_confusions, plot_graph, plot_misclassified,
    set_up, show, show_images,
)
