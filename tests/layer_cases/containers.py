"""Containers."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from tests.layer_cases.case import Case


def _net(module: Any) -> Any:
    """Build a small network of the classes of one of the two libraries."""
    return module.Sequential(
        module.Conv2d(1, 4, 3, padding=1, bias=False),  # a bias would have no gradient
        module.BatchNorm2d(4),
        module.ReLU(),
        module.MaxPool2d(2),
        module.Sequential(module.Flatten(), module.Linear(16, 5), module.LayerNorm(5)),
        module.Tanh(),
    )


CONTAINERS = [
    Case("Sequential", (), ((2, 1, 4, 4),), modes=(False, True), build=_net),
    Case("Function", (jnp.square,), ((3, 4),), in_torch=False),
]
