"""Parametrizations of parametrizations, and the names under which PyTorch writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from funcparams.core.errors import MismatchError
from funcparams.core.names import Path, dotted, leaves
from funcparams.core.nodes import Parametrization
from funcparams.edit.places import Place
from funcparams.select import flatten
from funcparams.select.fields import fields


def refuse_node(place: Place, maker: object) -> None:
    """Refuse a place that holds a parametrization already."""
    if isinstance(place.held, Parametrization):
        raise MismatchError(
            f"{place.name}: {maker!r} needs an array, and a {type(place.held).__name__} stands "
            "there.\n  Put its array there first: fp.materialize(model, params, where)."
        )


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
            *above, last = path
            for below, *_ in fields(value):
                found[dotted((*path, *below))] = dotted((*above, _renamed(value, below, last)))
    return found


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
