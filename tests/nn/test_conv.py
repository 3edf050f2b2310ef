"""Convolutions: paddings, layouts, and what they refuse."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcparams import nn

KEY = jax.random.key(0)
X = np.random.RandomState(0).randn(2, 3, 5, 6).astype(np.float32)


def test_channels_last_is_the_same_function_of_moved_data() -> None:
    first = nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=1)
    last = nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=1, channels_last=True)
    params = first.init(KEY)
    assert first.abstract() == last.abstract()
    y = last.apply(params, np.moveaxis(X, 1, -1))
    np.testing.assert_allclose(np.moveaxis(y, -1, 1), first.apply(params, X), rtol=1e-5, atol=1e-5)


def test_without_a_batch_axis_it_is_one_example() -> None:
    model = nn.Conv2d(3, 4, 3)
    params = model.init(KEY)
    np.testing.assert_allclose(model.apply(params, X[1]), model.apply(params, X)[1], rtol=1e-5)


def test_same_keeps_the_size_also_of_even_kernels() -> None:
    model = nn.Conv2d(3, 1, (4, 3), padding="same", dilation=(1, 2))
    assert model.apply(model.init(KEY), X).shape == (2, 1, 5, 6)


def test_groups_see_their_own_channels_only() -> None:
    model = nn.Conv1d(2, 2, 1, groups=2, bias=False)
    y = model.apply({"weight": jnp.array([[[2.0]], [[5.0]]])}, jnp.array([[1.0, 1], [1, 1]]))
    np.testing.assert_array_equal(y, [[2, 2], [5, 5]])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: nn.Conv2d(3, 4, 3, groups=2),
            "Conv2d(in_channels=3, groups=2): in_channels must be divisible by groups.",
        ),
        (
            lambda: nn.Conv2d(4, 3, 3, groups=2),
            "Conv2d(out_channels=3, groups=2): out_channels must be divisible by groups.",
        ),
        (lambda: nn.Conv1d(4, 4, 3, groups=0), "Conv1d(groups=0): expected an integer >= 1."),
        (lambda: nn.Conv1d(4, 4, 0), "Conv1d(kernel_size=0): expected an integer >= 1."),
        (
            lambda: nn.Conv3d(4, 4, (3, 3)),
            "Conv3d(kernel_size=(3, 3)): expected one integer, or one for each of 3 axes.",
        ),
        (
            lambda: nn.Conv2d(4, 4, 3, padding="sme"),
            "Conv2d(padding='sme'): expected one of 'same', 'valid'; did you mean 'same'?.",
        ),
        (
            lambda: nn.Conv2d(4, 4, 3, stride=2, padding="same"),
            "Conv2d(padding='same', stride=(2, 2)): padding='same' is not supported for strided "
            "convolutions; give the padding as numbers.",
        ),
        (
            lambda: nn.Conv2d(4, 4, 3, padding_mode="refelct"),
            "Conv2d(padding_mode='refelct'): expected one of 'zeros', 'reflect', 'replicate', "
            "'circular'; did you mean 'reflect'?.",
        ),
    ],
)
def test_arguments_that_are_refused(make, text) -> None:
    with pytest.raises(nn.ArgumentError) as error:
        make()
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("model", "shape", "text"),
    [
        (
            nn.Conv2d(3, 4, 3),
            (2, 5, 5, 3),
            "Conv2d: expected in_channels=3 channels on axis 1 (channels_last=False), got 5 in an "
            "input of shape (2, 5, 5, 3).",
        ),
        (
            nn.Conv2d(3, 4, 3),
            (3, 5),
            "Conv2d: expected an input of shape (N, C, H, W), or (C, H, W) without a batch axis, "
            "got shape (3, 5).",
        ),
        (
            nn.Conv1d(3, 4, 3, channels_last=True),
            (1, 2, 3, 3),
            "Conv1d: expected an input of shape (N, L, C), or (L, C) without a batch axis, got "
            "shape (1, 2, 3, 3).",
        ),
        (
            nn.Conv2d(3, 4, 3, dilation=2, padding=1),
            (1, 3, 2, 5),
            "Conv2d: expected an input that is no smaller than the kernel, got 4 places with "
            "padding on axis 2 of shape (1, 3, 2, 5), where the kernel covers 5.",
        ),
        (
            nn.Conv1d(3, 4, 3, padding=4, padding_mode="reflect"),
            (3, 4),
            "Conv1d: padding_mode='reflect' can pad an axis of 4 by 3 at most, got padding 4 on "
            "axis 1 of shape (3, 4).",
        ),
        (
            nn.Conv1d(3, 4, 3, padding=5, padding_mode="circular"),
            (3, 4),
            "Conv1d: padding_mode='circular' can pad an axis of 4 by 4 at most, got padding 5 on "
            "axis 1 of shape (3, 4).",
        ),
    ],
)
def test_inputs_that_are_refused(model, shape, text) -> None:
    with pytest.raises(nn.InputError) as error:
        model.apply(model.init(KEY), jnp.ones(shape))
    assert str(error.value) == text


def test_another_dtype_is_refused() -> None:
    model = nn.Conv2d(3, 4, 3)
    with pytest.raises(nn.InputTypeError, match=r"the input is bfloat16\[2, 3, 5, 6\]"):
        model.apply(model.init(KEY), jnp.asarray(X, jnp.bfloat16))
