"""Batches: movements against PyTorch's, normalization, every image once an epoch."""

import pytest
import torch
import torch.nn.functional as F
from helpers import make_recipe

from coursepack.train import batches


def test_input_is_normalized_by_channel(digits):
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (5, 3, 8, 8), generator=draw, dtype=torch.uint8)
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.4, 0.5, 0.6])
    x = batches.to_input(images, digits._replace(mean=mean, std=std), torch.float64)
    for channel in range(3):
        expected = (images[:, channel].double() / 255 - mean[channel]) / std[channel]
        torch.testing.assert_close(x[:, channel], expected, rtol=0, atol=1e-12)


def blob(dy, dx, count=1000):
    """Images with one bright spot, dy below and dx right of the middle, in pixels."""
    x = torch.zeros(count, 1, 29, 29, dtype=torch.float64)
    x[:, :, 13 + dy : 16 + dy, 13 + dx : 16 + dx] = 1
    return x


def centre_of_mass(x):
    """How far below and right of the middle the light of each image is, in pixels."""
    offset = torch.arange(29, dtype=torch.float64) - 14
    light = x.sum((1, 2, 3))
    return (x.sum((1, 3)) * offset).sum(1) / light, (x.sum((1, 2)) * offset).sum(1) / light


def moved(x, augment):
    torch.manual_seed(0)
    return batches.apply_affine(x, batches.random_affine(len(x), augment))


def test_movement_is_that_of_torchs_grid():
    torch.manual_seed(0)
    x, movement = torch.rand(7, 3, 9, 12).double(), torch.randn(7, 2, 3).double()
    grid = F.affine_grid(movement, x.shape, align_corners=False)
    expected = F.grid_sample(x, grid, align_corners=False)
    torch.testing.assert_close(batches.apply_affine(x, movement), expected, rtol=0, atol=1e-12)


def test_none_moves_nothing_and_flip_mirrors_about_every_second_image_exactly(few):
    x = few.train_images.double() / 255
    y = moved(x, "flip")
    torch.testing.assert_close(moved(x, "none"), x, rtol=0, atol=1e-6)
    same = (y - x).abs().amax((1, 2, 3)) < 1e-6
    mirrored = (y - x.flip(3)).abs().amax((1, 2, 3)) < 1e-6
    assert (same | mirrored).all()
    assert 100 < mirrored.sum() < 200


def test_rotate_turns_by_at_most_7_degrees_either_way():
    down, right = centre_of_mass(moved(blob(0, 9), "rotate"))
    angle = torch.atan2(down, right).rad2deg()
    assert 6.5 < angle.max() < 7.05
    assert -7.05 < angle.min() < -6.5
    torch.testing.assert_close(down.hypot(right), torch.full_like(right, 9), rtol=0, atol=0.05)


def test_shift_moves_by_at_most_a_tenth_in_every_direction():
    for offset in centre_of_mass(moved(blob(0, 0), "shift")):
        assert 2.7 < offset.max() < 2.9001
        assert -2.9001 < offset.min() < -2.7


def test_parts_of_an_augmentation_add_up():
    torch.manual_seed(0)
    movement = batches.random_affine(1000, "rotate+shift+flip")
    determinant = torch.linalg.det(movement[:, :, :2].double())
    torch.testing.assert_close(determinant.abs(), torch.ones_like(determinant))
    assert 400 < (determinant < 0).sum() < 600
    assert (movement[:, 0, 1].abs() > 0.1).any()
    assert (movement[:, :, 2].abs() > 0.15).any()


@pytest.mark.parametrize("augment", ["none", "rotate+shift"])
def test_each_training_image_is_used_once_an_epoch_with_its_own_label(tmp_path, digits, augment):
    images = torch.arange(150, dtype=torch.uint8).view(150, 1, 1, 1).expand(150, 1, 9, 9)
    data = digits._replace(train_images=images, train_labels=torch.arange(150))
    recipe = make_recipe(tmp_path, augment=augment)
    torch.manual_seed(0)
    epoch = list(batches.training_batches(data, recipe, torch.float64))
    assert [len(labels) for _, labels in epoch] == [64, 64, 22]
    labels = torch.cat([labels for _, labels in epoch])
    middle = torch.cat([x[:, 0, 4, 4] for x, _ in epoch])
    shown = ((middle * data.std + data.mean) * 255).round().long()
    assert torch.equal(shown, labels)
    assert torch.equal(labels.sort().values, torch.arange(150))
    assert not torch.equal(labels, torch.arange(150))
