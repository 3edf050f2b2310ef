"""Names: dotted paths of attribute names, and how they sort."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Path: TypeAlias = tuple[str, ...]
"""A name in its components: `("layers", "0", "weight")`."""

Tree: TypeAlias = dict[str, Any]
"""A nested dict whose keys are the components of names."""


def dotted(path: Path) -> str:
    """Join components to the dotted name: `("a", "0")` is `"a.0"`."""
    return ".".join(path)


def split(name: str) -> Path:
    """Cut a dotted name into its components; the empty name has none."""
    return tuple(name.split(".")) if name else ()


def natural(path: Path) -> tuple[tuple[tuple[int, int | str], ...], ...]:
    """Give the sort key under which `layers.2` stands before `layers.10`."""
    return tuple(
        tuple(
            (0, int(part)) if part.isdecimal() else (1, part)
            for part in re.split(r"(\d+)", component)
            if part
        )
        for component in path
    )


def leaves(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield (path, value) for all that is not a mapping, in the tree's own order."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():  # pyright: ignore[reportUnknownVariableType]
            yield from leaves(value, (*path, str(key)))  # pyright: ignore[reportUnknownArgumentType]
    else:
        yield path, tree


def at(tree: Any, path: Path, default: Any = None) -> Any:
    """Give what stands at a path, or the default where nothing does."""
    for component in path:
        if not isinstance(tree, Mapping) or component not in tree:
            return default
        tree = tree[component]  # pyright: ignore[reportUnknownVariableType]
    return tree  # pyright: ignore[reportUnknownVariableType]


def place(tree: Tree, path: Path, value: Any) -> None:
    """Put a value at a path of a tree under construction, making the dicts on the way."""
    for component in path[:-1]:
        tree = tree.setdefault(component, {})
    tree[path[-1]] = value
