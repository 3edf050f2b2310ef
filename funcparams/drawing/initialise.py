"""From declarations to arrays, or to what they will be."""

from __future__ import annotations

from typing import Any

import jax

from funcparams.core.definition import Definition
from funcparams.core.names import Tree
from funcparams.core.walk import Kind, map_owned, owned, skeleton
from funcparams.drawing.draw import draw


def initialise(root: Definition, kind: Kind, key: jax.Array | None) -> Tree:
    """Draw every declaration of one kind, each once, from a key of its own name."""
    requests = owned(root, kind)
    drawn = draw(requests, key, kind.__name__.lower())
    by_identity = {id(declaration): drawn[name] for name, declaration in requests.items()}
    return map_owned(skeleton(root, kind), lambda declaration: by_identity[id(declaration)])


def abstract(root: Definition, kind: Kind) -> Tree:
    """Give the tree of shapes and dtypes of one kind."""
    return map_owned(skeleton(root, kind), _struct)


def _struct(declaration: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(declaration.shape, declaration.dtype)
