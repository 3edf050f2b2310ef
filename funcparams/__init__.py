"""funcparams: PyTorch's parameter management as pure functions over pytrees."""

from funcparams.core.bind import state_of
from funcparams.core.declarations import Buffer, Param
from funcparams.core.definition import FrozenDict
from funcparams.core.errors import (
    BoundError,
    DeclarationUseError,
    DefinitionNameError,
    DefinitionTypeError,
    FuncparamsError,
    InitializerError,
    KeyArgumentError,
    KeyRequiredError,
    MismatchError,
    SealedError,
    SelectionError,
    SharingError,
    StateUpdateError,
    UnboundError,
)
from funcparams.core.nodes import Parametrization, Ref
from funcparams.edit import reinit, subtree, tie, untie
from funcparams.lift import assign_state, pure, remat
from funcparams.module import Module, buffer, param
from funcparams.select import (
    Names,
    Where,
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
from funcparams.summaries import summary

__version__ = "0.1.0"

__all__ = [
    "BoundError",
    "Buffer",
    "DeclarationUseError",
    "DefinitionNameError",
    "DefinitionTypeError",
    "FrozenDict",
    "FuncparamsError",
    "InitializerError",
    "KeyArgumentError",
    "KeyRequiredError",
    "MismatchError",
    "Module",
    "Names",
    "Param",
    "Parametrization",
    "Ref",
    "SealedError",
    "SelectionError",
    "SharingError",
    "StateUpdateError",
    "UnboundError",
    "Where",
    "assign_state",
    "buffer",
    "cast",
    "combine",
    "flatten",
    "label",
    "mask",
    "param",
    "partition",
    "pure",
    "reinit",
    "remat",
    "state_of",
    "subtree",
    "summary",
    "tie",
    "trainable",
    "unflatten",
    "untie",
    "update",
]
