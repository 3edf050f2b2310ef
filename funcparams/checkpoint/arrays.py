"""Arrays from elsewhere: numpy's, JAX's and PyTorch's, and how two of them differ."""

from __future__ import annotations

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from funcparams.checkpoint.source import Stored
from funcparams.core.errors import DefinitionTypeError
from funcparams.core.trace import Tracer

_BLOCK = 1 << 20  # entries


def host(name: str, value: Any) -> Any:
    """Give a value of a state_dict as an array of numpy or JAX.

    PyTorch is not imported: a tensor brings what is needed with it.
    """
    if isinstance(value, jax.Array | np.ndarray | np.generic | Stored):
        return cast(Any, value)
    if type(value).__module__.partition(".")[0] == "torch":
        return _of_torch(value)
    if isinstance(value, bool | int | float | complex):
        return np.asarray(value)
    raise DefinitionTypeError(
        f"{name}: expected an array of numpy, JAX or PyTorch, got {type(value).__name__} {value!r}"[
            :300
        ]
        + ".\n  A nested dict is flattened by fp.flatten(params), a torch module by .state_dict()."
    )


def _of_torch(tensor: Any) -> np.ndarray[Any, Any]:
    tensor = tensor.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":  # numpy has no such type of its own
        words = tensor.contiguous().view(dtype=_sibling(tensor, "int16")).numpy()
        return words.view(jnp.bfloat16)
    return tensor.resolve_conj().numpy()


def _sibling(tensor: Any, name: str) -> Any:
    """Give another dtype of PyTorch without importing it."""
    import sys

    return getattr(sys.modules["torch"], name)


def difference(first: Any, second: Any) -> str:
    """Say by how much two arrays differ; nothing where they are equal, nan and all."""
    if first is second:
        return ""
    if isinstance(first, Tracer) or isinstance(second, Tracer):
        raise DefinitionTypeError(
            "copies of a shared array are compared number by number, and these are traced.\n"
            "  Call this outside of jax.jit, once."
        )
    one, two = np.asarray(first), np.asarray(second)
    if one.shape != two.shape:
        return f"in shape: {list(two.shape)} against {list(one.shape)}"
    largest, count = gap(one, two)
    return f"by up to {largest:.3g} in {count} of {one.size} entries" if count else ""


def gap(one: np.ndarray[Any, Any], two: np.ndarray[Any, Any]) -> tuple[float, int]:
    """Give the largest absolute difference of two arrays, and how many entries differ.

    nan equals nan. The arrays have one shape; of two large ones, little is copied at a time.
    """
    largest, count = 0.0, 0
    flat = one.reshape(-1), two.reshape(-1)
    for start in range(0, one.size, _BLOCK):
        a, b = (each[start : start + _BLOCK] for each in flat)
        # Bytes would tell -0.0 from 0.0; equal_nan would not take bfloat16.
        unequal = cast("np.ndarray[Any, Any]", (a != b) & ~((a != a) & (b != b)))
        if not unequal.any():
            continue
        wide = np.complex128 if np.iscomplexobj(one) or np.iscomplexobj(two) else np.float64
        with np.errstate(invalid="ignore"):  # inf - inf
            sizes = np.abs(a.astype(wide) - b.astype(wide))[unequal]
        largest = float(np.maximum(largest, sizes.max()))  # nan stays nan
        count += int(unequal.sum())
    return largest, count
