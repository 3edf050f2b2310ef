"""The names under which PyTorch writes what a definition declares: every place, shared or not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from funcparams.core.declarations import Buffer, Declaration, Param
from funcparams.core.definition import Definition, parts
from funcparams.core.names import dotted
from funcparams.core.walk import Kind, modules, owned
from funcparams.select.where import Scope

KINDS: tuple[Kind, ...] = (Param, Buffer)


@dataclasses.dataclass(frozen=True)
class Place:
    """One name of one parameter or buffer.

    Attributes:
        name: The dotted name of this place.
        owner: The name of the place that holds the array; `name` itself where nothing is shared.
        declared: What stands there.
    """

    name: str
    owner: str
    declared: Declaration

    @property
    def persistent(self) -> bool:
        """Whether a state_dict has it."""
        return not isinstance(self.declared, Buffer) or self.declared.persistent


def places(model: Definition) -> list[Place]:
    """Give every place in the order of PyTorch's state_dict.

    A module's own parameters come first, then its buffers, then its children; a shared module comes
    at each of its places.
    """
    owners = {id(declared): name for kind in KINDS for name, declared in owned(model, kind).items()}
    return [
        Place(dotted((*path, name)), owners[id(declared)], declared)
        for path, node, _ in modules(model)
        for kind in KINDS
        for name, declared in parts(node)[0]
        if isinstance(declared, kind)
    ]


def by_owner(found: Iterable[Place]) -> dict[str, list[Place]]:
    """Give the places of each owner, its own first."""
    groups: dict[str, list[Place]] = {}
    for place in found:
        groups.setdefault(place.owner, []).append(place)
    return groups


def scope(model: Definition) -> Scope:
    """Give what a `where` is asked about: parameters and buffers together."""
    scopes = [Scope.of_definition(model, kind) for kind in KINDS]
    values = {name: value for each in scopes for name, value in each.values.items()}
    aliases = {name: value for each in scopes for name, value in each.aliases.items()}
    return Scope(values, aliases, scopes[0].typed)
