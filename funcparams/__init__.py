"""funcparams: PyTorch's parameter management as pure functions over pytrees."""

import importlib
from typing import TYPE_CHECKING, Any

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
from funcparams.edit import materialize, parametrize, reinit, subtree, tie, untie
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

if TYPE_CHECKING:
    from funcparams import init as init
    from funcparams import nn as nn
    from funcparams import parametrizations as parametrizations
    from funcparams import testing as testing
    from funcparams.checkpoint import (
        CheckpointError,
        CheckpointNotFoundError,
        Diff,
        Difference,
        Entry,
        File,
        Loaded,
        Report,
        diff,
        load,
        load_state_dict,
        save,
        state_dict,
    )

__version__ = "0.1.0"

__all__ = [
    "BoundError",
    "Buffer",
    "CheckpointError",
    "CheckpointNotFoundError",
    "DeclarationUseError",
    "DefinitionNameError",
    "DefinitionTypeError",
    "Diff",
    "Difference",
    "Entry",
    "File",
    "FrozenDict",
    "FuncparamsError",
    "InitializerError",
    "KeyArgumentError",
    "KeyRequiredError",
    "Loaded",
    "MismatchError",
    "Module",
    "Names",
    "Param",
    "Parametrization",
    "Ref",
    "Report",
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
    "diff",
    "flatten",
    "label",
    "load",
    "load_state_dict",
    "mask",
    "materialize",
    "param",
    "parametrize",
    "partition",
    "pure",
    "reinit",
    "remat",
    "save",
    "state_dict",
    "state_of",
    "subtree",
    "summary",
    "tie",
    "trainable",
    "unflatten",
    "untie",
    "update",
]


def __getattr__(name: str) -> Any:
    """Import the larger part of the package on first use: `fp.init`, `fp.nn`, `fp.load`, others."""
    if name in ("init", "nn", "parametrizations", "testing"):
        return importlib.import_module(f"funcparams.{name}")
    if name in __all__:  # of those, only what is about checkpoints is not there yet
        found = globals()[name] = getattr(importlib.import_module("funcparams.checkpoint"), name)
        return found
    raise AttributeError(f"module 'funcparams' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
