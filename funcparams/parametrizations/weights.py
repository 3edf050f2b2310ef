"""Weight normalisation: a length and a direction."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp

from funcparams.core.errors import MismatchError
from funcparams.core.nodes import Parametrization
from funcparams.edit.places import Place
from funcparams.nn.checks import whole, widened
from funcparams.parametrizations.node import node
from funcparams.parametrizations.refusal import refuse_node


@node
@dataclasses.dataclass(frozen=True)
class WeightNorm(Parametrization):
    r"""The array $g \, v / \lVert v \rVert$, with the length and the direction learnt apart.

    Args:
        original0: The lengths g, of v's shape with size 1 in all axes but `dim`.
        original1: The directions v, of the parameter's shape.
        dim: The axis whose entries have a length each; None for one length of the whole array.

    Example:
        >>> import jax.numpy as jnp
        >>> node = WeightNorm(jnp.array([[10.0]]), jnp.array([[3.0, 4.0]]))
        >>> node.value().tolist()
        [[6.0, 8.0]]

    References:
        Salimans and Kingma, [Weight normalization](https://arxiv.org/abs/1602.07868), 2016
    """

    torch_names: ClassVar[Mapping[str, str]] = {
        "original0": "parametrizations.{name}.original0",
        "original1": "parametrizations.{name}.original1",
    }

    original0: jax.Array
    original1: jax.Array
    dim: int | None = dataclasses.field(default=0, metadata={"static": True})

    def value(self) -> jax.Array:
        """Compute the array."""
        direction = self.original1
        length = _length(direction, self.dim)
        scale = self.original0.astype(length.dtype) / length
        return direction * scale.astype(direction.dtype)


@dataclasses.dataclass(frozen=True)
class weight_norm:
    r"""Make nodes of weight normalisation, for `fp.parametrize`; the array is as it was.

    $$w = g \frac{v}{\lVert v \rVert}$$

    Args:
        dim: The axis whose entries have a length each: 0, that of the outputs, where nothing is
            said. None, or -1 as in PyTorch, stands for one length of the whole array.

    Raises:
        ArgumentError: If `dim` is not an integer or None.
        MismatchError: At `fp.parametrize`, for an axis that the parameter does not have, or where a
            parametrization stands.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> model = nn.Linear(3, 2)
        >>> params = fp.parametrize(model, model.init(jax.random.key(0)), "weight", weight_norm())
        >>> params["weight"].original0.shape
        (2, 1)

    References:
        [torch.nn.utils.parametrizations.weight_norm](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrizations.weight_norm.html)
    """

    dim: int | None = 0

    def __post_init__(self) -> None:
        if self.dim is not None:
            whole(self.dim, "weight_norm", "dim", least=None)

    def __call__(self, place: Place) -> WeightNorm:
        """Make the node of one place."""
        refuse_node(place, self)
        array, dim = place.value, None if self.dim == -1 else self.dim
        if dim is not None:
            if not -array.ndim <= dim < array.ndim:
                raise MismatchError(
                    f"{place.name}: {self!r}: an array of shape {array.shape} has no such axis."
                )
            dim %= array.ndim
        length = _length(array, dim).astype(array.real.dtype)
        return WeightNorm(length, array, dim)


def _length(array: jax.Array, dim: int | None) -> jax.Array:
    """Give the norm over all axes but one, which stay as axes of size 1; or over all."""
    wide = array.astype(widened(array.dtype))
    square = jnp.real(wide * wide.conj())
    if dim is None:
        return jnp.sqrt(jnp.sum(square))
    others = tuple(axis for axis in range(array.ndim) if axis != dim)
    return jnp.sqrt(jnp.sum(square, axis=others, keepdims=True))
