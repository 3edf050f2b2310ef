"""A load under way: what came is sorted into places, checked, and made into trees."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from funcparams.checkpoint.arrays import difference, host
from funcparams.checkpoint.fitting import fit
from funcparams.checkpoint.places import KINDS, Place, by_owner, places, scope
from funcparams.checkpoint.report import Entry, Report
from funcparams.checkpoint.source import Stored
from funcparams.core.check import describe, resolve
from funcparams.core.declarations import Declaration, Param
from funcparams.core.definition import Definition
from funcparams.core.errors import MismatchError, nearest
from funcparams.core.names import Path, Tree, at, split
from funcparams.core.nodes import Parametrization
from funcparams.core.walk import Kind, map_owned, owned, skeleton
from funcparams.drawing.draw import draw
from funcparams.select.fields import rebuilt
from funcparams.select.flat import written_fields
from funcparams.select.where import Where

_HINTS = 10  # the search for the nearest name is slow, and hundreds of hints help nobody


class Loaded(NamedTuple):
    """What `load_state_dict` and `load` return.

    Attributes:
        params: The params of the definition.
        state: Its state; empty where it has no buffers.
        report: What happened to each name.

    Example:
        >>> import funcparams as fp, numpy as np
        >>> from funcparams import nn
        >>> given = {"weight": np.ones((3, 2), np.float32)}
        >>> params, state, report = fp.load_state_dict(nn.Linear(2, 3, bias=False), given)
        >>> report.names("loaded")
        ['weight']
    """

    params: Tree
    state: Tree
    report: Report


def _array(name: str, value: Any) -> Any:
    # A copy: memory of numpy's and PyTorch's goes on changing, and params do not.
    return jnp.array(value) if isinstance(value, np.ndarray | np.generic) else jnp.asarray(value)


class Call(NamedTuple):
    """Who loads: for the errors, and for what is done with each array.

    Attributes:
        name: The public function.
        origin: What is loaded, for the errors.
        put: From an owner's name and a value to an array of JAX.
    """

    name: str
    origin: str = ""
    put: Callable[[str, Any], Any] = _array


@dataclasses.dataclass
class Task:
    """A load under way; `values` and `entries` fill up, and `problems` if anything is wrong."""

    call: Call
    model: Definition
    dtype: Any
    found: list[Place] = dataclasses.field(init=False)
    chosen: frozenset[str] = dataclasses.field(init=False)
    # By owner's name; what came, by the name of the place: (their name, array).
    values: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    came: dict[str, tuple[str, Any]] = dataclasses.field(default_factory=dict[str, tuple[str, Any]])
    stray: dict[str, tuple[str, Any]] = dataclasses.field(
        default_factory=dict[str, tuple[str, Any]]
    )
    # By owner's name: parametrizations to be filled, and what came for their leaves.
    nodes: dict[str, Parametrization] = dataclasses.field(
        default_factory=dict[str, Parametrization]
    )
    parts: dict[str, dict[Path, tuple[str, Any]]] = dataclasses.field(
        default_factory=dict[str, dict[Path, tuple[str, Any]]]
    )
    drawn: dict[str, Declaration] = dataclasses.field(default_factory=dict[str, Declaration])
    entries: dict[str, Entry] = dataclasses.field(default_factory=dict[str, Entry])
    ignored: list[Entry] = dataclasses.field(default_factory=list[Entry])
    problems: list[str] = dataclasses.field(default_factory=list[str])
    advice: dict[str, None] = dataclasses.field(default_factory=dict[str, None])

    def __post_init__(self) -> None:
        self.found = places(self.model)

    def add(self, name: str, text: str, advice: str) -> None:
        """Note what is wrong, and how it is mended."""
        self.problems.append(f"{name}: {text}")
        self.advice[advice] = None

    def choose(self, where: Where | None) -> None:
        """Say which owners are to be loaded."""
        if where is None:
            self.chosen = frozenset(place.owner for place in self.found)
        else:
            self.chosen = frozenset(scope(self.model).select(where))

    def base(self, params: Mapping[str, Any] | None, state: Mapping[str, Any] | None) -> None:
        """Take what is not to be loaded from the trees that were given."""
        for kind, tree in zip(KINDS, (params, state), strict=True):
            if tree is None:
                continue
            what = "params" if kind is Param else "state"
            resolve(type(self.model).__name__, what, skeleton(self.model, kind), tree)
            for name in owned(self.model, kind):
                value = at(tree, split(name))
                if name not in self.chosen:
                    self.values[name] = value
                    self.entries[name] = Entry(name, "kept")
                elif isinstance(value, Parametrization):
                    self.nodes[name] = value

    def give(self, mapping: Mapping[str, tuple[str, Any]]) -> None:
        """Sort what came into places and strays."""
        known = {place.name: place for place in self.found if place.persistent}
        leaves = {
            written: (place.owner, below)
            for place in self.found
            if place.owner in self.nodes
            for below, written, _ in written_fields(self.nodes[place.owner], split(place.name))
        }
        for name, (source, value) in mapping.items():
            if name in leaves:
                owner, below = leaves[name]
                self.parts.setdefault(owner, {}).setdefault(below, (source, host(source, value)))
            elif name not in known:
                self.stray[name] = source, value
            elif known[name].owner in self.chosen:
                self.came[name] = source, host(source, value)
            else:
                self.ignored.append(Entry(source, "ignored", source, "not meant by where"))

    def unite(self, transform: Mapping[Any, Callable[[Any], Any]]) -> None:
        """Make one array of what came for each owner."""
        functions = scope(self.model).assign(transform)
        for owner, group in by_owner(self.found).items():
            given = [place for place in group if place.name in self.came]
            if not given:
                continue
            first, *others = given
            source, value = self.came[first.name]
            for other in others:
                _, again = self.came[other.name]
                text = difference(value, again)
                if text:
                    told = f"shared with {first.name}, and the two differ {text}"
                    self.add(
                        other.name,
                        told,
                        "a shared array has one value: leave one of the names out, or load into a "
                        "definition that does not share",
                    )
                self.entries[other.name] = Entry(
                    other.name, "tied", self.came[other.name][0], f"with {owner}"
                )
            if owner not in functions:
                self.values[owner] = self._fitted(first, source, value)
                continue
            value = functions[owner](np.asarray(value) if isinstance(value, Stored) else value)
            self.values[owner] = self._fitted(first, source, value)
            if not self.problems:  # at once: of a file, only one array is in memory twice
                self.values[owner] = self.call.put(owner, self.values[owner])

    def _fitted(self, place: Place, source: str, value: Any) -> Any:
        """Check one array, and give it the dtype that is wanted."""
        found = fit(place.declared, value, self.dtype, "" if source == place.name else source)
        if found.problem:
            self.add(place.name, found.problem, found.advice)
        else:
            self.entries[place.owner] = Entry(place.owner, found.deed, source, found.detail)
        return found.value

    def fill_nodes(self) -> None:
        """Make the parametrizations for whose leaves something came."""
        for owner, parts in self.parts.items():
            node, values = self.nodes[owner], list[Any]()
            for below, written, old in written_fields(node, split(owner)):
                if below not in parts:
                    advice = "give all arrays of a parametrization, or the parameter's own"
                    self.add(written, f"missing, expected {describe(old)}", advice)
                    continue
                found = fit(old, parts[below][1])
                values.append(found.value)
                if found.problem:
                    self.add(written, found.problem, found.advice)
            self.values[owner] = None if self.problems else rebuilt(node, values)
            self.entries[owner] = Entry(
                owner, "loaded", ", ".join(source for source, _ in parts.values()),
                f"into a {type(node).__name__}",
            )  # fmt: skip

    def fill(self, missing: str) -> None:
        """Note what is to be drawn, or what is missing."""
        for owner, (place, *_) in by_owner(self.found).items():
            if owner in self.values:
                continue
            declared = place.declared
            if missing == "init" or not place.persistent:
                self.drawn[owner] = declared
                self.entries[owner] = Entry(owner, "drawn", "", repr(declared.init))
                continue
            target = f"{declared.dtype.name}[{','.join(map(str, declared.shape))}]"
            near = nearest(owner, list(self.stray)) if len(self.problems) < _HINTS else ""
            if owner in self.chosen:
                self.add(
                    owner,
                    f"missing, expected {target}{near}",
                    'rename={...} for other names, or missing="init" with a key draws what is '
                    "missing",
                )
            else:
                self.add(
                    owner,
                    "not meant by where, and no value was given",
                    'give params=... (and state=...), or missing="init" with a key',
                )

    def report_unexpected(self, unexpected: str) -> None:
        """Note what nothing was found for."""
        known = [place.name for place in self.found]
        for count, (name, (source, value)) in enumerate(self.stray.items()):
            if unexpected == "ignore":
                self.ignored.append(Entry(source, "ignored", source, "not in the definition"))
                continue
            if isinstance(value, Mapping):
                self.add(
                    source,
                    f"a nested dict ({describe(value)}), where names are dotted",
                    "fp.flatten(tree) makes a flat dict",
                )
                continue
            shown = source if source == name else f"{source} (renamed {name})"
            near = nearest(name, known) if count < _HINTS else ""
            advice = 'rename={...} for other names, or unexpected="ignore" passes over them'
            if ".parametrizations." in f".{name}":
                advice = (
                    "names do not tell what a parametrization is: give params=fp.parametrize(...) "
                    "with them in their places, to be filled"
                )
            self.add(shown, f"unexpected {_described(value)}{near}", advice)

    def fail(self) -> None:
        """Raise one error for all that is wrong."""
        if not self.problems:
            return
        count = len(self.problems)
        raise MismatchError(
            "\n  ".join(
                [
                    f"{self.call.name}: {count} problem{'s' if count > 1 else ''} with "
                    f"{type(self.model).__name__}{self.call.origin}",
                    *self.problems,
                ]
            )
            + "".join(f"\nTo mend: {advice}." for advice in self.advice)
        )

    def finish(self, key: jax.Array | None) -> Loaded:
        """Draw what is missing, and make the trees."""
        for kind in KINDS:
            requests = {n: d for n, d in self.drawn.items() if isinstance(d, kind)}
            self.values |= draw(requests, key, kind.__name__.lower())
        named = [self.entries[p.name] for p in self.found if p.name in self.entries]
        entries = (*named, *self.ignored)
        params, state = (self._tree(kind) for kind in KINDS)
        return Loaded(params, state, Report(type(self.model).__name__, entries))

    def _tree(self, kind: Kind) -> Tree:
        values = {
            id(declared): jax.tree.map(functools.partial(self._placed, name), self.values[name])
            for name, declared in owned(self.model, kind).items()
        }
        return map_owned(skeleton(self.model, kind), lambda each: values[id(each)])

    def _placed(self, name: str, value: Any) -> Any:
        return value if isinstance(value, jax.ShapeDtypeStruct) else self.call.put(name, value)


def _described(value: Any) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is None or dtype is None:
        return describe(value)
    return f"{str(dtype).removeprefix('torch.')}[{','.join(map(str, shape))}]"
