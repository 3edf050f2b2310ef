"""The check of a tree against a definition: one report of all that does not fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import jax

from funcparams.core.declarations import Declaration
from funcparams.core.definition import Definition
from funcparams.core.errors import MismatchError, SharingError, nearest
from funcparams.core.names import Path, Tree, dotted, leaves
from funcparams.core.nodes import Parametrization, Ref, absolute, follow, map_refs, relative

_NEW = "make a fitting tree with {make}"
_TIE = "fp.tie(model, params) turns equal copies into references"
_UNTIE = (
    "fp.untie(model, params, where) gives the place an array of its own, in definition and params"
)

_LEAVE = "leave out what the definition does not have"
_HINTS = 10


@dataclasses.dataclass
class _Report:
    """What a walk over a tree has found."""

    expected: Tree
    tree: Any
    what: str
    sizes: bool
    values: dict[int, Any] = dataclasses.field(default_factory=dict[int, Any])
    problems: list[str] = dataclasses.field(default_factory=list[str])
    advice: dict[str, None] = dataclasses.field(default_factory=dict[str, None])

    def add(self, path: Path, text: str, advice: str) -> None:
        self.problems.append(f"{dotted(path) or self.what}: {text}")
        self.advice[advice] = None


def resolve(root: str, what: str, expected: Tree, tree: Any) -> dict[int, Any]:
    """Give every declared array, by the identity of its declaration, or one error about all faults.

    Args:
        root: The class of the model, for the error.
        what: "params" or "state".
        expected: The definition's skeleton.
        tree: What the user gave.
    """
    # Under manual mesh axes each device sees a shard: ranks must agree, sizes cannot.
    mesh = getattr(jax.sharding, "get_abstract_mesh", lambda: None)()
    report = _Report(expected, tree, what, sizes=not getattr(mesh, "manual_axes", ()))
    if report.sizes and _fits(expected, tree, report.values):
        return report.values
    if isinstance(tree, Mapping):
        _compare(report, expected, cast("Mapping[str, Any]", tree), ())
    else:
        make = _NEW.format(make=_maker(what))
        report.add((), f"expected a nested dict, got {describe(tree)}", make)
    if report.problems:
        count = len(report.problems)
        lines = [f"{what} do not fit {root}: {count} problem{'s' if count > 1 else ''}"]
        if what == "state":
            lines[0] = lines[0].replace("do not", "does not")
        lines += [f"  {problem}" for problem in report.problems]
        lines += [f"To mend: {advice}." for advice in report.advice]
        raise MismatchError("\n".join(lines))
    return report.values


def _fits(expected: Tree, given: Any, values: dict[int, Any]) -> bool:
    """Collect the arrays of a tree that is just as `init` makes it; False at the first difference.

    Nearly every tree is, and is read in a third of the time that a walk with a report takes.
    """
    if type(given) is not dict or len(given) != len(expected):  # pyright: ignore[reportUnknownArgumentType]
        return False
    for key, wanted in expected.items():
        got = cast(Tree, given).get(key)
        if type(wanted) is dict:  # pyright: ignore[reportUnknownArgumentType]
            if not _fits(cast(Tree, wanted), got, values):
                return False
        elif isinstance(wanted, Ref):
            if type(got) is not Ref or got != wanted:
                return False
        elif getattr(got, "shape", None) != wanted.shape or isinstance(got, Parametrization):
            return False
        else:
            values[id(wanted)] = got
    return True


def describe(value: Any) -> str:
    """Say in a few words what a value is: `float32[3,4]` for an array."""
    if isinstance(value, Ref):
        return f"the reference {value!r}"
    if isinstance(value, Parametrization):
        return f"a {type(value).__name__}"
    if isinstance(value, Definition):
        return f"the module {type(value).__name__}"
    if isinstance(value, Mapping):
        if not value:
            return "an empty dict"
        names = [dotted(path) for path, _ in leaves(cast("Mapping[str, Any]", value))]
        return f"a dict with {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    return f"{type(value).__name__} {value!r}"[:80]


def _maker(what: str) -> str:
    return "model.init(key)" if what == "params" else "model.init_state()"


def _compare(report: _Report, expected: Tree, given: Mapping[str, Any], path: Path) -> None:
    for key, wanted in expected.items():
        here, got = (*path, key), given.get(key)
        if isinstance(wanted, dict):
            _compare_branch(report, cast(Tree, wanted), got, here)
        elif isinstance(wanted, Ref):
            _compare_shared(report, wanted, got, here)
        else:
            _compare_leaf(report, wanted, got, here)
    unexpected = [key for key in given if key not in expected]
    if unexpected:
        _report_unexpected(report, expected, given, unexpected, path)


def _report_unexpected(
    report: _Report, expected: Tree, given: Mapping[str, Any], keys: list[str], path: Path
) -> None:
    # Names of other levels are candidates too: a flat dict is a common mistake.
    known = {
        dotted((*path, *below[:depth]))
        for below, _ in leaves(expected)
        for depth in range(1, len(below) + 1)
    }
    for count, key in enumerate(keys):
        name = dotted((*path, str(key)))
        if not isinstance(cast(Any, key), str):
            hint = f"; names are strings, and this is the {type(key).__name__} {key!r}"
        elif name in known:
            hint = "; names are nested dicts: fp.unflatten(model, flat) makes them of dotted names"
        else:  # the search is slow, and a tree of other names altogether has hundreds
            hint = nearest(name, known) if count < _HINTS else ""
        text = f"unexpected {describe(given[key])}{hint}"
        report.add((*path, str(key)), text, _LEAVE)


def _compare_branch(report: _Report, expected: Tree, got: Any, path: Path) -> None:
    if got is None:
        got = {}  # what is missing in it is reported leaf by leaf
    if isinstance(got, Mapping):
        _compare(report, expected, cast("Mapping[str, Any]", got), path)
    elif isinstance(got, Ref) and _covers(report, got, expected, path):
        return
    elif isinstance(got, Ref):
        text = f"{describe(got)}, where the definition has parameters that it does not share"
        report.add(path, text, _UNTIE)
    else:
        make = _NEW.format(make=_maker(report.what))
        report.add(path, f"expected {describe(expected)}, got {describe(got)}", make)


def _covers(report: _Report, got: Ref, expected: Tree, path: Path) -> bool:
    """Tell whether one reference says what references below it would say."""
    try:
        owner, _ = follow(report.tree, path, got)
    except SharingError:
        return False
    return all(
        isinstance(wanted, Ref) and absolute(wanted, (*path, *below)) == (*owner, *below)
        for below, wanted in leaves(expected)
    )


def _compare_shared(report: _Report, wanted: Ref, got: Any, path: Path) -> None:
    """Check a place that shares: the right reference, or nothing, may stand there."""
    if got is None or got == wanted:
        return
    try:
        owner, _ = follow(report.expected, path, wanted)
    except SharingError:
        report.add(path, f"unexpected {describe(got)}", _LEAVE)
        return
    if isinstance(got, Ref):
        try:
            found, _ = follow(report.tree, path, got)
        except SharingError as error:
            report.add(path, f"expected a reference to {dotted(owner)}, got {error}", _TIE)
            return
        if found != owner:
            text = f"expected a reference to {dotted(owner)}, got one to {dotted(found)}"
            report.add(path, text, f"write {wanted!r} there")
        return
    below = list(leaves(got)) if isinstance(got, Mapping) else [((), got)]
    if all(isinstance(value, Ref | None) for _, value in below):
        for inner, value in below:
            _compare_shared(
                report, relative((*owner, *inner), (*path, *inner)), value, (*path, *inner)
            )
    else:
        text = f"shared with {dotted(owner)}, which holds the array; got {describe(got)} here too"
        report.add(path, text, _TIE)


def _compare_leaf(report: _Report, wanted: Declaration, got: Any, path: Path) -> None:
    value = _value_of(report, got, path) if isinstance(got, Parametrization) else got
    shape = getattr(value, "shape", () if isinstance(value, int | float | complex) else None)
    if shape == wanted.shape or (
        not report.sizes and shape is not None and len(shape) == wanted.ndim
    ):
        report.values[id(wanted)] = value
        return
    target = f"{wanted.dtype.name}[{','.join(map(str, wanted.shape))}]"
    if got is None:
        report.add(path, f"missing, expected {target}", _NEW.format(make=_maker(report.what)))
    elif isinstance(got, Ref):
        text = f"expected {target}, got {describe(got)}, but the definition shares nothing here"
        report.add(path, text, _UNTIE)
    elif shape is not None:
        report.add(path, f"expected {target}, got {describe(value)}", "give it the declared shape")
    elif value is not None:  # a parametrization that fails has its own line
        report.add(path, f"expected {target}, got {describe(got)}", "put an array there")


def _value_of(report: _Report, node: Parametrization, path: Path) -> Any:
    """Compute a parametrization's array; a reference in a field is relative to the node's place."""

    def resolve_field(ref: Ref) -> Any:
        _, value = follow(report.tree, path, ref)
        return value.value() if isinstance(value, Parametrization) else value

    try:
        complete = cast(Parametrization, map_refs(node, resolve_field))
        jax.eval_shape(lambda: complete.value())
    except (SharingError, TypeError, ValueError) as error:
        report.add(path, f"{type(node).__name__}.value() fails: {error}", "mend the node's fields")
        return None
    return complete.value()
