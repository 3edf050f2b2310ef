"""PixelShuffle, PixelUnshuffle and ChannelShuffle: inverses, layouts, and what they refuse."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from funcparams import nn

X = np.arange(2 * 8 * 3 * 5).reshape(2, 8, 3, 5)


@pytest.mark.parametrize("channels_last", [False, True])
def test_pixels_come_back(channels_last: bool) -> None:
    x = np.moveaxis(X, 1, -1) if channels_last else X
    larger = nn.PixelShuffle(2, channels_last=channels_last).apply({}, x)
    back = nn.PixelUnshuffle(2, channels_last=channels_last).apply({}, larger)
    np.testing.assert_array_equal(back, x)
    single = nn.PixelShuffle(2, channels_last=channels_last).apply({}, x[1])
    np.testing.assert_array_equal(single, larger[1])


def test_each_pixel_holds_the_channels_of_its_own_block() -> None:
    y = nn.PixelShuffle(2).apply({}, X)
    for row in (0, 1):
        for column in (0, 1):
            wanted = X[:, 2 * row + column :: 4]
            np.testing.assert_array_equal(y[:, :, row::2, column::2], wanted)


@pytest.mark.parametrize("channels_last", [False, True])
def test_shuffling_by_the_groups_and_by_their_size_comes_back(channels_last: bool) -> None:
    x = np.moveaxis(X, 1, -1) if channels_last else X
    y = nn.ChannelShuffle(2, channels_last=channels_last).apply({}, x)
    channels = np.moveaxis(y, -1, 1) if channels_last else y
    np.testing.assert_array_equal(channels, X[:, [0, 4, 1, 5, 2, 6, 3, 7]])
    back = nn.ChannelShuffle(4, channels_last=channels_last).apply({}, y)
    np.testing.assert_array_equal(back, x)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.PixelShuffle(0), "PixelShuffle(upscale_factor=0): expected an integer >= 1."),
        (
            lambda: nn.PixelUnshuffle(1.5),
            "PixelUnshuffle(downscale_factor=1.5): expected an integer >= 1.",
        ),
        (lambda: nn.ChannelShuffle(0), "ChannelShuffle(groups=0): expected an integer >= 1."),
    ],
)
def test_arguments_that_are_refused(make: Any, text: str) -> None:
    with pytest.raises(nn.ArgumentError) as error:
        make()
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("model", "shape", "text"),
    [
        (
            nn.PixelShuffle(2),
            (6, 2, 2),
            "PixelShuffle: expected channels that are divisible by upscale_factor**2 = 4, got 6 on "
            "axis 0 of shape (6, 2, 2).",
        ),
        (
            nn.PixelShuffle(2, channels_last=True),
            (4, 4),
            "PixelShuffle: expected an input of shape (..., H, W, C), got shape (4, 4).",
        ),
        (
            nn.PixelUnshuffle(2),
            (1, 4, 3),
            "PixelUnshuffle: expected a height and width that are divisible by downscale_factor=2, "
            "got 3 on axis 2 of shape (1, 4, 3).",
        ),
        (
            nn.ChannelShuffle(3),
            (1, 4, 3),
            "ChannelShuffle: expected channels that are divisible by groups=3, got 4 on axis 1 of "
            "shape (1, 4, 3).",
        ),
        (
            nn.ChannelShuffle(2),
            (1, 4),
            "ChannelShuffle: expected an input of shape (N, C, ...) with three axes or more, got "
            "shape (1, 4).",
        ),
    ],
)
def test_inputs_that_are_refused(model: Any, shape: Any, text: str) -> None:
    with pytest.raises(nn.InputError) as error:
        model.apply({}, jnp.ones(shape))
    assert str(error.value) == text
