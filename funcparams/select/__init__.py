"""Selection: the `where` language, and masks, labels, partitions, updates and casts built on it."""

from funcparams.select.flat import flatten, unflatten
from funcparams.select.trees import cast, combine, label, mask, partition, trainable, update
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
