"""Where arrays are put as they are loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import numpy as np

from funcparams.checkpoint.places import scope
from funcparams.checkpoint.source import Stored, duplicate
from funcparams.core.definition import Definition
from funcparams.core.errors import DefinitionTypeError, MismatchError, nearest
from funcparams.core.names import dotted, leaves
from funcparams.core.nodes import Ref

Sharding: TypeAlias = "jax.sharding.Sharding | Mapping[Any, Any]"
"""One for all, one for each `where`, or a tree of them like params."""


def placing(model: Definition, sharding: Sharding | None) -> Callable[[str, Any], Any]:
    """Give the function of an owner's name and its value that makes it an array of JAX, in place.

    Args:
        model: The definition.
        sharding: What the user asked for.
    """
    if not isinstance(sharding, Mapping):
        everywhere = None if sharding is None else _checked("", sharding)
        return lambda name, value: _put(value, everywhere)
    chosen = _by_name(model, sharding)
    return lambda name, value: _put(value, chosen.get(name))


def _by_name(model: Definition, sharding: Mapping[Any, Any]) -> dict[str, Any]:
    found = scope(model)
    if any(isinstance(value, Mapping) for value in sharding.values()):
        flat = {dotted(path): value for path, value in leaves(sharding)}
        chosen = {name: value for name, value in flat.items() if not isinstance(value, Ref | None)}
        known = found.values
        strange = [name + nearest(name, known) for name in chosen if name not in known]
        if strange:
            raise MismatchError(
                "load(sharding=...): names that the definition does not have\n  "
                + "\n  ".join(strange)
            )
    else:
        chosen = found.assign(sharding)
    return {name: _checked(name, value) for name, value in chosen.items()}


def _checked(name: str, value: Any) -> Any:
    if isinstance(value, jax.sharding.Sharding):
        return value
    raise DefinitionTypeError(
        f"load(sharding=...): {name + ': ' if name else ''}expected a jax.sharding.Sharding, "
        f"got {type(value).__name__} {value!r}"[:300]
    )


def _put(value: Any, sharding: Any) -> Any:
    """Make a value an array of JAX where it belongs."""
    if isinstance(value, jax.Array):
        return value if sharding is None else jax.device_put(value, sharding)
    # On CPU, JAX goes on with the very memory: a file's is nobody else's, a user's array is.
    array = np.asarray(value)
    if not isinstance(value, Stored):
        array = duplicate(array, array.dtype)
    # Waiting bounds what is on its way to a device to one tensor.
    placed: jax.Array = jax.device_put(array, sharding)
    return placed.block_until_ready()
