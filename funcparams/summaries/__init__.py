"""The table of a definition: every parameter and buffer, before any array exists."""

from __future__ import annotations

import operator
from typing import Any

from funcparams.core.declarations import Buffer, Param
from funcparams.core.definition import Definition
from funcparams.core.errors import DefinitionTypeError
from funcparams.select.where import Scope, Where
from funcparams.summaries.rows import Row, folded, listed
from funcparams.summaries.table import Summary

__all__ = ["Row", "Summary", "summary"]


def summary(model: Definition, *, depth: int | None = None, where: Where | None = None) -> Summary:
    """List every parameter and buffer of a definition, and count them.

    It reads declarations: nothing is allocated or traced, however large the model. What is shared
    is counted once, at its owner's place; its other places are listed as `= owner`.

    Args:
        model: The definition.
        depth: Fold what has more components in its name than this into one row a module; 1 lists
            what stands directly in the model, 0 is one row. Nothing is folded by default.
        where: Which parameters and buffers to list and count; all where nothing is said.

    Returns:
        The rows and totals. `print` it, or let a notebook or `rich.print` show it.

    Raises:
        DefinitionTypeError: If `model` is no definition, or `depth` no number of components.
        SelectionError: If `where` means nothing.

    Example:
        >>> import funcparams as fp
        >>> from funcparams import nn
        >>> shared = nn.Linear(8, 8)
        >>> print(fp.summary(nn.Sequential(nn.Linear(4, 8), shared, nn.ReLU(), shared)))
        Sequential
        name      type    shape   dtype    parameters  bytes  trainable  shared with
        --------  ------  ------  -------  ----------  -----  ---------  -----------
        0.weight  Linear  (8, 4)  float32          32    128  yes
        0.bias    Linear  (8,)    float32           8     32  yes
        1.weight  Linear  (8, 8)  float32          64    256  yes
        1.bias    Linear  (8,)    float32           8     32  yes
        3         Linear                                                 = 1
        Parameters: 112
        Bytes:      448
    """
    if not isinstance(model, Definition):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DefinitionTypeError(_no_definition(model))
    rows = listed(model, None if where is None else _selected(model, where))
    return Summary(
        model=type(model).__name__,
        rows=tuple(rows if depth is None else folded(model, rows, _checked(depth))),
        parameters=sum(row.parameters for row in rows),
        trainable=sum(row.parameters for row in rows if row.trainable),
        buffers=sum(row.buffers for row in rows),
        bytes=sum(row.bytes for row in rows),
        selected=where is not None,
    )


def _selected(model: Definition, where: Where) -> frozenset[int]:
    """Give the identities of the declarations, of both kinds, that a `where` means."""
    params, state = Scope.of_definition(model, Param), Scope.of_definition(model, Buffer)
    scope = Scope(
        {**params.values, **state.values}, {**params.aliases, **state.aliases}, params.typed
    )
    return frozenset(id(scope.values[name]) for name in scope.select(where))


def _checked(depth: Any) -> int:
    try:
        number = -1 if isinstance(depth, bool) else operator.index(depth)
    except TypeError:
        number = -1
    if number < 0:
        raise DefinitionTypeError(
            f"summary(depth={depth!r}): expected how many components of the names to keep, an int "
            "from 0 on, or None to fold nothing."
        )
    return number


def _no_definition(model: object) -> str:
    if isinstance(model, type):
        name = model.__name__
        return f"summary: expected a definition, got the class {name}: write {name}(...)."
    return (
        f"summary: expected a definition, got {type(model).__name__}.\n"
        "  It reads declarations, so give the model itself: fp.summary(model)."
    )
