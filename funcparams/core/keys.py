"""Keys: every array draws from a key of its own, derived from a name and from nothing else."""

from __future__ import annotations

import hashlib
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from funcparams.core.errors import KeyArgumentError


def words(text: str) -> NDArray[np.uint32]:
    """Hash a text to the two words that are folded into a key.

    They are the 64 bits of blake2b over the text in UTF-8, read as little endian on every machine.

    Args:
        text: Any text.

    Returns:
        A uint32 array of shape (2,).

    Example:
        >>> words("param/layers.0.weight")
        array([3013980774, 2141322853], dtype=uint32)

    References:
        [RFC 7693, BLAKE2](https://www.rfc-editor.org/rfc/rfc7693)
    """
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return np.frombuffer(digest, "<u4").astype(np.uint32)


def call_words(name: str) -> NDArray[np.uint32]:
    """Give the words of the keys that a module draws from while it is called."""
    return words(f"call/{name}")


def derive(key: jax.Array, words: Any) -> jax.Array:
    """Fold words into a key, one after the other.

    Args:
        key: One key, as `jax.random.key` or `jax.random.PRNGKey` makes it.
        words: uint32 of shape (n,); it may be traced.

    Returns:
        The derived key, of the same kind. The given key stays unused, so any number of keys can be
        derived from it.

    Raises:
        KeyArgumentError: If `key` is not one key.

    Example:
        >>> import jax
        >>> key = derive(jax.random.key(0), words("param/weight"))
        >>> key.dtype == jax.random.key(0).dtype, key.shape
        (True, ())
    """
    key = check_key(key)
    for index in range(words.shape[0]):
        key = jax.random.fold_in(key, words[index])
    return key


def check_key(key: Any) -> jax.Array:
    """Return the key if it is one; otherwise say what came.

    Args:
        key: What somebody gave as a key.

    Returns:
        The key itself, unchanged.

    Raises:
        KeyArgumentError: If it is a seed, None, a batch of keys or anything else.

    Example:
        >>> import jax
        >>> check_key(jax.random.key(0)).shape
        ()
    """
    if isinstance(key, jax.Array):
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
            if key.ndim == 0:
                return key
            raise _refusal(_batch(key.shape))
        raw = key.dtype == np.uint32
    else:
        raw = isinstance(key, np.ndarray) and cast("np.ndarray[Any, Any]", key).dtype == np.uint32
    if not raw:
        raise _refusal(_describe(key))
    shape = cast("tuple[int, ...]", key.shape)
    # Two words are threefry's, four are rbg's.
    if len(shape) == 1 and shape[0] in (2, 4):
        return cast(jax.Array, key)
    if len(shape) > 1 and shape[-1] in (2, 4):
        raise _refusal(_batch(shape[:-1]))
    raise _refusal(_describe(key))


def _refusal(came: str) -> KeyArgumentError:
    return KeyArgumentError(f"expected one PRNG key, such as jax.random.key(0), got {came}")


def _batch(shape: tuple[int, ...]) -> str:
    return (
        f"a batch of keys of shape {shape}.\n"
        "  Give one of them, keys[0], or map over all: jax.vmap(model.init)(keys)."
    )


def _describe(key: Any) -> str:
    if key is None:
        return "None."
    if isinstance(key, int) and not isinstance(key, bool):
        return f"the int {key}.\n  A seed is not a key: write jax.random.key({key})."
    if hasattr(key, "dtype") and hasattr(key, "shape"):
        dtype, shape = getattr(key, "dtype"), getattr(key, "shape")
        hint = ""
        if shape == () and np.issubdtype(dtype, np.integer):
            hint = "\n  A seed is not a key: write jax.random.key(seed)."
        return f"an array of dtype {dtype} and shape {shape}.{hint}"
    return f"{key!r}, a {type(key).__name__}."
