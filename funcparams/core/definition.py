"""What a definition is made of: its sealed fields, and the record of a bound view.

`Definition` is the base that the rest of the core knows modules by; `Module`, which users
subclass, adds the methods.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, cast

import jax

from funcparams.core.declarations import Declaration
from funcparams.core.errors import DefinitionTypeError
from funcparams.core.names import Path, dotted

V = TypeVar("V")


class Definition:
    """Holds a module's fields in `__dict__`, and beside them one record of what it is."""

    __slots__ = ("__dict__", "__weakref__", "_record")

    _record: Sealed | Bound


class FrozenDict(Mapping[str, V]):
    """A read-only, hashable mapping: what a dict becomes when it is assigned in a definition.

    Args:
        items: What `dict` takes.

    Example:
        >>> from funcparams import FrozenDict
        >>> FrozenDict({"width": 3}) == {"width": 3}
        True
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, V]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: str) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


@dataclasses.dataclass(slots=True)
class Sealed:
    """The record of a definition: its fields at sealing, sorted by what they are."""

    fields: dict[str, Any]
    declared: tuple[tuple[str, Declaration], ...]
    children: tuple[tuple[str, Any], ...]
    cache: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])


@dataclasses.dataclass(slots=True)
class Context:
    """What all views of one bind share."""

    values: dict[int, Any]  # by the identity of the declaration that owns the array
    key: jax.Array | None
    training: bool
    trace: object
    traced: bool  # whether it was bound under a transform, so that there is a program to name
    given_state: Any
    # Where each module stands, the root first; and where it does in the bind around this one.
    paths: dict[int, Path] = dataclasses.field(default_factory=dict[int, Path])
    outer: dict[int, Path] = dataclasses.field(default_factory=dict[int, Path])
    # For each buffer, the (view, name) of every view that shows it. They are weak: in a cycle of
    # references arrays would live until the next collection of garbage.
    holders: dict[int, list[Any]] = dataclasses.field(default_factory=dict[int, "list[Any]"])
    counts: dict[str, int] = dataclasses.field(default_factory=dict[str, int])
    updated: dict[int, str] = dataclasses.field(default_factory=dict[int, str])


@dataclasses.dataclass(slots=True)
class Bound:
    """The record of a bound view: which definition it shows, where, and in which bind."""

    definition: Definition
    path: Path
    context: Context

    @property
    def name(self) -> str:
        """The dotted name from the root, or the class where it is the root."""
        return dotted(self.path) or type(self.definition).__name__


def record(module: Definition) -> Sealed | Bound | None:
    """Give a module's record; None while its constructor runs."""
    return getattr(module, "_record", None)


def sealed(module: Definition) -> Sealed:
    """Give the sealed record of a definition, or of the definition that a view shows."""
    known = record(module)
    if isinstance(known, Bound):
        return sealed(known.definition)
    if known is None:
        raise DefinitionTypeError(
            f"{type(module).__name__} is under construction: its parts are known when __init__ is "
            "done.\n  Edit the finished definition: model.with_init(...), model.replace(...)."
        )
    return known


def has_members(value: Any) -> bool:
    """Tell whether a value is, or holds, a declaration or a module."""
    if isinstance(value, tuple):
        return any(has_members(item) for item in value)  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, (Declaration, Definition)):
        return True
    return isinstance(value, FrozenDict) and any(map(has_members, value.values()))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


def parts(node: Any) -> tuple[tuple[tuple[str, Declaration], ...], tuple[tuple[str, Any], ...]]:
    """Give (own declarations, children) of a definition or of a container in one, with names.

    Children are modules and containers that hold modules or declarations.
    """
    if isinstance(node, Definition):
        known = sealed(node)
        return known.declared, known.children
    if isinstance(node, FrozenDict):
        named = list(cast("FrozenDict[Any]", node).items())
    else:
        named = [(str(index), item) for index, item in enumerate(node)]
    return (
        tuple((name, item) for name, item in named if isinstance(item, Declaration)),
        tuple(
            (name, item)
            for name, item in named
            if not isinstance(item, Declaration) and has_members(item)
        ),
    )
