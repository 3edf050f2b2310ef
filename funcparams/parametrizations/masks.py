"""Masks: parameters of which some entries are 0, and how pruning chooses them."""

from __future__ import annotations

import abc
import dataclasses
import numbers
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from funcparams.core.errors import DefinitionTypeError, MismatchError
from funcparams.core.nodes import Parametrization
from funcparams.core.trace import Tracer
from funcparams.edit.places import Place, array_of
from funcparams.nn.checks import ArgumentError
from funcparams.parametrizations.node import node


@node
@dataclasses.dataclass(frozen=True)
class Masked(Parametrization):
    """The array `original` where `mask` is True, and 0 elsewhere.

    The mask is bool and `frozen`: `fp.partition` keeps it out of what is differentiated.

    Args:
        original: The array, or another parametrization.
        mask: Bools, of the parameter's shape.

    Example:
        >>> import jax.numpy as jnp
        >>> Masked(jnp.array([1.0, 2.0]), jnp.array([True, False])).value().tolist()
        [1.0, 0.0]
    """

    frozen: ClassVar[tuple[str, ...]] = ("mask",)
    torch_names: ClassVar[Mapping[str, str]] = {"original": "{name}_orig", "mask": "{name}_mask"}

    original: Any
    mask: jax.Array

    def value(self) -> jax.Array:
        """Compute the array."""
        array: jax.Array = array_of(self.original)
        return jnp.where(self.mask, array, jnp.zeros((), array.dtype))


class Pruning(abc.ABC):
    """What makes `Masked` nodes: it says which of the entries that are left are kept."""

    @abc.abstractmethod
    def keep(self, place: Place, left: jax.Array | None) -> jax.Array:
        """Give the mask of a place; `left` is the one before, None where nothing is pruned."""

    def __call__(self, place: Place) -> Masked:
        """Make the node of one place; what was pruned before stays so."""
        before = place.held
        if isinstance(before, Masked):
            return Masked(before.original, self.keep(place, before.mask) & before.mask)
        return Masked(before, self.keep(place, None))


class Counted(Pruning):
    """Pruning of a given amount of what is left: of that with the lowest scores."""

    amount: float

    def without_lowest(self, name: str, scores: jax.Array, left: jax.Array | None) -> jax.Array:
        """Give a mask of all but the lowest scores among those that are left, along one axis."""
        if isinstance(left, Tracer):
            raise DefinitionTypeError(
                f"{name}: {self!r}: pruning again counts what is left, and the mask is traced.\n"
                "  Call it outside of jax.jit."
            )
        remaining = scores.size if left is None else int(left.sum())
        if isinstance(self.amount, numbers.Integral) and self.amount > remaining:
            raise MismatchError(f"{name}: {self!r}: only {remaining} are left to prune.")
        whole = isinstance(self.amount, numbers.Integral)
        count = int(self.amount) if whole else round(float(self.amount) * remaining)
        # What is pruned already comes last.
        order = jnp.argsort(scores) if left is None else jnp.lexsort((scores, ~left))
        return jnp.ones(scores.shape, bool).at[order[:count]].set(False)

    def check_amount(self) -> None:
        """Refuse an amount that is neither a number of things nor a share of them."""
        amount: Any = self.amount
        if isinstance(amount, bool):
            good = False
        elif isinstance(amount, numbers.Integral):
            good = int(amount) >= 0
        else:
            good = isinstance(amount, numbers.Real) and 0 <= float(amount) <= 1
        if not good:
            raise ArgumentError(
                f"{type(self).__name__}(amount={amount!r}): expected an int >= 0, how many to "
                "prune, or a float from 0 to 1, a share of what is left."
            )


class Unstructured(Counted):
    """Pruning of single entries."""

    @abc.abstractmethod
    def scores(self, place: Place) -> jax.Array:
        """Give a score for each entry; the lowest are pruned."""

    def keep(self, place: Place, left: jax.Array | None) -> jax.Array:
        """Give the mask of a place."""
        scores = self.scores(place)
        flat = None if left is None else left.reshape(-1)
        return self.without_lowest(place.name, scores.reshape(-1), flat).reshape(scores.shape)


class Structured(Counted):
    """Pruning of channels: of all that stands at one index of an axis."""

    dim: int

    @abc.abstractmethod
    def scores(self, place: Place, dim: int) -> jax.Array:
        """Give a score for each channel; the lowest are pruned."""

    def keep(self, place: Place, left: jax.Array | None) -> jax.Array:
        """Give the mask of a place."""
        array = place.value
        if array.ndim < 2:
            raise MismatchError(
                f"{place.name}: {self!r}: channels are pruned of arrays with 2 axes or more, got "
                f"shape {array.shape}; l1_unstructured prunes single entries."
            )
        if not -array.ndim <= self.dim < array.ndim:
            raise MismatchError(
                f"{place.name}: {self!r}: an array of shape {array.shape} has no such axis."
            )
        dim = self.dim % array.ndim
        others = tuple(axis for axis in range(array.ndim) if axis != dim)
        alive = None if left is None else left.any(axis=others)
        kept = self.without_lowest(place.name, self.scores(place, dim), alive)
        return jnp.broadcast_to(jnp.expand_dims(kept, others), array.shape)


def importance(place: Place, method: Pruning, given: Any) -> jax.Array:
    """Give what to prune by: the scores that were given, or the parameter."""
    if given is None:
        return place.value
    scores = jnp.asarray(given)
    same_shape(place, type(method).__name__, "importance_scores", scores)
    return scores


def same_shape(place: Place, method: str, what: str, given: jax.Array) -> None:
    """Refuse an array that has not the parameter's shape."""
    if given.shape != place.value.shape:
        raise MismatchError(
            f"{place.name}: {method}: expected {what} of the parameter's shape "
            f"{place.value.shape}, got {given.shape}."
        )
