"""Keys: derived from names alone, by either kind of key, and never used up."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcparams.core import keys
from funcparams.core.errors import FuncparamsError, KeyArgumentError

KEY = jax.random.key(0)
NAMES = st.text(max_size=8)


def data(key: jax.Array) -> tuple[int, ...]:
    return tuple(np.asarray(jax.random.key_data(key)).tolist())


# What `b2sum -l 64` prints for the two texts is e4a6a0577479b2b4 and 66b2a5b365fea17f.
def test_words_are_those_of_every_release() -> None:
    # Another hash would silently change every model's initial parameters.
    assert keys.words("").tolist() == [1470146276, 3031595380]
    assert keys.words("param/layers.0.weight").tolist() == [3013980774, 2141322853]
    assert keys.words("ü").dtype == np.uint32


@given(NAMES, NAMES)
def test_other_texts_have_other_words(one: str, other: str) -> None:
    assert (keys.words(one).tolist() == keys.words(other).tolist()) == (one == other)


def test_derive_folds_both_words_in() -> None:
    words = keys.words("a")
    expected = jax.random.fold_in(jax.random.fold_in(KEY, words[0]), words[1])
    assert data(keys.derive(KEY, words)) == data(expected)
    assert data(keys.derive(KEY, words)) != data(keys.derive(KEY, words[::-1]))
    assert data(keys.derive(KEY, words[:0])) == data(KEY)


@pytest.mark.parametrize("make", [jax.random.key, jax.random.PRNGKey])
def test_derive_keeps_the_kind_of_key(make: Any) -> None:
    derived = keys.derive(make(0), keys.words("a"))
    assert derived.dtype == make(0).dtype
    assert derived.shape == make(0).shape


def test_old_and_new_keys_derive_alike() -> None:
    words = keys.words("a")
    assert data(keys.derive(jax.random.PRNGKey(0), words)) == data(keys.derive(KEY, words))


def test_rbg_keys_are_keys() -> None:
    key = jax.random.key(0, impl="rbg")
    assert keys.derive(key, keys.words("a")).dtype == key.dtype
    raw = jax.random.key_data(key)
    assert keys.check_key(raw) is raw


def test_words_and_key_may_be_traced() -> None:
    words = keys.words("a")
    assert data(jax.jit(keys.derive)(KEY, words)) == data(keys.derive(KEY, words))


def test_the_given_key_is_not_used_up() -> None:
    with jax.debug_key_reuse(True):
        key = jax.random.key(1)
        one = keys.derive(key, keys.words("a"))
        other = keys.derive(key, keys.words("b"))
        jax.random.normal(one), jax.random.normal(other), jax.random.normal(key)


@pytest.mark.parametrize(
    ("given", "came"),
    [
        (None, "got None."),
        (42, "got the int 42.\n  A seed is not a key: write jax.random.key(42)."),
        (True, "got True, a bool."),
        (0.5, "got 0.5, a float."),
        ("key", "got 'key', a str."),
        (np.int64(3), "got an array of dtype int64 and shape ().\n  A seed is not a key"),
        (jnp.int32(3), "got an array of dtype int32 and shape ().\n  A seed is not a key"),
        (jnp.ones(2), "got an array of dtype float32 and shape (2,)."),
        (np.zeros(3, np.uint32), "got an array of dtype uint32 and shape (3,)."),
        (jax.random.split(KEY, 3), "got a batch of keys of shape (3,).\n  Give one of them"),
        (np.zeros((5, 2), np.uint32), "got a batch of keys of shape (5,).\n  Give one of them"),
    ],
)
def test_what_is_no_key_is_refused(given: Any, came: str) -> None:
    with pytest.raises(KeyArgumentError) as caught:
        keys.derive(given, keys.words("a"))
    text = str(caught.value)
    assert text.startswith("expected one PRNG key, such as jax.random.key(0), got ")
    assert came in text
    assert isinstance(caught.value, FuncparamsError | TypeError)
