"""From the names in a file to the names in a definition."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

from funcparams.core.errors import DefinitionTypeError, MismatchError, SelectionError

Rename: TypeAlias = "Mapping[Any, str] | Callable[[str], str | None]"
"""Replacements by regular expression, in order, or a function from their names to ours."""


def renamed(mapping: Mapping[str, Any], rename: Rename | None) -> dict[str, tuple[str, Any]]:
    """Give what a mapping holds by our names: (their name, value).

    Raises:
        SelectionError: If a rule changes no name.
        MismatchError: If two names become the same.
        DefinitionTypeError: If names are not strings.
    """
    for name in mapping:
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionTypeError(
                "load_state_dict: names are strings, and one is the "
                f"{type(name).__name__} {name!r}."
            )
    targets = _targets(list(mapping), rename)
    found: dict[str, tuple[str, Any]] = {}
    clashes: list[str] = []
    for source, target in targets.items():
        if target is None:
            continue
        if target in found:
            clashes.append(f"{source} and {found[target][0]} both become {target}")
        found[target] = source, mapping[source]
    if clashes:
        raise MismatchError("rename: " + "\n  ".join(clashes))
    return found


def _targets(names: list[str], rename: Rename | None) -> dict[str, str | None]:
    if rename is None:
        return {name: name for name in names}
    if not isinstance(rename, Mapping):
        return {name: rename(name) for name in names}
    targets = {name: name for name in names}
    for rule, replacement in cast("Mapping[str, str]", rename).items():
        pattern = re.compile(rule)  # a compiled one comes back as it is
        before = dict(targets)
        targets = {name: pattern.sub(replacement, now) for name, now in targets.items()}
        if not any(pattern.search(now) for now in before.values()):
            shown = ", ".join(list(before.values())[:6]) + (", ..." if len(before) > 6 else "")
            raise SelectionError(
                f"rename: the rule {pattern.pattern!r} matches no name\n"
                f"  The names are {shown or '(none)'}."
            )
    return dict(targets)
