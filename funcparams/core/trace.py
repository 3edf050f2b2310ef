"""The one place that asks JAX which trace is current."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.core import Tracer as Tracer


@functools.cache
def _asker() -> Callable[[], object]:
    """Find the function, on first use: importing jax.extend takes longer than this whole package."""
    try:
        from jax.extend.core import (
            get_opaque_trace_state,  # pyright: ignore[reportUnknownVariableType]
        )
    except ImportError:  # JAX before 0.9 has it in jax.core, with an argument that means nothing.
        older: Any = jax.core
        return lambda: older.get_opaque_trace_state("funcparams")
    return get_opaque_trace_state


def trace_state() -> object:
    """Give an opaque value that is equal while the current trace is the same."""
    return _asker()()


def under_trace() -> bool:
    """Say whether code runs under somebody's transform (jit, vmap, grad, eval_shape, scan, ...).

    Example:
        >>> import jax
        >>> under_trace(), jax.eval_shape(lambda: jax.numpy.array(under_trace())).shape
        (False, ())
    """
    with jax.ensure_compile_time_eval():
        outside = trace_state()
    return trace_state() != outside
