"""One array against what is wanted of it: shape, kind of numbers, dtype."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from funcparams.checkpoint.report import Deed
from funcparams.core.check import describe

_CONVERT = "convert the array first, with transform={...}"


class Fit(NamedTuple):
    """What came of an array.

    Attributes:
        value: The array in the dtype that is wanted; None where it does not fit.
        deed: What was done to it.
        detail: More of that, for people.
        problem: What does not fit; empty where it does.
        advice: How to mend it.
    """

    value: Any
    deed: Deed = "loaded"
    detail: str = ""
    problem: str = ""
    advice: str = ""


def fit(wanted: Any, value: Any, dtype: Any = None, under: str = "") -> Fit:
    """Check an array, and cast it.

    Args:
        wanted: A declaration or an array: of this shape, kind and dtype.
        value: What came.
        dtype: The dtype of floating arrays, where it is not the wanted one's.
        under: The name that it came under, if that is another.
    """
    target = wanted.dtype
    text = f"{target.name}[{','.join(map(str, wanted.shape))}]"
    if getattr(value, "shape", None) != wanted.shape or not hasattr(value, "dtype"):
        problem = f"expected {text}, got {describe(value)}" + (f" under {under}" if under else "")
        advice = "load into a definition of these shapes, or transform={...}"
        return Fit(None, problem=problem, advice=advice)
    if not _castable(value.dtype, target):
        problem = f"expected {text}, got {describe(value)}, another kind of numbers"
        return Fit(None, problem=problem, advice=_CONVERT)
    if dtype is not None and jnp.issubdtype(target, jnp.floating):
        target = dtype
    if value.dtype == target:
        return Fit(value)
    if jnp.issubdtype(target, jnp.integer) and not np.array_equal(
        np.asarray(value), np.asarray(value).astype(target)
    ):
        problem = f"expected {text}, got {describe(value)} with numbers that do not fit"
        return Fit(None, problem=problem, advice=_CONVERT)
    return Fit(value.astype(target), "cast", f"{value.dtype} to {jnp.dtype(target).name}")


def _castable(given: Any, wanted: Any) -> bool:
    """Tell whether numbers of one dtype can be of another without changing their kind."""
    for kind in (jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating):
        if jnp.issubdtype(wanted, kind):
            return bool(jnp.issubdtype(given, kind))
    return bool(given == wanted)
