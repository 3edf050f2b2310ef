"""Rows: what a definition declares, listed in PyTorch's order and folded by module."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, cast

from funcparams.core.declarations import Declaration, Param
from funcparams.core.definition import Definition, FrozenDict, parts
from funcparams.core.names import Path, dotted, split
from funcparams.core.walk import item

What: TypeAlias = Literal["parameter", "buffer", "module"]


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a summary: a parameter, a buffer, or a module that stands for all below it.

    Attributes:
        name: The dotted name.
        kind: What it is. A module is listed where it is shared, and where `depth` folds it.
        type: The class of the module, or of the module that declares the array.
        shape: The shape; None for a module.
        dtype: The dtype's name; several with commas for a module; empty for a shared module.
        parameters: How many numbers its parameters hold; 0 at a shared place.
        buffers: How many numbers its buffers hold; 0 at a shared place.
        bytes: What these take together.
        trainable: Whether its parameters are; None for buffers, and where only some are.
        shared_with: The owners' names, for what is owned, and counted, at another place.

    Example:
        >>> import funcparams as fp
        >>> from funcparams import nn
        >>> row = fp.summary(nn.Linear(4, 3)).rows[0]
        >>> row.name, row.type, row.shape, row.parameters, row.bytes
        ('weight', 'Linear', (3, 4), 12, 48)
    """

    name: str
    kind: What
    type: str
    shape: tuple[int, ...] | None = None
    dtype: str = ""
    parameters: int = 0
    buffers: int = 0
    bytes: int = 0
    trainable: bool | None = None
    shared_with: tuple[str, ...] = ()


def listed(model: Definition, chosen: frozenset[int] | None) -> list[Row]:
    """Give a row for every declaration, or for those with the chosen identities."""
    table = _Table(chosen)
    table.visit(model, (), type(model).__name__)
    return table.rows


@dataclasses.dataclass
class _Table:
    """The rows found so far, and the first place of each declaration and module met."""

    chosen: frozenset[int] | None
    rows: list[Row] = dataclasses.field(default_factory=list[Row])
    owners: dict[int, str] = dataclasses.field(default_factory=dict[int, str])
    nonempty: set[int] = dataclasses.field(default_factory=set[int])

    def visit(self, node: Any, path: Path, kind: str) -> None:
        """List a module's or container's own declarations, then its children's, depth first."""
        before = len(self.rows)
        declared, children = parts(node)
        for name, declaration in declared:
            if self.chosen is None or id(declaration) in self.chosen:
                self.rows.append(self._row(declaration, dotted((*path, name)), kind))
        for name, child in children:
            here = (*path, name)
            if id(child) not in self.owners:
                self.visit(child, here, _kind(child) if isinstance(child, Definition) else kind)
            elif id(child) in self.nonempty:
                # One row for all of a shared module, as params hold one reference for it.
                shared = (self.owners[id(child)],)
                self.rows.append(Row(dotted(here), "module", _kind(child), shared_with=shared))
        if isinstance(node, Definition):
            self.owners[id(node)] = dotted(path)
            if len(self.rows) > before:
                self.nonempty.add(id(node))

    def _row(self, declaration: Declaration, name: str, kind: str) -> Row:
        learnt = isinstance(declaration, Param)
        owner = self.owners.setdefault(id(declaration), name)
        counted = owner == name
        return Row(
            name,
            "parameter" if learnt else "buffer",
            kind,
            declaration.shape,
            declaration.dtype.name,
            parameters=declaration.size if counted and learnt else 0,
            buffers=declaration.size if counted and not learnt else 0,
            bytes=declaration.nbytes if counted else 0,
            trainable=declaration.trainable if learnt else None,
            shared_with=() if counted else (owner,),
        )


def _kind(node: Any) -> str:
    """Name a module by its class, and a container by what it is and holds."""
    if isinstance(node, Definition):
        return type(node).__name__
    return f"{'dict' if isinstance(node, FrozenDict) else 'tuple'} of {len(cast('Any', node))}"


def folded(model: Definition, rows: Sequence[Row], depth: int) -> list[Row]:
    """Make one row of all that stands below each module at a depth."""
    groups: dict[Path, list[Row]] = {}
    for row in rows:
        groups.setdefault(split(row.name)[:depth], []).append(row)
    return [
        group[0] if len(split(group[0].name)) <= depth else _sum(model, path, group)
        for path, group in groups.items()
    ]


def _sum(model: Definition, path: Path, rows: Sequence[Row]) -> Row:
    node: Any = model
    for component in path:
        node = item(node, component)
    name = dotted(path)
    modes = {row.trainable for row in rows if row.parameters}
    owners = dict.fromkeys(owner for row in rows for owner in row.shared_with)
    outside = [owner for owner in owners if path and not f"{owner}.".startswith(f"{name}.")]
    return Row(
        name,
        "module",
        _kind(node),
        dtype=", ".join(dict.fromkeys(row.dtype for row in rows if row.dtype)),
        parameters=sum(row.parameters for row in rows),
        buffers=sum(row.buffers for row in rows),
        bytes=sum(row.bytes for row in rows),
        trainable=modes.pop() if len(modes) == 1 else None,
        shared_with=tuple(outside),
    )
