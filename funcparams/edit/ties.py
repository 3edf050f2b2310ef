"""Tie and untie: sharing, in definitions and in params."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from funcparams.core.check import resolve
from funcparams.core.declarations import Declaration, Param
from funcparams.core.definition import Definition, FrozenDict, parts
from funcparams.core.errors import SelectionError, SharingError
from funcparams.core.names import Path, Tree, at, dotted, leaves, place, split
from funcparams.core.nodes import Parametrization, Ref, absolute, map_refs, relative
from funcparams.core.trace import Tracer
from funcparams.core.walk import aliases, item, map_owned, owned, skeleton
from funcparams.module.rewrite import rebuild
from funcparams.select.where import Scope, Where

M = TypeVar("M", bound=Definition)


def tie(model: Definition, params: Mapping[str, Any]) -> Tree:
    """Turn copies of shared arrays into references, as the definition shares them.

    For trees that come from elsewhere, where a shared array stands at several places, or at another
    place than the owner's.

    Args:
        model: The definition.
        params: A tree of concrete arrays with the definition's names.

    Returns:
        The tree that fits the definition: each shared array once.

    Raises:
        SharingError: If copies differ; it says where and by how much. Nothing is chosen silently.
        MismatchError: If the tree does not fit apart from that.

    Example:
        >>> import funcparams as fp, jax.numpy as jnp
        >>> from funcparams import nn
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> model = nn.Sequential(layer, layer)
        >>> one = jnp.ones((1, 1))
        >>> fp.tie(model, {"0": {"weight": one}, "1": {"weight": one + 0}})["1"]
        Ref('.0')
    """
    tree = skeleton(model, Param)
    known = aliases(tree)
    kept: dict[str, Any] = {}
    problems: list[str] = []
    for owner, names in known.items():
        copies = {name: value for name in names if _is_array(value := at(params, split(name)))}
        if copies:
            first, kept[owner] = next(iter(copies.items()))
            problems += [
                f"{name} differs from {first} {text}"
                for name, value in copies.items()
                if (text := _difference(kept[owner], value))
            ]
    if problems:
        raise SharingError(
            f"tie: {type(model).__name__} shares these parameters, and their copies differ:\n  "
            + "\n  ".join(problems)
            + "\nTo mend: make them equal, fp.update(params, {...}), or separate them, fp.untie."
        )
    result: Tree = {}
    shared = {name for names in known.values() for name in names}
    for path, value in leaves(params):
        if dotted(path) not in shared and not isinstance(value, Ref | None):
            place(result, path, value)  # not the definition's: reported below
    for owner, value in kept.items():
        place(result, split(owner), value)
    resolve(type(model).__name__, "params", tree, result)
    by_identity = {id(declaration): kept[name] for name, declaration in owned(model, Param).items()}
    return map_owned(tree, lambda declaration: by_identity[id(declaration)])


def _is_array(value: Any) -> bool:
    return value is not None and not isinstance(value, Ref | Mapping)


def _difference(first: Any, second: Any) -> str:
    """Say by how much two copies differ; nothing where they are equal, nan and all."""
    if first is second:
        return ""
    if isinstance(first, Tracer) or isinstance(second, Tracer):
        raise SharingError(
            "tie compares numbers, and these are traced. Call it outside of jax.jit, once."
        )
    if isinstance(first, Parametrization) or isinstance(second, Parametrization):
        return "in kind: one is a parametrization"
    one, two = np.asarray(first), np.asarray(second)
    if one.shape != two.shape or one.dtype != two.dtype:
        return f"in form: {two.dtype}{list(two.shape)} against {one.dtype}{list(one.shape)}"
    # Bytes would tell -0.0 from 0.0; equal_nan would not take bfloat16.
    unequal = (one != two) & ~((one != one) & (two != two))
    if not unequal.any():
        return ""
    wide = np.complex128 if np.iscomplexobj(one) else np.float64
    size = np.abs(one.astype(wide) - two.astype(wide))[unequal].max()
    return f"by up to {size:.3g} in {int(unequal.sum())} of {one.size} entries"


def untie(model: M, params: Mapping[str, Any], where: Where) -> tuple[M, Tree]:
    """Give shared places parameters of their own: an edit of definition and params together.

    Args:
        model: The definition.
        params: Its params.
        where: Which places to separate from their owner, by the names they have there. The owner's
            own place stays what it is.

    Returns:
        (definition, params) in which these places have arrays of their own, copies of the owner's.

    Raises:
        SelectionError: If no shared place is meant.
        MismatchError: If params do not fit the definition.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> layer = nn.Linear(1, 1)
        >>> model = nn.Sequential(layer, layer)
        >>> model, params = fp.untie(model, model.init(jax.random.key(0)), "1.weight")
        >>> list(fp.flatten(params))
        ['0.bias', '0.weight', '1.weight']
    """
    tree = skeleton(model, Param)
    resolve(type(model).__name__, "params", tree, params)
    owner_of = {alias: owner for owner, names in aliases(tree).items() for alias in names[1:]}
    chosen = frozenset(_shared_names(model, owner_of, where))
    edited = _separate(model, (), chosen, {}, {})
    result: Tree = {}
    for path, wanted in leaves(skeleton(edited, Param)):
        owner = split(owner_of.get(dotted(path), dotted(path)))
        if isinstance(wanted, Ref):
            place(result, path, wanted)
        elif dotted(path) in chosen:
            place(result, path, _copied(at(params, owner), owner, path))
        else:
            place(result, path, at(params, owner))
    return edited, result


def _copied(value: Any, owner: Path, path: Path) -> Any:
    """Copy an array or node to a place: one buffer in two leaves could not be donated."""
    moved = map_refs(value, lambda ref: relative(absolute(ref, owner) or (), path))

    def copied(leaf: Any) -> Any:
        return leaf if isinstance(leaf, jax.ShapeDtypeStruct) else jnp.array(leaf, copy=True)

    return jax.tree.map(copied, moved)


def _shared_names(model: Definition, owner_of: Mapping[str, str], where: Where) -> list[str]:
    """Give the places, not owners, that a `where` means."""
    declared = owned(model, Param)
    scope = Scope.of_definition(model)
    places = Scope(
        {name: declared[owner] for name, owner in owner_of.items()},
        {name: [name] for name in owner_of},
        scope.typed,
    )
    if not owner_of:
        raise SelectionError(f"untie: {type(model).__name__} shares no parameters.")
    return list(places.select(where))


def _separate(
    node: Any, path: Path, chosen: frozenset[str], owners: dict[int, Path], done: dict[int, Any]
) -> Any:
    """Rebuild a definition place by place; a place with a chosen name below it becomes its own."""
    if isinstance(node, Declaration):
        at_owner = owners.setdefault(id(node), path) == path
        return node.copy() if not at_owner and dotted(path) in chosen else node
    is_module = isinstance(node, Definition)
    # A module with a chosen name below one place stands apart from its other places.
    apart = is_module and any(name.startswith(dotted(path) + ".") for name in chosen)
    if id(node) in done and not apart:
        return done[id(node)]
    declared, children = parts(node)
    changed = {
        name: _separate(member, (*path, name), chosen, owners, done)
        for name, member in (*declared, *children)
    }
    moved = apart or any(changed[name] is not item(node, name) for name in changed)
    result = _with_members(node, changed) if moved else node
    if is_module and not apart:
        done[id(node)] = result
    return result


def _with_members(node: Any, changed: dict[str, Any]) -> Any:
    if isinstance(node, Definition):
        return rebuild(node, changed)
    if isinstance(node, FrozenDict):
        return FrozenDict({key: changed.get(key, value) for key, value in node.items()})  # pyright: ignore
    return tuple(changed.get(str(index), value) for index, value in enumerate(node))
