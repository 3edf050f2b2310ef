"""Pruning, by the names of torch.nn.utils.prune."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from funcparams.core.definition import Definition
from funcparams.core.errors import DefinitionTypeError, MismatchError
from funcparams.core.names import Tree
from funcparams.edit.places import Place, parametrize
from funcparams.nn.checks import ArgumentError, whole
from funcparams.parametrizations.masks import (
    Masked,
    Pruning,
    Structured,
    Unstructured,
    importance,
    same_shape,
)
from funcparams.select.where import Where


@dataclasses.dataclass(frozen=True)
class l1_unstructured(Unstructured):
    """Prune the entries with the smallest absolute values, for `fp.parametrize`.

    Pruning again prunes of what is left. Arguments are as in torch.nn.utils.prune.

    Args:
        amount: How many entries: an int, or a float for a share of those that are left.
        importance_scores: What to prune by in place of the parameter, of its shape.

    Raises:
        ArgumentError: For an amount that is neither.
        MismatchError: At `fp.parametrize`, if fewer entries are left, or the scores have another
            shape.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> model = nn.Linear(4, 3)
        >>> params = model.init(jax.random.key(0))
        >>> params = fp.parametrize(model, params, "weight", l1_unstructured(0.25))
        >>> int((~params["weight"].mask).sum())
        3

    References:
        [torch.nn.utils.prune.l1_unstructured](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.prune.l1_unstructured.html)
    """

    amount: float
    importance_scores: jax.Array | None = None

    def __post_init__(self) -> None:
        self.check_amount()

    def scores(self, place: Place) -> jax.Array:
        """Give the absolute values."""
        return jnp.abs(importance(place, self, self.importance_scores))


@dataclasses.dataclass(frozen=True)
class random_unstructured(Unstructured):
    """Prune entries at random, for `fp.parametrize`, which needs a `key`.

    Args:
        amount: How many entries: an int, or a float for a share of those that are left.

    Raises:
        ArgumentError: For an amount that is neither.
        MismatchError: At `fp.parametrize`, if fewer entries are left.
        KeyRequiredError: At `fp.parametrize`, if it was given no key.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> model, key = nn.Linear(4, 3), jax.random.key(0)
        >>> params = fp.parametrize(model, model.init(key), "weight", random_unstructured(5), key)
        >>> int((~params["weight"].mask).sum())
        5

    References:
        [torch.nn.utils.prune.random_unstructured](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.prune.random_unstructured.html)
    """

    amount: float

    def __post_init__(self) -> None:
        self.check_amount()

    def scores(self, place: Place) -> jax.Array:
        """Give random numbers."""
        return jax.random.uniform(place.key, place.value.shape)


@dataclasses.dataclass(frozen=True)
class ln_structured(Structured):
    """Prune the channels with the smallest norms, for `fp.parametrize`.

    Args:
        amount: How many channels: an int, or a float for a share of those that are left.
        n: Which norm: a number, infinity or minus infinity, `"fro"`, or `"nuc"` for the nuclear
            norm of channels that are matrices.
        dim: The axis of the channels.
        importance_scores: What to prune by in place of the parameter, of its shape.

    Raises:
        ArgumentError: For an amount, norm or axis that is none.
        MismatchError: At `fp.parametrize`, if fewer channels are left, or the parameter or the
            scores have another shape than is needed.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> model = nn.Linear(4, 3)
        >>> params = model.init(jax.random.key(0))
        >>> params = fp.parametrize(model, params, "weight", ln_structured(1, n=2, dim=0))
        >>> sorted(params["weight"].mask.all(axis=1).tolist())
        [False, True, True]

    References:
        [torch.nn.utils.prune.ln_structured](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.prune.ln_structured.html)
    """

    amount: float
    n: float | str
    dim: int = -1
    importance_scores: jax.Array | None = None

    def __post_init__(self) -> None:
        self.check_amount()
        whole(self.dim, "ln_structured", "dim", least=None)
        n: Any = self.n
        is_number = isinstance(n, numbers.Real) and not isinstance(n, bool)  # pyright: ignore[reportUnnecessaryIsInstance]
        if n not in ("fro", "nuc") and not (is_number and not math.isnan(n)):
            raise ArgumentError(
                f"ln_structured(n={self.n!r}): expected a number, 'fro' or 'nuc', a norm."
            )

    def scores(self, place: Place, dim: int) -> jax.Array:
        """Give the channels' norms."""
        array = jnp.moveaxis(importance(place, self, self.importance_scores), dim, 0)
        if self.n == "nuc":
            if array.ndim != 3:
                raise MismatchError(
                    f"{place.name}: {self!r}: channels of an array of shape {place.value.shape} "
                    "are no matrices, which a nuclear norm is of."
                )
            return cast(jax.Array, jnp.linalg.norm(array, "nuc", axis=(1, 2)))
        order = 2.0 if isinstance(self.n, str) else self.n
        flat = array.reshape(array.shape[0], -1)
        return cast(jax.Array, jnp.linalg.norm(flat, order, axis=1))


@dataclasses.dataclass(frozen=True)
class random_structured(Structured):
    """Prune channels at random, for `fp.parametrize`, which needs a `key`.

    Args:
        amount: How many channels: an int, or a float for a share of those that are left.
        dim: The axis of the channels.

    Raises:
        ArgumentError: For an amount or axis that is none.
        MismatchError: At `fp.parametrize`, if fewer channels are left, or the parameter has not
            such an axis.
        KeyRequiredError: At `fp.parametrize`, if it was given no key.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> model, key = nn.Linear(4, 3), jax.random.key(0)
        >>> params = fp.parametrize(
        ...     model, model.init(key), "weight", random_structured(0.5, dim=1), key)
        >>> int(params["weight"].mask.all(axis=0).sum())
        2

    References:
        [torch.nn.utils.prune.random_structured](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.prune.random_structured.html)
    """

    amount: float
    dim: int = -1

    def __post_init__(self) -> None:
        self.check_amount()
        whole(self.dim, "random_structured", "dim", least=None)

    def scores(self, place: Place, dim: int) -> jax.Array:
        """Give random numbers."""
        return jax.random.uniform(place.key, (place.value.shape[dim],))


@dataclasses.dataclass(frozen=True)
class custom_from_mask(Pruning):
    """Prune by a mask of your own, for `fp.parametrize`.

    Args:
        mask: The mask, of the parameter's shape; entries where it is 0 or False are pruned.

    Raises:
        MismatchError: At `fp.parametrize`, if the parameter has another shape.

    Example:
        >>> import funcparams as fp, jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.Linear(5, 3)
        >>> params = model.init(jax.random.key(0))
        >>> mask = jnp.array([0, 1, 0])
        >>> params = fp.parametrize(model, params, "bias", custom_from_mask(mask))
        >>> params["bias"].mask.tolist()
        [False, True, False]

    References:
        [torch.nn.utils.prune.custom_from_mask](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.prune.custom_from_mask.html)
    """

    mask: Any

    def keep(self, place: Place, left: jax.Array | None) -> jax.Array:
        """Give the mask itself."""
        given = jnp.asarray(self.mask)
        same_shape(place, "custom_from_mask", "the mask", given)
        return given if given.dtype == np.bool_ else given != 0


def global_unstructured(
    model: Definition,
    params: Mapping[str, Any],
    where: Where,
    method: l1_unstructured | random_unstructured,
    key: jax.Array | None = None,
) -> Tree:
    """Prune entries of several parameters, chosen among all of them together.

    Args:
        model: The definition.
        params: Its params.
        where: Which parameters.
        method: How; its amount counts over all of them.
        key: A PRNG key, for `random_unstructured`.

    Returns:
        The tree with `Masked` nodes at these places; what was pruned before stays so.

    Raises:
        SelectionError: If nothing is meant.
        MismatchError: If params do not fit the definition, or fewer entries are left.
        DefinitionTypeError: For a method of another kind.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> model = nn.Sequential(nn.Linear(10, 4), nn.ReLU(), nn.Linear(4, 1))
        >>> params = model.init(jax.random.key(0))
        >>> params = global_unstructured(model, params, "**.weight", l1_unstructured(10))
        >>> int((~params["0"]["weight"].mask).sum() + (~params["2"]["weight"].mask).sum())
        10

    References:
        [torch.nn.utils.prune.global_unstructured](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.prune.global_unstructured.html)
    """
    if not isinstance(method, Unstructured):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DefinitionTypeError(
            f"global_unstructured(method={method!r}): expected l1_unstructured(amount) or "
            "random_unstructured(amount); channels of several parameters do not compare."
        )
    scores: dict[str, jax.Array] = {}
    before: dict[str, jax.Array] = {}

    def look(place: Place) -> Masked:
        held = place.held
        every = jnp.ones(place.value.shape, bool)
        node = held if isinstance(held, Masked) else Masked(held, every)
        scores[place.name], before[place.name] = method.scores(place), node.mask
        return node

    ready = parametrize(model, params, where, look, key)
    widest = max((score.dtype for score in scores.values()), key=lambda dtype: dtype.itemsize)
    left = jnp.concatenate([mask.reshape(-1) for mask in before.values()])
    flat = jnp.concatenate([score.reshape(-1).astype(widest) for score in scores.values()])
    kept = method.without_lowest(", ".join(scores), flat, left) & left
    ends = np.cumsum([score.size for score in scores.values()])[:-1].tolist()
    masks = dict(zip(scores, jnp.split(kept, ends), strict=True))

    def put(place: Place) -> Masked:
        return Masked(place.held.original, masks[place.name].reshape(place.value.shape))

    return parametrize(model, ready, where, put)
