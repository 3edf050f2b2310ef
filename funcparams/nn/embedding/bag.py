"""`EmbeddingBag`: sums, means and maxima of bags of rows of a table."""

from __future__ import annotations

import functools
from typing import Any, Literal, Self, cast

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from funcparams.module import Module, param
from funcparams.nn.checks import (
    ArgumentError,
    InputError,
    array,
    choice,
    matching,
    number,
    title,
    whole,
    widened,
)
from funcparams.nn.embedding.table import (
    by_frequency,
    given_table,
    indices,
    looked_up,
    padding_row,
    table_init,
)
from funcparams.nn.pooling.windows import Window, maxima


class EmbeddingBag(Module):
    r"""Reduce bags of rows of a table: $y_b = \sum_{i \in b} s_i W_{x_i}$, or the mean or maximum.

    Args:
        num_embeddings: The number n of rows.
        embedding_dim: The size d of a row.
        max_norm: Rows that are longer are taken scaled down to this norm.
        norm_type: The p of that p-norm.
        scale_grad_by_freq: Whether a row's gradient is divided by how often the call takes it; not
            for maxima.
        mode: `"sum"`, `"mean"` or `"max"`.
        include_last_offset: Whether the last number of offsets is where the last bag ends.
        padding_idx: A row that starts at 0 and is left out of every bag; negative numbers count
            from the end.
        dtype: The dtype of the table.

    Attributes:
        weight: (num_embeddings, embedding_dim), from N(0, 1), but for the row padding_idx.

    Called with integers x of shape (B, L), B bags of L rows, or with x of shape (N,) and offsets of
    shape (B,), integers from 0 upwards that say where in x each bag starts (of shape (B + 1,) with
    include_last_offset), it returns an array of shape (B, d) of the table's dtype. A bag of nothing
    gives zeros. With mode `"sum"`, per_sample_weights of x's shape and the table's dtype are the
    factors $s_i$, else 1. Where numbers of one bag are equal, the gradient of their maximum is that
    of the first.

    What is no row is treated as in [`Embedding`][funcparams.nn.Embedding]: PyTorch raises, compiled
    code gives NaN for the bags that hold it. PyTorch also refuses offsets that do not start at 0;
    here what stands before the first offset, or after the last bag's end, is in no bag. With
    max_norm the table itself is not changed in a call. With scale_grad_by_freq PyTorch 2.13 divides
    by the count of another row on CPU; here it is the row's own. PyTorch's `sparse` is left out:
    gradients are arrays as the parameters are.

    Raises:
        ArgumentError: For arguments that cannot be meant.
        InputError: If shapes do not fit, or for per_sample_weights in another mode.
        InputTypeError: If x or offsets are not of integers, or per_sample_weights have not the
            table's dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.EmbeddingBag(10, 3, mode="sum")
        >>> model
        EmbeddingBag(10, 3, mode='sum')
        >>> params = {"weight": jnp.ones((10, 3))}
        >>> model.apply(params, jnp.array([1, 2, 4, 5, 4]), jnp.array([0, 4])).tolist()
        [[4.0, 4.0, 4.0], [1.0, 1.0, 1.0]]

    References:
        [torch.nn.EmbeddingBag](https://docs.pytorch.org/docs/stable/generated/torch.nn.EmbeddingBag.html)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: Literal["sum", "mean", "max"] = "mean",
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        dtype: Any = jnp.float32,
    ) -> None:
        layer = "EmbeddingBag"
        self.num_embeddings = whole(num_embeddings, layer, "num_embeddings")
        self.embedding_dim = whole(embedding_dim, layer, "embedding_dim")
        self.max_norm = None if max_norm is None else number(max_norm, layer, "max_norm")
        self.norm_type = number(norm_type, layer, "norm_type")
        self.scale_grad_by_freq = bool(scale_grad_by_freq)
        self.mode = choice(mode, ("sum", "mean", "max"), layer, "mode")
        if self.scale_grad_by_freq and self.mode == "max":
            raise ArgumentError(
                "EmbeddingBag(scale_grad_by_freq=True, mode='max'): a maximum's gradient cannot be "
                "divided by frequency; expected mode 'sum' or 'mean'."
            )
        self.include_last_offset = bool(include_last_offset)
        self.padding_idx = padding_row(padding_idx, self.num_embeddings, layer)
        shape = (self.num_embeddings, self.embedding_dim)
        self.weight = param(shape, table_init(self.padding_idx), dtype)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: ArrayLike,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: Literal["sum", "mean", "max"] = "mean",
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> Self:
        """Make a definition whose table starts at given values.

        Args:
            embeddings: The table, of two axes.
            freeze: Whether no gradient reaches it.
            max_norm: As in the constructor.
            norm_type: As in the constructor.
            scale_grad_by_freq: As in the constructor.
            mode: As in the constructor.
            include_last_offset: As in the constructor.
            padding_idx: As in the constructor; the row starts as given.

        Returns:
            The definition. It holds the values, so keep it for tables that fit.

        Raises:
            ArgumentError: If the table has not two axes.

        Example:
            >>> import jax.numpy as jnp
            >>> from funcparams import nn
            >>> model = nn.EmbeddingBag.from_pretrained([[1.0, 2.0], [4.0, 5.0]])
            >>> model.apply(model.init(None), jnp.array([[1, 0]])).tolist()
            [[2.5, 3.5]]
        """
        shape, weight = given_table(embeddings, freeze, cls.__name__)
        norm = (max_norm, norm_type, scale_grad_by_freq)
        return cls(*shape, *norm, mode, include_last_offset, padding_idx).replace(weight=weight)

    def __call__(
        self,
        x: ArrayLike,
        offsets: ArrayLike | None = None,
        per_sample_weights: ArrayLike | None = None,
    ) -> jax.Array:
        """Reduce each bag: x of shape (B, L), or (N,) with offsets, gives (B, embedding_dim)."""
        x = indices(self, x)
        starts = self._starts(x, offsets)
        factors = self._factors(x, per_sample_weights)
        rows = looked_up(self.weight, x, self.max_norm, self.norm_type)
        if self.scale_grad_by_freq:
            rows = by_frequency(rows, x, self.num_embeddings)
        if factors is not None:
            rows *= lax.expand_dims(factors, (x.ndim,))
        counted = None if self.padding_idx is None else x != self.padding_idx
        bags = None if starts is None else _bags(starts, x.size)
        count = x.shape[0] if starts is None else starts.size - self.include_last_offset
        if self.mode == "max":
            return _maxima(rows, counted, bags, count)
        total = _sums(rows, counted, bags, count)
        if self.mode == "mean":
            held = jnp.ones(x.shape, jnp.int32) if counted is None else counted.astype(jnp.int32)
            sizes = _added(held, bags, count).astype(total.dtype)
            total /= lax.expand_dims(jnp.maximum(sizes, 1), (1,))
        return total.astype(rows.dtype)

    def _starts(self, x: jax.Array, offsets: ArrayLike | None) -> jax.Array | None:
        """Check the shapes of what is looked up and of the offsets; return these."""
        if x.ndim not in (1, 2):
            raise InputError(
                f"{title(self)}: expected an input of shape (B, L), or (N,) with offsets, got "
                f"shape {x.shape}."
            )
        if (offsets is None) != (x.ndim == 2):
            expected, given = "no offsets", "offsets"
            if offsets is None:
                expected, given = "offsets, which say where bags start,", "none"
            raise InputError(
                f"{title(self)}: expected {expected} beside an input of shape {x.shape}, got "
                f"{given}."
            )
        if offsets is None:
            return None
        starts = indices(self, offsets, "integers for offsets")
        if starts.ndim != 1 or starts.size < self.include_last_offset:
            expected = "(B + 1,), one number at least" if self.include_last_offset else "(B,)"
            raise InputError(
                f"{title(self)}: expected offsets of shape {expected}, got shape {starts.shape}."
            )
        return starts

    def _factors(self, x: jax.Array, given: ArrayLike | None) -> jax.Array | None:
        if given is None:
            return None
        if self.mode != "sum":
            raise InputError(
                f"{title(self)}: per_sample_weights are for mode='sum', and the mode is "
                f"{self.mode!r}."
            )
        factors = matching(self, array(given), self.weight, "per_sample_weights")
        if factors.shape != x.shape:
            raise InputError(
                f"{title(self)}: expected per_sample_weights of the input's shape {x.shape}, got "
                f"shape {factors.shape}."
            )
        return factors

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        if self.scale_grad_by_freq:
            text += ", scale_grad_by_freq=True"
        text += f", mode={self.mode!r}"
        return text + (f", padding_idx={self.padding_idx}" if self.padding_idx is not None else "")


# Each of these reduces the second axis, or the first by `bags`, the bag that each row is in.


def _bags(starts: jax.Array, size: int) -> jax.Array:
    """Return in which bag each of `size` rows is, counted from 0."""
    # A bag starts where its number goes up by one; at one place as often as bags start there.
    steps = jnp.zeros(size, jnp.int32).at[starts].add(1, mode="drop")
    return jnp.cumsum(steps) - 1


def _added(values: jax.Array, bags: jax.Array | None, count: int) -> jax.Array:
    """Add up the values of each bag."""
    if bags is None:
        return jnp.sum(values, 1)
    return jax.ops.segment_sum(values, bags, count, indices_are_sorted=True)


def _sums(
    rows: jax.Array, counted: jax.Array | None, bags: jax.Array | None, count: int
) -> jax.Array:
    """Return the sum of each bag, in float32 or wider."""
    if counted is not None:
        rows = jnp.where(lax.expand_dims(counted, (counted.ndim,)), rows, 0)
    return _added(rows.astype(widened(rows.dtype)), bags, count)


def _maxima(
    rows: jax.Array, counted: jax.Array | None, bags: jax.Array | None, count: int
) -> jax.Array:
    """Return the maxima of each bag; the derivative of each is that of one row, the first."""
    if rows.size == 0:
        return jnp.zeros((count, rows.shape[-1]), rows.dtype)
    if counted is not None:
        rows = jnp.where(lax.expand_dims(counted, (counted.ndim,)), rows, -jnp.inf)
    best: jax.Array
    if bags is None:
        best = lax.squeeze(maxima(rows, 1, Window(rows.shape[1], 1, 1, 1)), (1,))
        if counted is None:
            return best
    else:
        best = cast(Any, _bag_max)(rows, bags, count)
    held = jnp.ones(rows.shape[:-1], jnp.int32) if counted is None else counted.astype(jnp.int32)
    return jnp.where(lax.expand_dims(_added(held, bags, count) > 0, (1,)), best, 0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _bag_max(rows: jax.Array, bags: jax.Array, count: int) -> jax.Array:
    return jax.ops.segment_max(rows, bags, count, indices_are_sorted=True)


@_bag_max.defjvp
def _bag_max_jvp(count: int, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (rows, bags), (tangent, _) = primals, tangents
    most: jax.Array = cast(Any, _bag_max)(rows, bags, count)
    places = jnp.arange(rows.shape[0], dtype=jnp.int32)[:, None]
    # Nothing equals NaN: a bag that holds one has no first place, and no derivative.
    places = jnp.where(rows == most[bags], places, rows.shape[0])
    first = jax.ops.segment_min(places, bags, count, indices_are_sorted=True)
    columns = jnp.arange(rows.shape[1])
    return most, tangent.at[first, columns].get(mode="fill", fill_value=0)
