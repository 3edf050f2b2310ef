"""The text of a definition: PyTorch's nested form, with ties marked."""

from __future__ import annotations

import inspect
from typing import Any, cast

from funcparams.core.declarations import Declaration
from funcparams.core.definition import Definition, parts, sealed
from funcparams.core.names import Path, dotted


def represent(root: Definition) -> str:
    """Write a module as PyTorch does, one line each, children indented, shared places marked."""
    return _lines(root, (), {})


def _lines(node: Any, path: Path, seen: dict[int, str]) -> str:
    declared, _ = parts(node)
    for name, declaration in declared:
        seen.setdefault(id(declaration), dotted((*path, name)))
    head: str = cast(Any, node).extra_repr() if isinstance(node, Definition) else ""
    body: list[str] = []
    for components, child in _children(node):
        here = (*path, *components)
        if id(child) in seen:
            text = f"{_lines(child, here, dict(seen))}  # shared with {seen[id(child)]}"
        else:
            seen[id(child)] = dotted(here)
            text = _lines(child, here, seen) + _marks(child, here, seen)
        body.append(f"({dotted(components)}): " + text.replace("\n", "\n  "))
    name = type(node).__name__
    if not body:
        return f"{name}({head})"
    return f"{name}(" + "".join(f"\n  {line}" for line in ([head] if head else []) + body) + "\n)"


def _children(node: Any, prefix: Path = ()) -> list[tuple[Path, Definition]]:
    """Give a node's child modules; those in a container under their dotted names."""
    found: list[tuple[Path, Definition]] = []
    for name, child in parts(node)[1]:
        if isinstance(child, Definition):
            found.append(((*prefix, name), child))
        else:
            found.extend(_children(child, (*prefix, name)))
    return found


def _marks(module: Definition, path: Path, seen: dict[int, str]) -> str:
    """Mark declarations of a module that another place owns."""
    marks = [
        f"{name} shared with {seen[id(declaration)]}"
        for name, declaration in parts(module)[0]
        if seen[id(declaration)] != dotted((*path, name))
    ]
    return f"  # {', '.join(marks)}" if marks else ""


def extra_repr(module: Definition) -> str:
    """Write a module's hyperparameters as `name=value`, in the order of their assignment."""
    declared, children = parts(module)
    members = {name for name, _ in (*declared, *children)}
    return ", ".join(
        f"{name}={_value(value)}"
        for name, value in sealed(module).fields.items()
        if name not in members and value is not None and not isinstance(value, Declaration)
    )


def _value(value: Any) -> str:
    return value.__name__ if inspect.isroutine(value) else repr(value)
