"""The one place that asks JAX which trace is current."""

from __future__ import annotations

import functools
import importlib
import threading
from collections.abc import Callable
from typing import Any

from jax.core import Tracer as Tracer


@functools.cache
def _asker() -> Callable[[], object]:
    """Find the function on first use: importing jax.extend takes longer than all of this."""
    try:
        core: Any = importlib.import_module("jax.extend.core")
        return core.get_opaque_trace_state
    except (ImportError, AttributeError):
        # JAX before 0.9 has it in jax.core, with an argument that means nothing here.
        older: Any = importlib.import_module("jax.core")
        return functools.partial(older.get_opaque_trace_state, "funcparams")


def trace_state() -> object:
    """Give an opaque value that is equal while the current trace is the same."""
    return _asker()()


@functools.cache
def _outside() -> object:
    """Give the state outside of every trace: that of a new thread, since traces are per thread."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(trace_state()))
    thread.start()
    thread.join()
    return found[0]


def under_trace() -> bool:
    """Say whether code runs under somebody's transform (jit, vmap, grad, eval_shape, scan, ...).

    Example:
        >>> import jax
        >>> seen = []
        >>> _ = jax.eval_shape(lambda: seen.append(under_trace()))
        >>> under_trace(), seen
        (False, [True])
    """
    return trace_state() != _outside()
