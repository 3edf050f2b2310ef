"""The one place that asks JAX which trace is current."""

from __future__ import annotations

import jax
from jax.core import Tracer as Tracer

try:
    from jax.extend.core import get_opaque_trace_state  # pyright: ignore[reportUnknownVariableType]

    def trace_state() -> object:
        """Give an opaque value that is equal while the current trace is the same."""
        return get_opaque_trace_state()
except ImportError:  # JAX before 0.9 has it in jax.core, with an argument that means nothing here.

    def trace_state() -> object:
        """Give an opaque value that is equal while the current trace is the same."""
        return jax.core.get_opaque_trace_state("funcparams")  # pyright: ignore


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
