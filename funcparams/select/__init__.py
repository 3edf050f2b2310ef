"""Selection: the `where` language, and masks, labels, partitions, updates and casts built on it."""

from funcparams.select.trees import (
    cast,
    combine,
    flatten,
    label,
    mask,
    partition,
    trainable,
    unflatten,
    update,
)
from funcparams.select.where import Names, Scope, Where

__all__ = [
    "Names",
    "Scope",
    "Where",
    "cast",
    "combine",
    "flatten",
    "label",
    "mask",
    "partition",
    "trainable",
    "unflatten",
    "update",
]
