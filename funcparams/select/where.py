"""The selection language: which names a `where` means."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, cast

import jax.numpy as jnp

from funcparams.core.declarations import Param
from funcparams.core.definition import Definition
from funcparams.core.errors import DefinitionTypeError, SelectionError, nearest
from funcparams.core.names import Tree, at, dotted, split
from funcparams.core.nodes import Parametrization
from funcparams.core.walk import Kind, aliases, modules, skeleton
from funcparams.select.fields import FieldName, fields

Where: TypeAlias = (
    "str | re.Pattern[str] | type[Definition] | Callable[[str, Any], bool] | tuple[Where, ...]"
)
"""A glob, a compiled regex, a Module subclass, a predicate on (name, value), or several of them."""


class Names(tuple[str, ...]):
    """The names that a selector found: a `where` of its own, by exact names.

    Example:
        >>> from funcparams import nn
        >>> nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).names("*.bias")
        Names('0.bias', '2.bias')
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Names{tuple.__repr__(self)}"


@dataclasses.dataclass(frozen=True)
class Scope:
    """What a `where` is asked about: names with their aliases and values, and types if known.

    Attributes:
        values: The array or declaration of each owner, by name; the leaves of a parametrization
            stand one by one, under names extended by those of its fields.
        aliases: All names of each owner, its own first. A leaf of a parametrization has those of
            the parameter, and then its own, as `FieldName`s.
        typed: Gives the prefixes at which modules of a class stand; None for a bare tree.
    """

    values: Mapping[str, Any]
    aliases: Mapping[str, Iterable[str]]
    typed: Callable[[type[Definition]], list[str]] | None

    @classmethod
    def of_definition(cls, root: Definition, kind: Kind = Param) -> Scope:
        """Ask about the declarations of a definition."""

        def typed(wanted: type[Definition]) -> list[str]:
            return [dotted(path) for path, node, _ in modules(root) if isinstance(node, wanted)]

        return cls.of_tree(skeleton(root, kind), typed)

    @classmethod
    def of_tree(
        cls, tree: Tree, typed: Callable[[type[Definition]], list[str]] | None = None
    ) -> Scope:
        """Ask about the leaves of a tree of params."""
        values: dict[str, Any] = {}
        names: dict[str, list[str]] = {}
        for name, known in aliases(tree).items():
            value = at(tree, split(name))
            if not isinstance(value, Parametrization):
                values[name], names[name] = value, known
                continue
            for path, leaf, *_ in fields(value):
                below = dotted(path)
                values[f"{name}.{below}"] = leaf
                own = [FieldName(f"{alias}.{below}") for alias in known]
                names[f"{name}.{below}"] = [*known, *own]
        return cls(values, names, typed)

    def select(self, where: Where) -> Names:
        """Give the owners' names that a `where` means, in order; it must mean at least one."""
        return Names(self.meant(where))

    def meant(self, where: Where) -> dict[str, str]:
        """Give the owners' names that a `where` means, each with the first of its names meant."""
        matches = _matcher(where, self)
        found: dict[str, str] = {}
        for name, value in self.values.items():
            for alias in self.aliases[name]:
                if matches(alias, value):
                    found[name] = alias
                    break
        if not found and not (isinstance(where, Names) and not where):
            raise SelectionError(self._nothing(where))
        return found

    def assign(self, rules: Mapping[Any, Any]) -> dict[str, Any]:
        """Give each name the value of the first rule that means it."""
        chosen: dict[str, Any] = {}
        for where, value in rules.items():
            for name in self.select(where):
                chosen.setdefault(name, value)
        return {name: chosen[name] for name in self.values if name in chosen}

    def _nothing(self, where: Where) -> str:
        names = list(dict.fromkeys(alias for known in self.aliases.values() for alias in known))
        shown = where.__name__ if isinstance(where, type) else repr(where)
        hint = ""
        if isinstance(where, str):
            if any(name.startswith(where + ".") for name in names):
                hint = f"; {where!r} is a module: write {where + '.**'!r} for all below it"
            else:
                hint = nearest(where, names)
        some = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
        return f"{shown} selects nothing{hint}\n  The names are {some or '(none)'}."


def _matcher(where: Where, scope: Scope) -> Callable[[str, Any], bool]:
    """Compile a `where` to a predicate on (name, value)."""
    if isinstance(where, Names):
        exact = frozenset(where)
        return lambda name, _: name in exact
    if isinstance(where, tuple):
        where = cast("tuple[Where, ...]", where)
        several = [_matcher(part, scope) for part in where]
        # One part that means nothing is a mistake, even beside others that mean something.
        for part in where:
            scope.select(part)
        return lambda name, value: any(matches(name, value) for matches in several)
    if isinstance(where, str):
        pattern = _glob(where)
        return lambda name, _: pattern.fullmatch(name) is not None
    if isinstance(where, re.Pattern):
        return lambda name, _: where.fullmatch(name) is not None
    if isinstance(where, type) and issubclass(where, Definition):  # pyright: ignore[reportUnnecessaryIsInstance]
        return _type_matcher(where, scope)
    if callable(cast(Any, where)) and not isinstance(where, Definition):
        asked = cast("Callable[[str, Any], bool]", where)
        # It is asked about every leaf of a parametrization, under the parameter's name alone:
        # `not name.endswith("bias")` would else mean `bias.original`.
        return lambda name, value: not isinstance(name, FieldName) and asked(name, value)
    raise DefinitionTypeError(
        f"where={where!r}: expected a glob such as '**.bias', a compiled regex, a Module subclass, "
        "a predicate (name, value) -> bool, model.names(...), or a tuple of these."
    )


def _type_matcher(where: type[Definition], scope: Scope) -> Callable[[str, Any], bool]:
    if scope.typed is None:
        raise DefinitionTypeError(
            f"where={where.__name__}: a tree of arrays does not know the types of its modules.\n"
            f"  Ask the definition: model.names({where.__name__})."
        )
    prefixes = scope.typed(where)
    if "" in prefixes:
        return lambda name, _: True
    below = tuple(prefix + "." for prefix in prefixes)
    return lambda name, _: name.startswith(below)


def _glob(pattern: str) -> re.Pattern[str]:
    """Compile a glob: `*` and `?` stay within one component, `**` crosses dots."""
    parts = re.split(r"(\*\*\.|\*\*|\*|\?)", pattern)
    meaning = {"**.": r"(?:[^.]+\.)*", "**": ".*", "*": "[^.]*", "?": "[^.]"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts))


def floating(dtype: Any) -> Any:
    """Check the dtype of a cast; parameters are floating, so integers are refused."""
    try:
        wanted = jnp.dtype(dtype)
    except TypeError as error:
        raise DefinitionTypeError(
            f"expected a dtype such as jnp.bfloat16, got {dtype!r}."
        ) from error
    if not jnp.issubdtype(wanted, jnp.floating):
        raise DefinitionTypeError(
            f"cannot cast to {wanted.name}: a cast changes floating arrays and takes a floating "
            "dtype.\n  Quantised parameters are a parametrization's work."
        )
    return wanted
