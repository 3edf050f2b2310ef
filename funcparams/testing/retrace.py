"""Counting traces, with an error that says what made a function trace again."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import jax

from funcparams.core.check import describe
from funcparams.core.definition import Definition
from funcparams.core.trace import Tracer, under_trace

F = TypeVar("F", bound=Callable[..., Any])

_NOTHING = (
    "  nothing that it was called with: jax.jit was applied anew (make the jitted function once),\n"
    "  a setting of jax was changed (a mesh, x64, the precision), or jax.clear_caches() was called"
)


def assert_no_retrace(function: F, max_traces: int = 1) -> F:
    """Wrap a function so that tracing it more often than expected is an error that says why.

    The wrapper goes inside of `jax.jit`, as it is the trace that calls it. Outside of every trace
    it calls the function, and counts nothing.

    Args:
        function: A function that is to be jitted.
        max_traces: How many traces are expected, for instance one for each mode.

    Returns:
        The function that counts.

    Raises:
        AssertionError: In the call that traces once too often. It names what has changed since the
            trace that was most alike: shapes, dtypes, static arguments, structure.
        TypeError: If the function is jitted already.
        ValueError: If `max_traces` is less than 1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams.testing import assert_no_retrace
        >>> step = jax.jit(assert_no_retrace(lambda x: 2 * x))
        >>> step(jnp.ones(3)).tolist(), step(jnp.zeros(3)).tolist()
        ([2.0, 2.0, 2.0], [0.0, 0.0, 0.0])
        >>> try:
        ...     step(jnp.ones(4))
        ... except AssertionError as error:
        ...     print(error)
        <lambda> is traced for the second time, and 1 is allowed. What changed:
          x: float32[4], before float32[3]
        Pad or convert what varies, and compare static arguments by value.
    """
    if hasattr(function, "lower"):
        raise TypeError(
            "assert_no_retrace: the function is jitted already, so its traces cannot be seen.\n"
            "  Wrap what is jitted: jax.jit(assert_no_retrace(f))."
        )
    if max_traces < 1:
        raise ValueError(f"assert_no_retrace(max_traces={max_traces!r}): expected 1 or more.")
    seen: list[dict[str, _Seen]] = []

    @functools.wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        if under_trace():
            now = _description(function, args, kwargs)
            if len(seen) >= max_traces:
                raise AssertionError(_report(function, seen, now))
            seen.append(now)
        return function(*args, **kwargs)

    return cast(F, counted)


class _Seen(NamedTuple):
    """What stood at one place of the arguments: its text, and what it is compared by."""

    text: str
    value: Any


def _description(function: Any, args: Any, kwargs: Any) -> dict[str, _Seen]:
    """Describe arguments, so that no tracer is kept beyond its trace."""
    found: dict[str, _Seen] = {}
    for name, value in _named(function, args, kwargs).items():
        flatten = cast(Any, jax.tree_util.tree_flatten_with_path)
        flat, tree = flatten(value, is_leaf=_is_definition)
        for path, leaf in flat:
            found[name + jax.tree_util.keystr(path)] = _seen(leaf)
        if not jax.tree_util.all_leaves([value], is_leaf=_is_definition):
            found[f"{name}, its structure"] = _Seen(str(tree), tree)
    return found


def _named(function: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return {**{f"args[{index}]": value for index, value in enumerate(args)}, **kwargs}
    return dict(bound.arguments)


def _is_definition(value: Any) -> bool:
    return isinstance(value, Definition)


def _seen(leaf: Any) -> _Seen:
    if isinstance(leaf, Tracer):
        weak = ", weakly typed" if getattr(cast(Any, leaf), "weak_type", False) else ""
        text = describe(leaf) + weak
        return _Seen(text, text)
    if isinstance(leaf, Definition):
        return _Seen(repr(leaf), leaf)
    return _Seen(f"{leaf!r} (static)", leaf)


def _report(function: Any, seen: list[dict[str, _Seen]], now: dict[str, _Seen]) -> str:
    changes = min((_changes(before, now) for before in seen), key=len)
    ordinal = {1: "first", 2: "second", 3: "third"}.get(len(seen) + 1, f"{len(seen) + 1}th")
    name = _called(function)
    return (
        f"{name} is traced for the {ordinal} time, and {len(seen)} "
        f"{'is' if len(seen) == 1 else 'are'} allowed. What changed:\n"
        + ("\n".join(f"  {change}" for change in changes) or _NOTHING)
        + "\nPad or convert what varies, and compare static arguments by value."
    )


def _called(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = cast("functools.partial[Any]", function).func
    return str(getattr(function, "__name__", None) or repr(function))


def _changes(before: dict[str, _Seen], now: dict[str, _Seen]) -> list[str]:
    """Say what differs between two traces; structures only where no leaf tells it."""
    lines = [
        _change(name, before.get(name), now.get(name))
        for name in {**before, **now}
        if not name.endswith(", its structure") and not _equal(before.get(name), now.get(name))
    ]
    return lines or [
        _change(name, before.get(name), now.get(name))
        for name in {**before, **now}
        if not _equal(before.get(name), now.get(name))
    ]


def _equal(one: _Seen | None, two: _Seen | None) -> bool:
    if one is None or two is None:
        return one is two
    try:
        return one.value is two.value or bool(one.value == two.value)
    except Exception:  # what cannot be compared is equal to itself alone, as it is to jit
        return False


def _change(name: str, before: _Seen | None, now: _Seen | None) -> str:
    if before is None or now is None:
        return f"{name}: {now.text}, before nothing" if now else f"{name}: nothing any more"
    if before.text == now.text:
        first = now.text.partition("\n")[0]
        return (
            f"{name}: {first}, before one of the same text that is not equal to it: "
            "something in it is compared by identity"
        )
    if "\n" in before.text or "\n" in now.text:
        pairs = itertools.zip_longest(before.text.splitlines(), now.text.splitlines(), fillvalue="")
        one, two = next(pair for pair in pairs if pair[0] != pair[1])
        return f"{name}: {two.strip()}, before {one.strip()}"
    return f"{name}: {now.text}, before {before.text}"
