"""How sure a network was, and how often it was right: reliability tables."""

import numpy as np
import pytest
import torch

from coursepack.runs import mistakes


def test_bins_hold_their_lower_edge_and_the_last_also_its_upper_one():
    rows = mistakes.reliability_table([0.0, 0.5, 0.5, 0.9, 1.0], [0, 1, 0, 1, 1], [0, 0.5, 0.9, 1])
    assert rows == [{"above": 0.0, "images": 1, "confidence": 0.0, "accuracy": 0.0},
                    {"above": 0.5, "images": 2, "confidence": 0.5, "accuracy": 0.5},
                    {"above": 0.9, "images": 2, "confidence": 0.95, "accuracy": 1.0}]


def test_calibration_error_is_the_mean_gap_weighted_by_images():
    rows = mistakes.reliability_table([0.6, 0.6, 0.6, 0.99], [1, 0, 0, 1])
    assert mistakes.calibration_error(rows) == pytest.approx((3 * (0.6 - 1 / 3) + 0.01) / 4)


def test_who_is_right_as_often_as_he_says_is_calibrated():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.1, 1, 200_000)
    right = rng.uniform(size=200_000) < confidence
    rows = mistakes.reliability_table(confidence, right)
    assert mistakes.calibration_error(rows) < 0.005
    assert mistakes.calibration_error(mistakes.reliability_table(confidence, right | True)) > 0.4


def errors_of(*wrong):
    """Misclassified of some (index, prediction); an image is known by its index."""
    index, said = (np.array(part, int) for part in zip(*wrong))
    image = np.stack([np.full((1, 2, 2), i, np.uint8) for i in index])
    chance = np.full(len(index), 0.5, np.float32)
    return mistakes.Misclassified(index, image, index % 10, said, chance, chance / 2)


def test_shared_mistakes_are_found_in_each_networks_own_order():
    both = [errors_of((7, 1), (3, 2), (5, 4)), errors_of((5, 6), (7, 8), (9, 0))]
    shared = mistakes.shared_mistakes(both)
    assert shared.index.tolist() == [5, 7]
    assert shared.image[:, 0, 0, 0].tolist() == [5, 7]
    assert shared.label.tolist() == [5, 7]
    assert shared.predictions.tolist() == [[4, 6], [1, 8]]
    none = mistakes.shared_mistakes([*both, errors_of((1, 5))])
    assert (none.image.shape, none.predictions.shape) == ((0, 1, 2, 2), (0, 3))


def test_a_probability_that_was_rounded_up_counts_as_one(few):
    probabilities = torch.zeros(520, 10)
    probabilities[range(520), few.test_labels] = 1 + 2e-7
    [row] = mistakes.find_calibration(probabilities, few)
    assert row == {"above": 0.9999, "images": 520, "confidence": 1.0, "accuracy": 1.0}
