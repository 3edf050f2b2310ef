"""Comparing trees by chex, leaf by leaf, and errors told in a few lines."""

from __future__ import annotations

import functools
import importlib
import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

# What chex's text says in numbers; the arrays themselves would fill the screen.
_TOLD = re.compile(r"Mismatched elements.*|Max absolute difference.*|.*location mismatch.*")
_LINES = 6
_PACKAGE = str(Path(__file__).parents[1])


@functools.cache
def chex() -> Any:
    """Give chex, or say how to get it."""
    try:
        module: Any = importlib.import_module("chex")
    except ImportError as error:
        raise ImportError(
            "funcparams.testing compares by chex, which is not installed.\n"
            "  pip install 'funcparams[testing]'"
        ) from error
    return module


def refuse_disabled() -> None:
    """Refuse to go on where chex's assertions are switched off, and every comparison would pass."""
    try:
        chex().assert_equal(0, 1)
    except AssertionError:
        return
    raise RuntimeError(
        "chex.disable_asserts() is in force, so nothing would be checked: call "
        "chex.enable_asserts() first."
    )


def same_bits(one: Any, two: Any) -> Iterator[str]:
    """Say where two trees differ in a number, a shape or a dtype."""
    assertions = chex()

    def compare(a: Any, b: Any) -> None:
        assertions.assert_trees_all_equal(a, b, strict=True)

    yield from _differences(one, two, compare)


def same_shapes(one: Any, two: Any) -> Iterator[str]:
    """Say where two trees differ in a shape or a dtype."""
    yield from _differences(one, two, chex().assert_trees_all_equal_shapes_and_dtypes)


def close(one: Any, two: Any, rtol: float, atol: float) -> Iterator[str]:
    """Say where two trees differ by more than a tolerance, or in a shape or a dtype."""
    assertions = chex()

    def compare(a: Any, b: Any) -> None:
        assertions.assert_trees_all_equal_shapes_and_dtypes(a, b)
        if is_key(a):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assertions.assert_trees_all_close(a, b, rtol=rtol, atol=atol)

    yield from _differences(one, two, compare)


def finite(tree: Any) -> Iterator[str]:
    """Say where a tree holds NaN or an infinity."""
    assertions = chex()
    for name, leaf in named_leaves(tree):
        if is_key(leaf) or not jnp.issubdtype(leaf.dtype, jnp.inexact):
            continue
        numbers = np.asarray(leaf, np.complex128 if np.iscomplexobj(leaf) else np.float64)
        try:
            assertions.assert_tree_all_finite(numbers)
        except AssertionError:
            count = int((~np.isfinite(numbers)).sum())
            yield f"{name}: {count} of {numbers.size} numbers are NaN or infinite"


def named_leaves(tree: Any) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a tree with their dotted names; a leaf alone is called `it`."""
    flat = cast("list[tuple[Any, Any]]", jax.tree_util.tree_flatten_with_path(tree)[0])
    for path, leaf in flat:
        yield jax.tree_util.keystr(path, simple=True, separator=".") or "it", leaf


def is_key(leaf: Any) -> bool:
    """Tell whether an array is one of PRNG keys."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def brief(error: BaseException) -> str:
    """Tell an error in a few lines: its class, its text, its notes, and where it arose."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()] or ["(no text)"]
    if len(lines) > _LINES:
        lines = [*lines[:_LINES], "..."]
    lines += getattr(error, "__notes__", [])[:1]
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not re.search(r"[/\\](jax|jaxlib|chex)[/\\]|^<", frame.filename)
        and not frame.filename.startswith(_PACKAGE)
    ]
    if frames:
        lines.append(f"at {frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}")
    return f"{type(error).__name__}: " + "\n  ".join(lines)


def _differences(one: Any, two: Any, compare: Callable[[Any, Any], None]) -> Iterator[str]:
    try:
        chex().assert_trees_all_equal_structs(one, two)
    except AssertionError:
        yield f"the structures differ: {jax.tree.structure(one)} and {jax.tree.structure(two)}"
        return
    for (name, a), b in zip(named_leaves(one), jax.tree.leaves(two), strict=True):
        try:
            compare(a, b)
        except AssertionError as error:
            yield f"{name}: {_told(a, b, str(error))}"


def _told(a: Any, b: Any, text: str) -> str:
    """Say how two leaves differ."""
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return f"{a.dtype}{list(a.shape)} and {b.dtype}{list(b.shape)}"
    told = [found.strip().rstrip(":") for found in _TOLD.findall(text)]
    return "; ".join(told) or text.strip().splitlines()[0]
