"""The pytree nodes that may stand where params hold an array: references and parametrizations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from funcparams.core.errors import SharingError
from funcparams.core.names import Path, dotted, split


@dataclasses.dataclass(frozen=True)
class Ref:
    """A reference: stands in params at the place of a shared array or sub-tree, and has no leaves.

    It names the owner relative to its own place, with Python's dots for relative imports: `.0` is
    a sibling, `..wte.weight` stands one dict further up. So a sub-tree keeps its ties when it is
    moved under another name, and `jax.tree.leaves` meets every shared array once.

    Args:
        target: The owner's name, relative.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> shared = nn.Linear(2, 2, bias=False)
        >>> params = nn.Sequential(shared, nn.ReLU(), shared).init(jax.random.key(0))
        >>> params["2"]
        Ref('.0')
        >>> len(jax.tree.leaves(params))
        1
    """

    target: str

    def __repr__(self) -> str:
        return f"Ref({self.target!r})"


class Parametrization:
    """The protocol of a pytree node that computes one parameter from leaves of its own.

    A subclass is registered as a pytree (for instance with `jax.tree_util.register_dataclass`),
    never checks its fields on construction, and may hold a `Ref` in a field. `bind` puts
    `value()` where the parameter is.

    Example:
        >>> import dataclasses, jax, jax.numpy as jnp
        >>> import funcparams as fp
        >>> from funcparams import nn
        >>> @jax.tree_util.register_dataclass
        ... @dataclasses.dataclass(frozen=True)
        ... class Doubled(fp.Parametrization):
        ...     half: jax.Array
        ...     def value(self):
        ...         return 2 * self.half
        >>> model = nn.Linear(2, 1, bias=False)
        >>> model.apply({"weight": Doubled(jnp.ones((1, 2)))}, jnp.ones(2)).tolist()
        [4.0]
    """

    def value(self) -> jax.Array:
        """Compute the parameter, of the declared shape, from the node's fields."""
        raise TypeError(
            f"{type(self).__name__} is a Parametrization without value(): define a method "
            "value(self) that returns the array."
        )


def relative(owner: Path, place: Path) -> Ref:
    """Make the reference that leads from a place to an owner."""
    common = 0
    while common < min(len(owner), len(place)) - 1 and owner[common] == place[common]:
        common += 1
    return Ref("." * (len(place) - common) + dotted(owner[common:]))


def absolute(ref: Ref, place: Path) -> Path | None:
    """Give the path that a reference at a place names; None where it leads out of the tree."""
    up = len(ref.target) - len(ref.target.lstrip("."))
    rest = split(ref.target[up:])
    if not 1 <= up <= len(place) or not rest or not all(rest):
        return None
    return (*place[: len(place) - up], *rest)


def follow(tree: Any, place: Path, ref: Ref) -> tuple[Path, Any]:
    """Follow a reference, and those it meets on its way, to (path, value) of what it means.

    Raises:
        SharingError: Where it leads to nothing, out of the tree, or round in a circle.
    """
    seen: list[str] = []
    where: Path | None = place
    goal: Any = ref
    while isinstance(goal, Ref):
        origin = f"{dotted(where or ())} is {goal!r}"
        # A reference to what lies below itself would grow for ever: hence the bound.
        if origin in seen or len(seen) > 100:
            raise SharingError("a circle of references: " + ", and ".join(seen[:5]))
        seen.append(origin)
        where = absolute(goal, where or ())
        if where is None:
            raise SharingError(f"{origin}, which leads out of the tree")
        where, goal, missing = _descend(tree, where)
        if missing:
            raise SharingError(f"{origin}, but there is no {missing}")
    return where or (), goal


def _descend(tree: Any, path: Path) -> tuple[Path, Any, str]:
    """Walk down a path; stop early at a reference on the way, giving what it becomes with it."""
    value = tree
    for depth, component in enumerate(path):
        if isinstance(value, Ref):
            onward = absolute(value, path[:depth])
            if onward is None:
                return path, None, dotted(path)
            # The rest of the path hangs below what the reference means: an equal, longer one.
            return path[:depth], relative((*onward, *path[depth:]), path[:depth]), ""
        if not isinstance(value, Mapping) or component not in value:
            return path, None, dotted(path)
        value = value[component]  # pyright: ignore[reportUnknownVariableType]
    return path, value, ""  # pyright: ignore[reportUnknownVariableType]


def is_ref(value: Any) -> bool:
    """Tell whether a value is a reference."""
    return isinstance(value, Ref)


def map_refs(node: Any, resolve: Callable[[Ref], Any]) -> Any:
    """Replace every reference inside a parametrization's fields."""

    def resolved(field: Any) -> Any:
        return resolve(field) if isinstance(field, Ref) else field

    return jax.tree.map(resolved, node, is_leaf=is_ref)


def _register(cls: type[Ref]) -> None:
    jax.tree_util.register_pytree_node(cls, lambda ref: ((), ref), lambda ref, _: ref)
    from jax import export  # a module of jax's that `import jax` has loaded already

    export.register_pytree_node_serialization(
        cls,
        serialized_name="funcparams.Ref",
        serialize_auxdata=lambda ref: ref.target.encode(),
        deserialize_auxdata=lambda data: cls(bytes(data).decode()),
    )


_register(Ref)
