"""Flatten and Unflatten: which axes and sizes they refuse."""

from __future__ import annotations

import jax.numpy as jnp
import pytest

import funcparams as fp
from funcparams import nn


def test_they_undo_each_other() -> None:
    x = jnp.arange(24).reshape(2, 3, 4)
    y = nn.Unflatten(-1, (3, -1)).apply({}, nn.Flatten().apply({}, x))
    assert (y == x).all()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.Flatten("a"), "Flatten(start_dim='a'): expected an integer."),
        (
            lambda: nn.Unflatten(1, 3),
            "Unflatten(unflattened_size=3): expected a tuple of sizes.",
        ),
        (
            lambda: nn.Unflatten(1, (-1, -1)),
            "Unflatten(unflattened_size=(-1, -1)): expected at most one size of -1.",
        ),
        (
            lambda: nn.Unflatten(1, (2, -3)),
            "Unflatten(unflattened_size=-3): expected an integer >= -1.",
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
            nn.Flatten(2),
            (3, 3),
            "Flatten: expected an input that has the axes start_dim=2 to end_dim=-1, in this "
            "order; got shape (3, 3).",
        ),
        (
            nn.Flatten(1, 0),
            (3, 3),
            "Flatten: expected an input that has the axes start_dim=1 to end_dim=0, in this "
            "order; got shape (3, 3).",
        ),
        (
            nn.Unflatten(2, (1, 3)),
            (3, 3),
            "Unflatten: expected an input that has the axis dim=2, got shape (3, 3).",
        ),
        *(
            (
                nn.Unflatten(1, sizes),
                (3, 5),
                f"Unflatten: unflattened_size={sizes} does not multiply up to 5, the size of axis "
                "1 of shape (3, 5).",
            )
            for sizes in ((2, 2), (2, -1), (0, -1))
        ),
    ],
)
def test_inputs_that_are_refused(model: fp.Module, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(nn.InputError) as error:
        model.apply({}, jnp.ones(shape))
    assert str(error.value) == text
