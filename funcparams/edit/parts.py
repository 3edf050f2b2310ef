"""Parts of params: taken out, or drawn again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import jax

from funcparams.core.check import resolve
from funcparams.core.declarations import Param
from funcparams.core.definition import Definition
from funcparams.core.errors import MismatchError, SelectionError, SharingError, nearest
from funcparams.core.names import Path, Tree, at, dotted, leaves, natural, place, split
from funcparams.core.nodes import Parametrization, Ref, follow, map_refs, relative
from funcparams.core.walk import map_owned, owned, skeleton
from funcparams.drawing.draw import draw
from funcparams.select.where import Scope, Where


def subtree(params: Mapping[str, Any], name: str) -> Any:
    """Take out the params of one part, complete: references to outside are filled in.

    Args:
        params: A tree of params.
        name: The dotted name of a part, or of one parameter.

    Returns:
        A tree that stands on its own; ties inside it stay ties. (Where an owner lay outside,
        the first place in natural order becomes the owner; `fp.tie(part, tree)` moves it, if the
        part's definition has another one.)

    Raises:
        SelectionError: If nothing has that name.
        SharingError: If a reference leads to nothing.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> embedding = nn.Embedding(5, 2)
        >>> head = nn.Linear(2, 5, bias=False).replace(weight=embedding.weight)
        >>> params = nn.Sequential(embedding, head).init(jax.random.key(0))
        >>> fp.subtree(params, "1")["weight"].shape
        (5, 2)
    """
    try:
        real, value = follow(params, ("",), Ref(f".{name}"))
    except SharingError as error:
        names = {dotted(path[:n]) for path, _ in leaves(params) for n in range(1, len(path) + 1)}
        if name in names:
            raise
        raise SelectionError(f"subtree: nothing is named {name!r}{nearest(name, names)}") from error
    if not isinstance(value, Mapping):
        return value
    part = _Part(params, real)
    for path, leaf in sorted(leaves(value), key=lambda pair: natural(pair[0])):
        part.put((*real, *path), path, leaf)
    return part.result


@dataclasses.dataclass
class _Part:
    """A part that is being taken out of params."""

    params: Mapping[str, Any]
    root: Path
    result: Tree = dataclasses.field(default_factory=dict[str, Any])
    # Where in the result stands what lay outside of the part.
    brought: dict[Path, Path] = dataclasses.field(default_factory=dict["Path", "Path"])

    def put(self, here: Path, path: Path, leaf: Any) -> None:
        """Put what stands in params at `here` to `path` of the result."""
        if isinstance(leaf, Ref):
            goal, value = follow(self.params, here, leaf)
            self._bring(goal, path, value)
        elif isinstance(leaf, Parametrization):
            place(self.result, path, map_refs(leaf, lambda ref: self._field(here, path, ref)))
        else:
            place(self.result, path, leaf)

    def _inside(self, goal: Path) -> Path | None:
        """Give the place in the result of what is in the part, or was brought into it."""
        depth = len(self.root)
        return goal[depth:] if goal[:depth] == self.root else self.brought.get(goal)

    def _bring(self, goal: Path, path: Path, value: Any) -> None:
        owner = self._inside(goal)
        if owner is not None:
            place(self.result, path, relative(owner, path))
            return
        self.brought[goal] = path
        if not isinstance(value, Mapping):
            self.put(goal, path, value)
            return
        below = cast("Mapping[str, Any]", value)
        for key in sorted(below, key=lambda key: natural((key,))):
            inner, here = below[key], (*goal, key)
            real, found = (
                follow(self.params, here, inner) if isinstance(inner, Ref) else (here, inner)
            )
            self._bring(real, (*path, key), found)

    def _field(self, here: Path, path: Path, ref: Ref) -> Any:
        """Give what a reference in a parametrization's field becomes."""
        goal, value = follow(self.params, here, ref)
        owner = self._inside(goal)
        return value if owner is None else relative(owner, path)


def reinit(model: Definition, params: Mapping[str, Any], key: jax.Array, where: Where) -> Tree:
    """Draw some parameters again, and keep the others.

    Args:
        model: The definition.
        params: Its params.
        key: A PRNG key. The parameters get the values that `model.init(key)` would give them.
        where: Which parameters.

    Returns:
        The new tree; an array keeps the dtype that it had in `params`.

    Raises:
        SelectionError: If nothing is meant.
        MismatchError: If params do not fit the definition, or a parametrization is meant.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> model = nn.Linear(2, 1)
        >>> params = model.init(jax.random.key(0))
        >>> again = fp.reinit(model, params, jax.random.key(1), "weight")
        >>> again["bias"] is params["bias"], bool((again["weight"] == params["weight"]).any())
        (True, False)
    """
    resolve(type(model).__name__, "params", skeleton(model, Param), params)
    declared = owned(model, Param)
    values = {id(declaration): at(params, split(name)) for name, declaration in declared.items()}
    chosen = Scope.of_definition(model).select(where)
    nodes = [name for name in chosen if isinstance(values[id(declared[name])], Parametrization)]
    if nodes:
        raise MismatchError(
            f"reinit: {', '.join(nodes)}: holds a parametrization, which computes its array.\n"
            "  Put an array there first, fp.materialize(model, params, where), or leave it out."
        )
    for name, array in draw({name: declared[name] for name in chosen}, key).items():
        old = values[id(declared[name])]
        values[id(declared[name])] = array.astype(getattr(old, "dtype", array.dtype))
    return map_owned(skeleton(model, Param), lambda declaration: values[id(declaration)])
