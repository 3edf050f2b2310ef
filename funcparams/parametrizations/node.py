"""The registration of our nodes as pytrees, for JAX and for jax.export."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import jax
from jax import export

from funcparams.core.nodes import Parametrization

N = TypeVar("N", bound=Parametrization)


def node(cls: type[N]) -> type[N]:
    """Register a dataclass whose static fields are numbers, text or None."""
    jax.tree_util.register_dataclass(cls)

    def write(static: Any) -> bytes:
        return json.dumps(static).encode()

    def read(data: Any) -> tuple[Any, ...]:
        return tuple(json.loads(bytes(data)))

    export.register_pytree_node_serialization(
        cls,
        serialized_name=f"funcparams.parametrizations.{cls.__name__}",
        serialize_auxdata=write,
        deserialize_auxdata=read,
    )
    return cls
