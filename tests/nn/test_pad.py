"""Padding layers: against numpy.pad, with negative numbers, and what they refuse."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from funcparams import nn

X = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
KINDS = [
    ("ReflectionPad", "reflect"),
    ("ReplicationPad", "edge"),
    ("CircularPad", "wrap"),
    ("ZeroPad", "constant"),
]


@pytest.mark.parametrize(("kind", "mode"), KINDS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_it_is_what_numpy_gives(kind: str, mode: Any, channels_last: bool) -> None:
    model = getattr(nn, f"{kind}2d")((1, 2, 3, 0), channels_last=channels_last)
    y = model.apply({}, np.moveaxis(X, 1, -1) if channels_last else X)
    y = np.moveaxis(y, -1, 1) if channels_last else y
    np.testing.assert_array_equal(y, np.pad(X, [(0, 0), (0, 0), (3, 0), (1, 2)], mode))


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("ZeroPad", [2, 3, 0, 0]),
        ("ReplicationPad", [2, 3, 3, 3]),
        # The mirror is the input's end, what is taken away stands in it too.
        ("ReflectionPad", [2, 3, 2, 1]),
        # A ring is made of what is left.
        ("CircularPad", [2, 3, 2, 3]),
    ],
)
def test_a_negative_number_takes_places_away(kind: str, wanted: list[int]) -> None:
    model = getattr(nn, f"{kind}1d")((-2, 2))
    np.testing.assert_array_equal(model.apply({}, jnp.array([[0, 1, 2, 3]])), [wanted])


@pytest.mark.parametrize("kind", [kind for kind, _ in KINDS])
def test_every_dtype_is_kept(kind: str) -> None:
    model = getattr(nn, f"{kind}1d")(1)
    for dtype in (jnp.int8, jnp.bool_, jnp.bfloat16, jnp.complex64):
        assert model.apply({}, jnp.ones((1, 3), dtype)).dtype == dtype


def test_one_number_pads_any_rank_that_has_the_axes() -> None:
    assert nn.ZeroPad2d(1).apply({}, jnp.ones((2, 3))).shape == (4, 5)
    assert nn.ZeroPad1d(1).apply({}, jnp.ones((2, 3, 4, 5))).shape == (2, 3, 4, 7)
    last = nn.ConstantPad1d(1, 2.0, channels_last=True)
    assert last.apply({}, jnp.ones((2, 3, 4, 5))).shape == (2, 3, 6, 5)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: nn.ZeroPad2d((1, 2)),
            "ZeroPad2d(padding=(1, 2)): expected one integer, or 4 of them: left, right, top, "
            "bottom.",
        ),
        (
            lambda: nn.ReflectionPad1d("12"),
            "ReflectionPad1d(padding='12'): expected one integer, or 2 of them: left, right.",
        ),
        (lambda: nn.CircularPad1d(1.5), "CircularPad1d(padding=1.5): expected an integer."),
        (lambda: nn.ConstantPad1d(1, "a"), "ConstantPad1d(value='a'): expected a number."),
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
            nn.ReflectionPad1d(4),
            (1, 4),
            "ReflectionPad1d: padding=(4, 4) must be less than the size of an axis, got 4 places "
            "on axis 1 of shape (1, 4).",
        ),
        (
            nn.CircularPad2d((0, 0, 5, 0)),
            (1, 4, 9),
            "CircularPad2d: padding=(0, 0, 5, 0) goes round more than once, got 4 places on axis 1 "
            "of shape (1, 4, 9).",
        ),
        (
            nn.ReplicationPad1d((-2, -2)),
            (1, 4),
            "ReplicationPad1d: padding=(-2, -2) leaves no place, got 4 places on axis 1 of shape "
            "(1, 4).",
        ),
        (
            nn.ReplicationPad1d(1),
            (1, 0),
            "ReplicationPad1d: padding=(1, 1) leaves no place, got 0 places on axis 1 of shape "
            "(1, 0).",
        ),
        (
            nn.ZeroPad1d((-5, 3)),
            (1, 4),
            "ZeroPad1d: padding=(-5, 3) takes away more places than there are, got 4 places on "
            "axis 1 of shape (1, 4).",
        ),
        (
            nn.ReflectionPad2d(1),
            (4, 4),
            "ReflectionPad2d: expected an input of shape (N, C, H, W), or (C, H, W) without a "
            "batch axis, got shape (4, 4).",
        ),
        (
            nn.ZeroPad3d(1),
            (4, 4),
            "ZeroPad3d: expected an input of at least 3 axes, got shape (4, 4).",
        ),
    ],
)
def test_inputs_that_are_refused(model: Any, shape: Any, text: str) -> None:
    with pytest.raises(nn.InputError) as error:
        model.apply({}, jnp.ones(shape))
    assert str(error.value) == text
