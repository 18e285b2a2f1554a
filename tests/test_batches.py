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
    expected = (images.double() / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-12)


def test_movement_is_that_of_torchs_grid():
    torch.manual_seed(0)
    x, movement = torch.rand(7, 3, 9, 12).double(), torch.randn(7, 2, 3).double()
    grid = F.affine_grid(movement, x.shape, align_corners=False)
    expected = F.grid_sample(x, grid, align_corners=False)
    torch.testing.assert_close(batches.apply_affine(x, movement), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("augment", "height", "width"), [
    *((augment, 28, 28) for augment in ("none", "rotate", "shift", "flip", "rotate+shift+flip")),
    ("rotate+shift+flip", 64, 48)])
def test_parts_of_an_augmentation_are_as_large_as_they_say_and_add_up(augment, height, width):
    torch.manual_seed(0)
    movement = batches.random_affine(1000, augment, height, width).double()
    pixels = torch.tensor([width, height]).double() / max(width, height)
    turn = movement[:, :, :2] * pixels.view(2, 1) / pixels  # of an image that is not square, too
    shift = movement[:, :, 2]
    still = torch.eye(2).double().expand_as(turn)  # nothing is stretched
    torch.testing.assert_close(turn @ turn.mT, still, rtol=0, atol=1e-6)
    flipped = (torch.linalg.det(turn) < 0).sum()
    assert 400 < flipped < 600 if "flip" in augment else flipped == 0
    degrees = torch.atan2(turn[:, 1, 0], turn[:, 1, 1]).rad2deg()
    for part, values, most in [("rotate", degrees, 7), ("shift", shift[:, 0], 0.2),
                               ("shift", shift[:, 1], 0.2)]:  # of a width of 2: a tenth
        most = most if part in augment else 0
        assert values.max().item() == pytest.approx(most, rel=0.01, abs=1e-6)
        assert values.min().item() == pytest.approx(-most, rel=0.01, abs=1e-6)


def test_a_crop_moves_images_by_whole_pixels_one_at_most_of_each_32():
    torch.manual_seed(0)
    x = torch.rand(200, 3, 32, 64).double()
    movement = batches.random_affine(len(x), "crop", 32, 64)
    moved, seen = batches.apply_affine(x, movement.double()), set()
    for image, after, (right, down) in zip(x, moved, movement[:, :, 2] * torch.tensor([32, 16])):
        seen.add((across := round(right.item()), along := round(down.item())))
        expected = F.pad(image, (2, 2, 2, 2))[:, 2 + along : 34 + along, 2 + across : 66 + across]
        torch.testing.assert_close(after, expected, rtol=0, atol=1e-5)
    assert seen == {(across, along) for across in range(-2, 3) for along in range(-1, 2)}


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
