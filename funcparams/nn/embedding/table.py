"""`Embedding`: rows of a table, looked up by integers."""

from __future__ import annotations

import dataclasses
from typing import Any, Self, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from funcparams import init
from funcparams.drawing.draw import Random
from funcparams.module import Initializer, Module, param
from funcparams.nn.checks import ArgumentError, InputTypeError, array, number, title, whole, widened


@dataclasses.dataclass(frozen=True)
class zero_row(Random):
    """Draw as another initializer does, and set one row to 0.

    Args:
        base: The other initializer.
        row: The row.
    """

    base: Initializer
    row: int

    def sample(self, key: jax.Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> jax.Array:
        """Draw the array; runs under a trace."""
        return self.base(key, shape, dtype).at[self.row].set(0)


class Embedding(Module):
    r"""Look up rows of a table: $y = W_x$.

    Args:
        num_embeddings: The number n of rows.
        embedding_dim: The size d of a row.
        padding_idx: A row that starts at 0 and gets no gradient from look-ups; negative numbers
            count from the end.
        max_norm: Rows that are longer are looked up scaled down to this norm.
        norm_type: The p of that p-norm.
        scale_grad_by_freq: Whether a row's gradient is divided by how often the call looks it up.
        dtype: The dtype of the table.

    Attributes:
        weight: (num_embeddings, embedding_dim), from N(0, 1), but for the row padding_idx.

    Called with integers of any shape (...), it returns an array of shape (..., d) of the table's
    dtype. PyTorch raises an IndexError for integers that are not from 0 to n - 1; compiled code
    cannot, and gives NaN for their rows rather than another row. To have it raise,
    `jax.experimental.checkify` finds them: `checkify.checkify(model.apply, checkify.index_checks)`.

    With max_norm, PyTorch overwrites the rows of its table as it looks them up. Here outputs and
    gradients are the same, but parameters do not change in a call: the table keeps its long rows.

    Raises:
        ArgumentError: For arguments that cannot be meant.
        InputTypeError: If x is not of integers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.Embedding(10, 3, padding_idx=0)
        >>> model
        Embedding(10, 3, padding_idx=0)
        >>> model.apply({"weight": jnp.ones((10, 3))}, jnp.array([[1, 2], [3, 4]])).shape
        (2, 2, 3)

    References:
        [torch.nn.Embedding](https://docs.pytorch.org/docs/stable/generated/torch.nn.Embedding.html)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        dtype: Any = jnp.float32,
    ) -> None:
        self.num_embeddings = whole(num_embeddings, "Embedding", "num_embeddings")
        self.embedding_dim = whole(embedding_dim, "Embedding", "embedding_dim")
        self.padding_idx = padding_row(padding_idx, self.num_embeddings, "Embedding")
        self.max_norm = None if max_norm is None else number(max_norm, "Embedding", "max_norm")
        self.norm_type = number(norm_type, "Embedding", "norm_type")
        self.scale_grad_by_freq = bool(scale_grad_by_freq)
        shape = (self.num_embeddings, self.embedding_dim)
        self.weight = param(shape, table_init(self.padding_idx), dtype)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: ArrayLike,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
    ) -> Self:
        """Make a definition whose table starts at given values.

        Args:
            embeddings: The table, of two axes.
            freeze: Whether no gradient reaches it.
            padding_idx: As in the constructor; the row starts as given.
            max_norm: As in the constructor.
            norm_type: As in the constructor.
            scale_grad_by_freq: As in the constructor.

        Returns:
            The definition. It holds the values, so keep it for tables that fit; a checkpoint of
            params is the place for large ones.

        Raises:
            ArgumentError: If the table has not two axes.

        Example:
            >>> import jax.numpy as jnp
            >>> from funcparams import nn
            >>> model = nn.Embedding.from_pretrained([[1.0, 2.3], [4.0, 5.1]])
            >>> print(model.apply(model.init(None), jnp.array(1)))
            [4.  5.1]
        """
        shape, weight = given_table(embeddings, freeze, cls.__name__)
        options = (padding_idx, max_norm, norm_type, scale_grad_by_freq)
        return cls(*shape, *options).replace(weight=weight)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Look up rows: integers of shape (...) give (..., embedding_dim)."""
        x = indices(self, x)
        rows = looked_up(self.weight, x, self.max_norm, self.norm_type)
        if self.padding_idx is not None:
            padding = lax.expand_dims(x == self.padding_idx, (x.ndim,))
            rows = jnp.where(padding, lax.stop_gradient(rows), rows)
        if self.scale_grad_by_freq:
            rows = by_frequency(rows, x, self.num_embeddings)
        return rows

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        return text + (", scale_grad_by_freq=True" if self.scale_grad_by_freq else "")


# What tables share


def padding_row(padding_idx: int | None, rows: int, layer: str) -> int | None:
    """Return the row of padding, counted from the start."""
    if padding_idx is None:
        return None
    row = whole(padding_idx, layer, "padding_idx", -rows)
    if row >= rows:
        raise ArgumentError(
            f"{layer}(num_embeddings={rows}, padding_idx={row}): padding_idx must be within "
            "num_embeddings."
        )
    return row % rows


def table_init(padding_idx: int | None) -> Initializer:
    """Return how a table is drawn: N(0, 1), and zeros in the row of padding."""
    drawn: Initializer = init.normal()
    return drawn if padding_idx is None else zero_row(drawn, padding_idx)


def given_table(embeddings: ArrayLike, freeze: bool, layer: str) -> tuple[tuple[int, int], Any]:
    """Return the shape and the declaration of a table with given values."""
    table, shape = init.array(embeddings), np.shape(embeddings)
    if len(shape) != 2:
        raise ArgumentError(
            f"{layer}.from_pretrained(embeddings): expected a table of two axes, got shape {shape}."
        )
    return shape, param(shape, table, trainable=not freeze)


def indices(module: Module, x: ArrayLike, what: str = "integers to look up") -> jax.Array:
    """Return an input as an array of integers."""
    x = array(x)
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise InputTypeError(f"{title(module)}: expected {what}, got {x.dtype}{list(x.shape)}.")
    return x


def looked_up(table: jax.Array, x: jax.Array, max_norm: float | None, order: float) -> jax.Array:
    """Return rows of a table, none longer than `max_norm`."""
    rows = _take(table, x)
    return rows if max_norm is None else _shortened(rows, max_norm, order)


def by_frequency(rows: jax.Array, x: jax.Array, count: int) -> jax.Array:
    """Return rows as they are; their gradients are divided by how often x has the row."""
    ones = jnp.ones(x.shape, rows.dtype)
    counts = jnp.zeros(count, rows.dtype).at[x].add(ones, mode="drop")
    share = lax.expand_dims(1 / _take(counts[:, None], x)[..., 0], (x.ndim,))
    fixed = lax.stop_gradient(rows)
    return fixed + (rows - fixed) * share


def _take(table: jax.Array, x: jax.Array) -> jax.Array:
    """Return the rows of a table; NaN for what is no row, negative numbers too."""
    numbers = lax.GatherDimensionNumbers(
        offset_dims=(x.ndim,), collapsed_slice_dims=(0,), start_index_map=(0,)
    )
    where = lax.expand_dims(x, (x.ndim,))
    # Indexing would clamp, and count negative numbers from the end: both hide a wrong token.
    return lax.gather(
        table, where, numbers, (1, table.shape[1]), mode=lax.GatherScatterMode.FILL_OR_DROP
    )


def _shortened(rows: jax.Array, most: float, order: float) -> jax.Array:
    """Scale rows down to a norm; their gradient is that of the rows, as in PyTorch."""
    fixed = lax.stop_gradient(rows)
    wide = fixed.astype(widened(fixed.dtype))
    norm = cast(Any, jnp.linalg.norm)(wide, ord=order, axis=-1, keepdims=True)
    # PyTorch divides by slightly more than the norm.
    scale = jnp.where(norm > most, most / (norm + 1e-7), 1)
    return (wide * scale).astype(rows.dtype) + (rows - fixed)
