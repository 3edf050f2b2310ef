"""Calling a module: under its name in the program, with a note on what fails inside."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, cast

import jax

from funcparams.core.bind import bound
from funcparams.core.check import describe
from funcparams.core.definition import Bound, Definition, record
from funcparams.core.errors import DefinitionTypeError, FuncparamsError

_NOTE = "In funcparams module "


@functools.lru_cache(maxsize=1024)
def _own_names(cls: type[Definition]) -> frozenset[str]:
    """Give which of apply's own keywords a class's __call__ has, too."""
    try:
        taken = inspect.signature(cls.__call__).parameters  # pyright: ignore
    except (AttributeError, TypeError, ValueError):
        return frozenset()
    return frozenset(taken) & {"state", "key", "training"}


def refuse_clash(root: Definition, **given: Any) -> None:
    """Refuse a keyword that both apply and the model's own __call__ would take."""
    cls = type(root)
    for name in sorted(_own_names(cls)):
        if given.get(name) is not None:
            raise DefinitionTypeError(
                f"{cls.__name__}.__call__ has an argument {name!r} of its own, so apply cannot "
                "tell which is meant.\n"
                f"  Write model.bind(params, state, key=..., training=...)(x, {name}=...)."
            )


def call(view: Definition, args: Any, kwargs: Any) -> Any:
    """Call a bound view, or say that its class cannot be called."""
    if not callable(view):
        name = type(view).__name__
        raise DefinitionTypeError(
            f"{name} has no __call__: define __call__(self, x), or call a method of yours: "
            "model.bind(params).method(x)."
        )
    return cast("Callable[..., Any]", view)(*args, **kwargs)


def call_in_scope(function: Callable[..., Any], view: Definition, args: Any, kwargs: Any) -> Any:
    """Run a module's __call__ under its name: in the compiled program, and in error notes."""
    known = record(view)
    if not isinstance(known, Bound):
        known = bound(view, f"calling {type(view).__name__}(...)")  # says what to do instead
    try:
        if not known.context.traced:
            return function(view, *args, **kwargs)
        scope = known.path[-1] if known.path else type(known.definition).__name__
        with jax.named_scope(scope):
            return function(view, *args, **kwargs)
    except Exception as error:
        _annotate(error, known, args, kwargs)
        raise


def _annotate(error: Exception, known: Bound, args: Any, kwargs: Any) -> None:
    """Say once, in a note, in which module an error arose: the innermost one."""
    notes = getattr(error, "__notes__", [])
    if isinstance(error, FuncparamsError) or any(note.startswith(_NOTE) for note in notes):
        return
    given = [describe(arg) for arg in args] + [f"{k}={describe(v)}" for k, v in kwargs.items()]
    error.add_note(
        f"{_NOTE}{known.name} ({type(known.definition).__name__}), called with {', '.join(given)}"
    )
