"""`load_state_dict`: a flat dict from anywhere becomes params and state, or one error."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from funcparams.checkpoint.arrays import difference, host
from funcparams.checkpoint.places import KINDS, Place, by_owner, places, scope
from funcparams.checkpoint.rename import Rename, renamed
from funcparams.checkpoint.report import Entry, Report
from funcparams.checkpoint.source import Stored
from funcparams.core.check import describe, resolve
from funcparams.core.declarations import Declaration, Param
from funcparams.core.definition import Definition
from funcparams.core.errors import DefinitionTypeError, MismatchError, nearest
from funcparams.core.names import Tree, at, split
from funcparams.core.walk import Kind, map_owned, owned, skeleton
from funcparams.drawing.draw import draw
from funcparams.select.where import Where, floating

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


def load_state_dict(
    model: Definition,
    mapping: Mapping[str, Any],
    *,
    rename: Rename | None = None,
    transform: Mapping[Any, Callable[[Any], Any]] | None = None,
    where: Where | None = None,
    params: Mapping[str, Any] | None = None,
    state: Mapping[str, Any] | None = None,
    missing: Literal["error", "init"] = "error",
    unexpected: Literal["error", "ignore"] = "error",
    key: jax.Array | None = None,
    dtype: Any = None,
) -> Loaded:
    r"""Make params and state of a flat dict of arrays by name, strictly.

    A shared array may come under any of its names, or under several if the copies are equal.
    Everything is checked before anything is returned, and all that is wrong is in one error.

    Args:
        model: The definition.
        mapping: Arrays of numpy, JAX or PyTorch by dotted name.
        rename: From their names to ours: regular expressions with replacements, which are applied
            in order, each to what the one before gave (`re.sub`); or a function of a name, whose
            None leaves the name out.
        transform: For each `where`, a function of the array that makes it ours, for other layouts:
            `{"**.c_attn.weight": np.transpose}`. The first rule that means a name wins.
        where: Load only these parameters and buffers; the others are taken from `params` and
            `state`, or drawn with `missing="init"`.
        params: Values of the parameters that `where` leaves out.
        state: Values of the buffers that `where` leaves out.
        missing: What to do without an array for a parameter or buffer: `error`, or `init` to draw
            it, with the value that `model.init(key)` would give.
        unexpected: What to do with a name that the definition does not have: `error` or `ignore`.
        key: A PRNG key for `missing="init"`.
        dtype: The dtype of floating arrays; the declared ones where nothing is said.

    Returns:
        (params, state, report). Arrays of JAX that fit are the same objects.

    Raises:
        MismatchError: If names, shapes, kinds of numbers or copies of shared arrays do not fit.
        SelectionError: If a rule or `where` means nothing.
        DefinitionTypeError: If something is no array, or an argument is none of its words.

    Example:
        >>> import funcparams as fp, numpy as np
        >>> from funcparams import nn
        >>> given = {"fc.weight": np.ones((3, 2), np.float32), "fc.bias": np.zeros(3, np.float32)}
        >>> model = nn.Sequential(nn.Linear(2, 3))
        >>> loaded = fp.load_state_dict(model, given, rename={r"^fc\.": "0."})
        >>> loaded.params["0"]["bias"].tolist()
        [0.0, 0.0, 0.0]

    References:
        [torch.nn.Module.load_state_dict](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.load_state_dict)
    """
    if not isinstance(mapping, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DefinitionTypeError(
            f"load_state_dict: expected a flat dict of arrays by name, got {describe(mapping)}.\n"
            "  A file is read by fp.load(path, model)."
        )
    return loading(
        Call("load_state_dict"), model, mapping, rename=rename, transform=transform, where=where,
        params=params, state=state, missing=missing, unexpected=unexpected, key=key, dtype=dtype,
    )  # fmt: skip


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


def loading(
    call: Call,
    model: Definition,
    mapping: Mapping[str, Any],
    *,
    rename: Rename | None = None,
    transform: Mapping[Any, Callable[[Any], Any]] | None = None,
    where: Where | None = None,
    params: Mapping[str, Any] | None = None,
    state: Mapping[str, Any] | None = None,
    missing: Literal["error", "init"] = "error",
    unexpected: Literal["error", "ignore"] = "error",
    key: jax.Array | None = None,
    dtype: Any = None,
) -> Loaded:
    """Do what `load_state_dict` says, for whoever loads."""
    _word(call, "missing", missing, ("error", "init"))
    _word(call, "unexpected", unexpected, ("error", "ignore"))
    task = _Load(call, model, None if dtype is None else floating(dtype))
    task.choose(where)
    task.base(params, state)
    task.give(renamed(mapping, rename))
    task.unite(transform or {})
    task.fill(missing)
    task.report_unexpected(unexpected)
    task.fail()
    return task.finish(key)


def _word(call: Call, name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise DefinitionTypeError(
            f"{call.name}({name}={value!r}): expected one of {', '.join(map(repr, known))}"
            f"{nearest(str(value), known)}."
        )


@dataclasses.dataclass
class _Load:
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
    drawn: dict[str, Declaration] = dataclasses.field(default_factory=dict[str, Declaration])
    entries: dict[str, Entry] = dataclasses.field(default_factory=dict[str, Entry])
    ignored: list[Entry] = dataclasses.field(default_factory=list[Entry])
    problems: list[str] = dataclasses.field(default_factory=list[str])
    advice: dict[str, None] = dataclasses.field(default_factory=dict[str, None])

    def __post_init__(self) -> None:
        self.found = places(self.model)

    def add(self, name: str, text: str, advice: str) -> None:
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
                if name not in self.chosen:
                    self.values[name] = at(tree, split(name))
                    self.entries[name] = Entry(name, "kept")

    def give(self, mapping: Mapping[str, tuple[str, Any]]) -> None:
        """Sort what came into places and strays."""
        known = {place.name: place for place in self.found if place.persistent}
        for name, (source, value) in mapping.items():
            if name not in known:
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
        declared, owner = place.declared, place.owner
        wanted, shape = declared.dtype, getattr(value, "shape", None)
        target = f"{wanted.name}[{','.join(map(str, declared.shape))}]"
        if shape != declared.shape or not hasattr(value, "dtype"):
            told = f"expected {target}, got {describe(value)}"
            told += f" under {source}" if source != place.name else ""
            self.add(place.name, told, "load into a definition of these shapes, or transform={...}")
            return None
        if not _castable(value.dtype, wanted):
            self.add(
                place.name,
                f"expected {target}, got {describe(value)}, another kind of numbers",
                "convert the array first, with transform={...}",
            )
            return None
        if self.dtype is not None and jnp.issubdtype(wanted, jnp.floating):
            wanted = self.dtype
        if value.dtype == wanted:
            self.entries[owner] = Entry(owner, "loaded", source)
            return value
        if jnp.issubdtype(wanted, jnp.integer) and not np.array_equal(
            np.asarray(value), np.asarray(value).astype(wanted)
        ):
            self.add(
                place.name,
                f"expected {target}, got {describe(value)} with numbers that do not fit",
                "convert the array first, with transform={...}",
            )
            return None
        detail = f"{value.dtype} to {jnp.dtype(wanted).name}"
        self.entries[owner] = Entry(owner, "cast", source, detail)
        return value.astype(wanted)

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
            text = f"unexpected {_described(value)}{near}"
            self.add(
                shown, text, 'rename={...} for other names, or unexpected="ignore" passes over them'
            )

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


def _castable(given: Any, wanted: Any) -> bool:
    """Tell whether numbers of one dtype can be of another without changing their kind."""
    for kind in (jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating):
        if jnp.issubdtype(wanted, kind):
            return bool(jnp.issubdtype(given, kind))
    return bool(given == wanted)


def _described(value: Any) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is None or dtype is None:
        return describe(value)
    return f"{str(dtype).removeprefix('torch.')}[{','.join(map(str, shape))}]"
