"""Flat dicts of arrays by dotted names, for any tool, and back; and PyTorch's names for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from funcparams.core.check import describe, resolve
from funcparams.core.declarations import Buffer, Param
from funcparams.core.definition import Definition
from funcparams.core.errors import MismatchError, nearest
from funcparams.core.names import Path, Tree, at, dotted, leaves, natural, place, split
from funcparams.core.nodes import Parametrization
from funcparams.core.walk import map_owned, owned, skeleton
from funcparams.select.fields import Leaf, fields, map_leaves, rebuilt


def flatten(params: Mapping[str, Any]) -> dict[str, Any]:
    """Give a plain dict of arrays by dotted names, for any tool; references are left out.

    Args:
        params: A tree of params or state.

    Returns:
        The arrays, each once, in natural order: `layers.2` before `layers.10`. Those in a
        parametrization have names extended by its fields': `head.weight.original`.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> list(fp.flatten(nn.Sequential(nn.ReLU(), nn.Linear(2, 3)).init(jax.random.key(0))))
        ['1.bias', '1.weight']
    """
    flat: dict[str, Any] = {}

    def collect(leaf: Leaf) -> Any:
        flat[leaf.name] = leaf.value
        return leaf.value

    map_leaves(params, collect)
    return {name: flat[name] for name in sorted(flat, key=lambda name: natural(split(name)))}


def unflatten(
    model: Definition,
    flat: Mapping[str, Any],
    kind: Literal["params", "state"] = "params",
    like: Mapping[str, Any] | None = None,
) -> Tree:
    """Make the tree of a definition from a flat dict; references are put back.

    Args:
        model: The definition.
        flat: Arrays by dotted names, one for each owner.
        kind: Whether these are the model's params or its state.
        like: Params with the parametrizations to put back, their arrays filled from `flat`; names
            do not tell what kind they are. Without it, every parameter is an array.

    Returns:
        The nested tree.

    Raises:
        MismatchError: If names are missing or unexpected, or shapes differ; all in one report.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> layer = nn.Linear(2, 2)
        >>> model = nn.Sequential(layer, nn.ReLU(), layer)
        >>> params = model.init(jax.random.key(0))
        >>> fp.unflatten(model, fp.flatten(params))["2"]
        Ref('.0')
    """
    which = Param if kind == "params" else Buffer
    known = owned(model, which)
    tree: Tree = {}
    fits = dict.fromkeys(known)
    unfit: list[str] = []
    unexpected: list[str] = []
    for name in known:
        node = None if like is None else at(like, split(name))
        if isinstance(node, Parametrization) and name not in flat:
            values, wrong = _filled(name, node, flat)
            fits.update(dict.fromkeys(values))
            unfit += wrong
            place(tree, split(name), rebuilt(node, list(values.values())))
    for name, value in flat.items():
        if name in known:
            place(tree, split(name), value)
        elif name not in fits:
            hint = _hint(name, known) or nearest(name, fits)
            unexpected.append(f"  {name}: unexpected {describe(value)}{hint}")
    title = type(model).__name__
    if unexpected or unfit:
        first = f"{title} has no such {kind}" if unexpected else f"{kind} do not fit {title}"
        raise MismatchError(
            "\n".join([f"unflatten: {first}", *unexpected, *unfit])
            + "\nTo mend: a shared array goes under its owner's name, each name once."
        )
    values = resolve(title, kind, skeleton(model, which), tree)
    for name, declared in known.items():
        if isinstance(node := at(tree, split(name)), Parametrization):
            values[id(declared)] = node
    return map_owned(skeleton(model, which), lambda declared: values[id(declared)])


def _filled(
    name: str, node: Parametrization, flat: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Give the leaves of a parametrization from a flat dict, and what does not fit."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for path, old, *_ in fields(node):
        field = f"{name}.{dotted(path)}"
        values[field] = flat.get(field, old)
        if field not in flat:
            problems.append(f"  {field}: missing, expected {describe(old)}")
        elif getattr(flat[field], "shape", None) != getattr(old, "shape", None):
            problems.append(f"  {field}: expected {describe(old)}, got {describe(flat[field])}")
    return values, problems


def _hint(name: str, known: Mapping[str, Any]) -> str:
    """Say so where a name is that of a field of some parametrization."""
    path = split(name)
    owners = [dotted(path[:depth]) for depth in range(1, len(path))]
    if not any(owner in known for owner in owners):
        return ""
    return "; to fill a parametrization's fields, give unflatten(..., like=params)"


def torch_names(params: Mapping[str, Any]) -> dict[str, str]:
    """Give the names under which PyTorch's state_dict has the arrays of params.

    They differ where a parametrization stands. A class of your own says its names by an attribute
    `torch_names`, a dict from its fields to names with `{name}` in them; else they stay.

    Args:
        params: A tree of params.

    Returns:
        PyTorch's names, by the names that `fp.flatten` gives, in its order.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> model = nn.Sequential(nn.Linear(3, 2))
        >>> params = model.init(jax.random.key(0))
        >>> params = fp.parametrize(model, params, "0.weight", fp.parametrizations.weight_norm())
        >>> torch_names(params)["0.weight.original0"]
        '0.parametrizations.weight.original0'
    """
    found = {name: name for name in flatten(params)}
    for path, value in leaves(params):
        if isinstance(value, Parametrization):
            for below, written, _ in written_fields(value, path):
                found[dotted((*path, *below))] = written
    return found


def written_fields(node: Parametrization, path: Path) -> Iterator[tuple[Path, str, Any]]:
    """Yield (path within the node, PyTorch's name, value) for the leaves of a node at a place."""
    *above, last = path
    for below, value, *_ in fields(node):
        yield below, dotted((*above, _renamed(node, below, last))), value


def _renamed(node: Parametrization, path: Path, name: str) -> str:
    """Give PyTorch's name of a leaf of a node at a parameter's name."""
    inner = getattr(node, path[0], None)
    if isinstance(inner, Parametrization):
        return _renamed(inner, path[1:], name)
    known: Mapping[str, str] = getattr(type(node), "torch_names", {})
    template = known.get(path[0], dotted((name, *path)))
    return template.replace("{name}", name).replace("{index}", str(_depth(node)))


def _depth(node: Parametrization) -> int:
    """Count the parametrizations inside of one: PyTorch numbers them from the innermost."""
    inner = getattr(node, "original", None)
    return 1 + _depth(inner) if isinstance(inner, Parametrization) else 0
