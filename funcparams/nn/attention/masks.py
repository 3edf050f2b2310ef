"""What attention layers do with masks: they check them, and bring them to one form."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from funcparams.module import Module
from funcparams.nn.checks import InputError, InputTypeError, array, title


class Sizes(NamedTuple):
    """The sizes of the scores; `batch` is None without a batch axis."""

    batch: int | None
    heads: int
    rows: int
    columns: int


class Masks(NamedTuple):
    """Masks that broadcast to scores of shape (N, H, L, S), or (H, L, S) without a batch axis."""

    hidden: jax.Array | None = None
    """bool, True where a key is not to be seen."""
    added: jax.Array | None = None
    """Floating-point numbers that are added to the scores."""


def causal_mask(
    rows: int, columns: int, window: int | None = None, offset: jax.Array | None = None
) -> jax.Array:
    """Return bool (rows, columns), True where a key is hidden: ahead of the row, or too far back.

    Args:
        rows: The number of queries.
        columns: The number of keys.
        window: How many keys a query sees, itself the last of them; all up to itself with None.
        offset: The number of the first query among the keys; 0 with None.
    """
    row = jnp.arange(rows, dtype=jnp.int32)[:, None]
    if offset is not None:
        row = row + offset
    column = jnp.arange(columns, dtype=jnp.int32)
    hidden = column > row
    return hidden if window is None else hidden | (column <= row - window)


def checked_masks(
    module: Module,
    sizes: Sizes,
    attn_mask: ArrayLike | None,
    key_padding_mask: ArrayLike | None,
    dtype: Any,
    extra: int = 0,
) -> Masks | None:
    """Check the masks of a call; give what is hidden and what is added, or None without a mask.

    Args:
        module: The layer, for the texts of errors.
        sizes: The sizes of the scores, without the extra keys.
        attn_mask: (L, S), or (N * H, L, S); or (H, L, S) without a batch axis.
        key_padding_mask: (N, S), or (S,) without a batch axis.
        dtype: The dtype of the scores.
        extra: How many keys stand behind the S that masks speak of; every row sees them.
    """
    hidden: jax.Array | None = None
    added: jax.Array | None = None
    for mask in (
        _attention(module, sizes, attn_mask),
        _padding(module, sizes, key_padding_mask),
    ):
        if mask is None:
            continue
        if extra:
            mask = jnp.pad(mask, [(0, 0)] * (mask.ndim - 1) + [(0, extra)])
        if mask.dtype == bool:
            hidden = mask if hidden is None else hidden | mask
        else:
            mask = mask.astype(dtype)
            added = mask if added is None else added + mask
    return None if hidden is None and added is None else Masks(hidden, added)


def _attention(module: Module, sizes: Sizes, given: ArrayLike | None) -> jax.Array | None:
    if given is None:
        return None
    mask = _kind(module, "attn_mask", given)
    batch, heads, rows, columns = sizes
    together = heads if batch is None else batch * heads
    if mask.shape not in ((rows, columns), (together, rows, columns)):
        first = "H" if batch is None else "N * H"
        raise InputError(
            f"{title(module)}: expected an attn_mask of shape (L, S) = {(rows, columns)}, or "
            f"({first}, L, S) = {(together, rows, columns)}, got shape {mask.shape}."
        )
    if mask.ndim == 2 or batch is None:
        return mask
    return mask.reshape(batch, heads, rows, columns)


def _padding(module: Module, sizes: Sizes, given: ArrayLike | None) -> jax.Array | None:
    if given is None:
        return None
    mask = _kind(module, "key_padding_mask", given)
    batch, columns = sizes.batch, sizes.columns
    shape = (columns,) if batch is None else (batch, columns)
    if mask.shape != shape:
        raise InputError(
            f"{title(module)}: expected a key_padding_mask of shape "
            f"{'(S,)' if batch is None else '(N, S)'} = {shape}, got shape {mask.shape}."
        )
    return mask if batch is None else mask[:, None, None, :]


def _kind(module: Module, name: str, given: ArrayLike) -> jax.Array:
    mask = array(given)
    if mask.dtype != bool and not jnp.issubdtype(mask.dtype, jnp.floating):
        raise InputTypeError(
            f"{title(module)}: expected a {name} of bool, True where a key is hidden, or of "
            f"floating-point numbers that are added to the scores, got "
            f"{mask.dtype}{list(mask.shape)}.\n"
            f"  Convert it first: {name} != 0."
        )
    return mask
