"""The text of a definition: PyTorch's nested form, with ties marked."""

from __future__ import annotations

import inspect
import itertools
from typing import Any, cast

from funcparams.core.declarations import Declaration
from funcparams.core.definition import Definition, parts, sealed
from funcparams.core.names import Path, dotted


def represent(root: Definition) -> str:
    """Write a module as PyTorch does, one line each, children indented, shared places marked."""
    return _lines(root, (), {})


def _lines(node: Any, path: Path, seen: dict[int, str]) -> str:
    declared, children = parts(node)
    for name, declaration in declared:
        seen.setdefault(id(declaration), dotted((*path, name)))
    head: str = cast(Any, node).extra_repr() if isinstance(node, Definition) else ""
    texts: dict[str, str] = {}
    for name, child in children:
        here = (*path, name)
        if not isinstance(child, Definition):
            if _holds_modules(child):
                texts[name] = _lines(child, here, seen)
        elif id(child) in seen:
            texts[name] = f"{_lines(child, here, dict(seen))}  # shared with {seen[id(child)]}"
        else:
            seen[id(child)] = dotted(here)
            texts[name] = _lines(child, here, seen) + _marks(child, here, seen)
    body = _folded(texts) if isinstance(node, tuple) else [f"({n}): {t}" for n, t in texts.items()]
    body = [line.replace("\n", "\n  ") for line in body]
    name = _name(node)
    if not body:
        return f"{name}({head})"
    return f"{name}(" + "".join(f"\n  {line}" for line in ([head] if head else []) + body) + "\n)"


def _name(node: Any) -> str:
    """Give a module's class; a tuple and a mapping have the names of PyTorch's containers."""
    if isinstance(node, Definition):
        return type(node).__name__
    return "ModuleList" if isinstance(node, tuple) else "ModuleDict"


def _holds_modules(container: Any) -> bool:
    return any(
        isinstance(child, Definition) or _holds_modules(child) for _, child in parts(container)[1]
    )


def _folded(texts: dict[str, str]) -> list[str]:
    """Write equal neighbours of a list once, `(0-1): 2 x Linear(...)`."""
    lines: list[str] = []
    for text, group in itertools.groupby(texts, key=lambda name: texts[name]):
        first, *rest = group
        many = f"{first}-{rest[-1]}): {1 + len(rest)} x " if rest else f"{first}): "
        lines.append(f"({many}{text}")
    return lines


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
