"""The core: what a definition is, how it gets its parameters, and how it meets them."""

from funcparams.core.bind import state_of
from funcparams.core.declarations import Buffer, Declaration, Initializer, Param, buffer, param
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
from funcparams.lift import assign_state, pure, remat
from funcparams.module.module import Module
from funcparams.core.nodes import Parametrization, Ref
from funcparams.select.where import Names, Where

__all__ = [
    "BoundError",
    "Buffer",
    "Declaration",
    "DeclarationUseError",
    "DefinitionNameError",
    "DefinitionTypeError",
    "FrozenDict",
    "FuncparamsError",
    "InitializerError",
    "Initializer",
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
    "param",
    "pure",
    "remat",
    "state_of",
]
