"""Fold and Unfold: convolution by columns, adjoints of each other, and what they refuse."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcparams import nn
from funcparams.testing import operation_counts

X = np.random.RandomState(0).randn(2, 3, 6, 7).astype(np.float32)


def test_a_convolution_is_a_product_with_the_columns() -> None:
    weight = np.random.RandomState(1).randn(5, 3, 2, 3).astype(np.float32)
    columns = nn.Unfold((2, 3), stride=(2, 1), padding=1).apply({}, X)
    y = jnp.einsum("ok,nkl->nol", weight.reshape(5, -1), columns)
    wanted = lax.conv(X, weight, (2, 1), [(1, 1), (1, 1)])
    np.testing.assert_allclose(y.reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"stride": 3}, {"padding": 2, "stride": 3}])
@pytest.mark.parametrize("channels_last", [False, True])
def test_fold_is_the_adjoint_of_unfold(options: Any, channels_last: bool) -> None:
    x = np.moveaxis(X, 1, -1) if channels_last else X
    unfold = nn.Unfold(3, **options, channels_last=channels_last)
    fold = nn.Fold((6, 7), 3, **options, channels_last=channels_last)
    y, pull = jax.vjp(lambda x: unfold.apply({}, x), x)
    columns = np.random.RandomState(2).randn(*y.shape).astype(np.float32)
    wanted = pull(columns)[0]
    np.testing.assert_allclose(fold.apply({}, columns), wanted, rtol=1e-5, atol=1e-6)


def test_patches_side_by_side_are_moved_and_not_copied_one_by_one() -> None:
    x = jax.ShapeDtypeStruct((2, 3, 64, 64), np.float32)
    counts = operation_counts(nn.Unfold(16, stride=16).apply, {}, x)
    assert counts["stablehlo.concatenate"] == counts["stablehlo.slice"] == 0
    # Two axes are cut one after the other: as many slices as the sides of a block, not its area.
    overlapping = operation_counts(nn.Unfold((4, 5)).apply, {}, x)
    assert overlapping["stablehlo.slice"] == 4 + 5


def test_integers_keep_their_dtype() -> None:
    columns = nn.Unfold(2, padding=1).apply({}, np.ones((1, 2, 2), np.int8))
    assert columns.dtype == jnp.int8
    image = nn.Fold(2, 2, padding=1).apply({}, columns)
    assert image.dtype == jnp.int8
    np.testing.assert_array_equal(image, [[[4, 4], [4, 4]]])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.Unfold(0), "Unfold(kernel_size=0): expected an integer >= 1."),
        (
            lambda: nn.Unfold((2, 2, 2)),
            "Unfold(kernel_size=(2, 2, 2)): expected one integer, or one for each of 2 axes.",
        ),
        (lambda: nn.Unfold(2, padding=-1), "Unfold(padding=-1): expected an integer >= 0."),
        (lambda: nn.Fold(0, 2), "Fold(output_size=0): expected an integer >= 1."),
        (lambda: nn.Fold(4, 2, stride=(1, 0)), "Fold(stride=0): expected an integer >= 1."),
    ],
)
def test_arguments_that_are_refused(make: Any, text: str) -> None:
    with pytest.raises(nn.ArgumentError) as error:
        make()
    assert str(error.value) == text


COLUMNS = (
    "for output_size=4, kernel_size=2, dilation=1, padding=0, stride=2: 2 * 2 blocks. Got shape "
)


@pytest.mark.parametrize(
    ("model", "shape", "text"),
    [
        (
            nn.Unfold(3, dilation=2),
            (1, 4, 6),
            "Unfold: expected an input that is no smaller than a block, got shape (1, 4, 6) for "
            "kernel_size=3, dilation=2, padding=0.",
        ),
        (
            nn.Unfold(3),
            (4, 6),
            "Unfold: expected an input of shape (N, C, H, W), or (C, H, W) without a batch axis, "
            "got shape (4, 6).",
        ),
        *(
            (
                nn.Fold(4, 2, stride=2),
                shape,
                "Fold: expected an input of shape (N, C * 4, 4), or (C * 4, 4) without a batch "
                f"axis, {COLUMNS}{shape}.",
            )
            for shape in ((6, 4), (8, 5), (4,))
        ),
        (
            nn.Fold(4, 2, stride=2, channels_last=True),
            (8, 4, 3),
            "Fold: expected an input of shape (N, 4, C * 4), or (4, C * 4) without a batch axis, "
            f"{COLUMNS}(8, 4, 3).",
        ),
    ],
)
def test_inputs_that_are_refused(model: Any, shape: Any, text: str) -> None:
    with pytest.raises(nn.InputError) as error:
        model.apply({}, jnp.ones(shape))
    assert str(error.value) == text
