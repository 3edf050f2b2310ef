"""The leaves of params one by one, those of parametrizations under names of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import jax

from funcparams.core.errors import DefinitionTypeError
from funcparams.core.names import Path, dotted, split
from funcparams.core.nodes import Parametrization, Ref


class FieldName(str):
    """The name of a leaf inside a parametrization: `head.weight.a`, where `head.weight` holds it.

    It tells a `where` that means the leaf itself from one that means the whole parameter.
    """

    __slots__ = ()


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One array of a tree.

    Attributes:
        name: Its dotted name; of a leaf inside a parametrization, extended by its fields' names.
        value: The array.
        owner: The parameter's name.
        node: The parametrization that the leaf is a part of, if any.
        frozen: Whether the parametrization says that the leaf is never learnt.
        uncast: Whether it says that the leaf keeps its dtype.
    """

    name: str
    value: Any
    owner: str
    node: Parametrization | None = None
    frozen: bool = False
    uncast: bool = False


def fields(node: Parametrization) -> Iterator[tuple[Path, Any, bool, bool]]:
    """Yield (path, value, frozen, uncast) for the leaves of a parametrization, in tree order.

    A parametrization inside of it says for itself what is frozen there.
    """
    kind = type(node)
    kept = [frozenset[str](getattr(kind, word, ())) for word in ("frozen", "uncast")]

    def inner(value: Any) -> bool:
        return isinstance(value, Parametrization) and value is not node

    flat = cast(
        "list[tuple[Any, Any]]", jax.tree_util.tree_flatten_with_path(node, is_leaf=inner)[0]
    )
    for keys, value in flat:
        if not keys or (any(kept) and not isinstance(keys[0], jax.tree_util.GetAttrKey)):
            raise DefinitionTypeError(
                f"{kind.__name__} is a parametrization whose fields JAX does not know by name.\n"
                "  Register it with jax.tree_util.register_dataclass."
            )
        path = split(jax.tree_util.keystr(keys, simple=True, separator="."))
        frozen, uncast = (path[0] in names for names in kept)
        if isinstance(value, Parametrization):
            for below, leaf, frozen_below, uncast_below in fields(value):
                yield (*path, *below), leaf, frozen or frozen_below, uncast or uncast_below
        else:
            yield path, value, frozen, uncast


def rebuilt(node: Parametrization, values: Sequence[Any]) -> Any:
    """Make a parametrization of the same kind with other leaves; without any, it is a hole."""
    if values and all(value is None for value in values):
        return None
    return cast(Any, jax.tree).unflatten(jax.tree.structure(node), values)


def map_leaves(tree: Any, function: Callable[[Leaf], Any], path: Path = ()) -> Any:
    """Map over the leaves with their names; references and holes stay."""
    if isinstance(tree, Mapping):
        branch = cast("Mapping[str, Any]", tree)
        return {
            key: map_leaves(value, function, (*path, str(key))) for key, value in branch.items()
        }
    if isinstance(tree, Ref | None):
        return tree
    name = dotted(path)
    if not isinstance(tree, Parametrization):
        return function(Leaf(name, tree, name))
    old: list[Any] = []
    new: list[Any] = []
    for below, value, frozen, uncast in fields(tree):
        old.append(value)
        new.append(function(Leaf(dotted((*path, *below)), value, name, tree, frozen, uncast)))
    same = all(one is other for one, other in zip(old, new, strict=True))
    return tree if same else rebuilt(tree, new)


def merged(nodes: Sequence[Any]) -> Any:
    """Put parts of one parametrization together; None where they do not complete each other."""

    def hole(value: Any) -> bool:
        return value is None

    flat = cast(
        "list[tuple[list[Any], Any]]", [jax.tree.flatten(node, is_leaf=hole) for node in nodes]
    )
    if any(structure != flat[0][1] for _, structure in flat):
        return None
    filled = [
        [value for value in column if value is not None]
        for column in zip(*(values for values, _ in flat), strict=True)
    ]
    if any(len(values) > 1 for values in filled):
        return None
    return jax.tree.unflatten(flat[0][1], [values[0] if values else None for values in filled])
