"""Walking a definition: the tree of its declarations, and PyTorch's traversal order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from funcparams.core.declarations import Buffer, Declaration, Param
from funcparams.core.definition import Definition, parts, sealed
from funcparams.core.names import Path, Tree, dotted, leaves
from funcparams.core.nodes import Ref, follow, relative

Kind = type[Param] | type[Buffer]


def skeleton(root: Definition, kind: Kind) -> Tree:
    """Give the tree of a definition's declarations of one kind, with references at shared places.

    It has the form of params (or state), in PyTorch's order: a module's own declarations as they
    were assigned, then its children, depth first. It is made once a definition; never change it.
    """
    cache = sealed(root).cache
    if kind.__name__ not in cache:
        cache[kind.__name__] = _visit(root, (), kind, {})
    return cache[kind.__name__]


def _visit(node: Any, path: Path, kind: Kind, seen: dict[int, tuple[Path, bool]]) -> Tree:
    """Make the tree below one module or container; `seen` gives each thing's owner."""
    tree: Tree = {}
    declared, children = parts(node)
    for name, declaration in declared:
        if isinstance(declaration, kind):
            here = (*path, name)
            owner, _ = seen.setdefault(id(declaration), (here, True))
            tree[name] = declaration if owner == here else relative(owner, here)
    for name, child in children:
        here = (*path, name)
        if id(child) in seen:
            owner, holds_any = seen[id(child)]
            if holds_any:
                tree[name] = relative(owner, here)
            continue
        below = _visit(child, here, kind, seen)
        if isinstance(child, Definition):
            seen[id(child)] = (here, bool(below))
        if below:
            tree[name] = below
    return tree


def map_owned(tree: Tree, function: Callable[[Any], Any]) -> Tree:
    """Make a tree of the same form with a function's results at the owners' places."""
    return {
        key: map_owned(cast(Tree, value), function)
        if isinstance(value, dict)
        else value
        if isinstance(value, Ref)
        else function(value)
        for key, value in tree.items()
    }


def owned(root: Definition, kind: Kind) -> dict[str, Any]:
    """Give every declaration of one kind once, under its owner's dotted name, in order."""
    return {
        dotted(path): value
        for path, value in leaves(skeleton(root, kind))
        if isinstance(value, Declaration)
    }


def aliases(tree: Tree) -> dict[str, list[str]]:
    """Give all the names of each array of a tree, by its owner's name, the owner's own first."""
    found: dict[str, list[str]] = {
        dotted(path): [dotted(path)]
        for path, value in leaves(tree)
        if not isinstance(value, Ref | None)
    }
    for shown, real in _places(tree, tree, (), ()):
        if shown != real and dotted(real) in found:  # a hole of partition has no name
            found[dotted(real)].append(dotted(shown))
    return found


def _places(tree: Tree, value: Any, shown: Path, real: Path) -> Iterator[tuple[Path, Path]]:
    """Yield (name, owner's name) for every place of an array, also those behind references."""
    if isinstance(value, Ref):
        real, value = follow(tree, real, value)
    if isinstance(value, Mapping):
        for key, below in cast("Mapping[str, Any]", value).items():
            yield from _places(tree, below, (*shown, key), (*real, key))
    else:
        yield shown, real


def modules(root: Definition, path: Path = ()) -> Iterator[tuple[Path, Any, Any]]:
    """Yield (path, definition node, view node) for every place, containers included.

    A shared module comes once for each of its places. The view node is the root's own side: the
    bound views where the root is one, the definition again where it is not.
    """
    yield from _walk(root, root, path)


def _walk(node: Any, shown: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    yield path, node, shown
    for name, child in parts(node)[1]:
        yield from _walk(child, item(shown, name), (*path, name))


def item(node: Any, name: str) -> Any:
    """Give the member of a module or container under one component."""
    if isinstance(node, Definition):
        return vars(node)[name]
    if isinstance(node, tuple):
        return cast("tuple[Any, ...]", node)[int(name)]
    return node[name]


def find(root: Definition, name: str) -> Any:
    """Give what stands at a dotted name of a definition; KeyError where nothing does."""
    node: Any = root
    for component in name.split("."):
        try:
            node = (
                sealed(node).fields[component]
                if isinstance(node, Definition)
                else item(node, component)
            )
        except (KeyError, ValueError, IndexError, TypeError):
            raise KeyError(name) from None
    return node


def place_names(root: Definition) -> list[str]:
    """Give every dotted name in a definition: fields, modules and declarations."""
    names: list[str] = []
    for path, node, _ in modules(root):
        members = sealed(node).fields if isinstance(node, Definition) else dict(parts(node)[0])
        names.extend(dotted((*path, name)) for name in members)
    return names
