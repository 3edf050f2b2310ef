"""Embeddings: the padding row, gradients by frequency, norms, and wrong tokens."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify

import funcparams as fp
from funcparams import init, nn

KEY = jax.random.key(0)
TABLE = np.random.RandomState(0).randn(5, 3).astype(np.float32)


def gradient(model: nn.Embedding, ids: list[int]) -> jax.Array:
    def loss(params: dict[str, jax.Array]) -> jax.Array:
        return model.apply(params, jnp.array(ids)).sum()

    return jax.grad(loss)({"weight": jnp.asarray(TABLE)})["weight"]


def test_looks_up_rows() -> None:
    np.testing.assert_array_equal(
        nn.Embedding(5, 3).apply({"weight": TABLE}, np.array([[0, 4], [2, 2]], np.uint8)),
        TABLE[[[0, 4], [2, 2]]],
    )


def test_what_is_no_row_is_nan_and_gets_no_gradient() -> None:
    model = nn.Embedding(5, 3)
    y = model.apply({"weight": TABLE}, jnp.array([4, 5, -1]))
    np.testing.assert_array_equal(np.isnan(y).all(1), [False, True, True])
    np.testing.assert_array_equal(gradient(model, [4, 5, -1]).sum(1), [0, 0, 0, 0, 3])


@pytest.mark.parametrize("wrong", [5, -1])
def test_checkify_finds_what_is_no_row(wrong: int) -> None:
    model = nn.Embedding(5, 3)
    checked = jax.jit(checkify.checkify(model.apply, errors=checkify.index_checks))
    error, y = checked({"weight": TABLE}, jnp.array([4, 0]))
    error.throw()
    np.testing.assert_array_equal(y, TABLE[[4, 0]])
    error, _ = checked({"weight": TABLE}, jnp.array([4, wrong]))
    with pytest.raises(checkify.JaxRuntimeError, match=f"index {wrong} is out of bounds for axis"):
        error.throw()


def test_the_padding_row_starts_at_zero_and_stays() -> None:
    model = nn.Embedding(5, 3, padding_idx=-4)
    assert model.padding_idx == 1
    weight = model.init(KEY)["weight"]
    assert not weight[1].any()
    np.testing.assert_array_equal(
        np.delete(weight, 1, 0), np.delete(nn.Embedding(5, 3).init(KEY)["weight"], 1, 0)
    )
    np.testing.assert_array_equal(gradient(model, [0, 1, 1, 2])[:, 0], [1, 0, 1, 0, 0])
    # What the row holds is looked up nevertheless.
    np.testing.assert_array_equal(model.apply({"weight": TABLE}, jnp.array(1)), TABLE[1])


def test_gradients_by_frequency() -> None:
    model = nn.Embedding(5, 3, scale_grad_by_freq=True)
    np.testing.assert_allclose(gradient(model, [0, 2, 2, 2, 2])[:, 0], [1, 0, 1, 0, 0], rtol=1e-6)
    ids = jnp.array([0, 2, 2])
    np.testing.assert_array_equal(model.apply({"weight": TABLE}, ids), TABLE[ids])


def test_long_rows_are_shortened_and_short_ones_kept() -> None:
    table = jnp.array([[3.0, 4.0], [0.3, 0.4]])
    model = nn.Embedding(2, 2, max_norm=1.0)
    y = model.apply({"weight": table}, jnp.array([0, 1]))
    np.testing.assert_allclose(y, [[0.6, 0.8], [0.3, 0.4]], rtol=1e-6)
    halved = model.astype(jnp.bfloat16).apply({"weight": table.astype(jnp.bfloat16)}, jnp.array(0))
    np.testing.assert_allclose(np.asarray(halved, float), [0.6, 0.8], rtol=1e-2)


def test_from_pretrained_is_frozen_unless_it_is_asked_not_to_be() -> None:
    model = nn.Embedding.from_pretrained(TABLE, padding_idx=0)
    params = model.init(None)
    np.testing.assert_array_equal(params["weight"], TABLE)
    assert model.padding_idx == 0
    assert not model.weight.trainable
    assert not gradient(model, [1, 2]).any()
    free = nn.Embedding.from_pretrained(TABLE, freeze=False)
    assert free.weight.trainable
    assert gradient(free, [1, 2]).any()


def test_another_initializer_takes_the_padding_row_too() -> None:
    model = nn.Embedding(5, 3, padding_idx=0).with_init({"weight": init.ones()})
    assert (model.init(None)["weight"] == 1).all()


def test_definitions_with_a_padding_row_are_equal_by_value() -> None:
    assert nn.Embedding(5, 3, 1) == nn.Embedding(5, 3, 1)
    assert nn.Embedding(5, 3, 1) != nn.Embedding(5, 3, 2)
    assert repr(nn.Embedding(5, 3, 1).weight.init) == (
        "zero_row(base=normal(mean=0.0, std=1.0), row=1)"
    )


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: nn.Embedding(5, 3, padding_idx=5),
            "Embedding(num_embeddings=5, padding_idx=5): padding_idx must be within "
            "num_embeddings.",
        ),
        (
            lambda: nn.Embedding(5, 3, padding_idx=-6),
            "Embedding(padding_idx=-6): expected an integer >= -5.",
        ),
        (
            lambda: nn.Embedding.from_pretrained(TABLE[0]),
            "Embedding.from_pretrained(embeddings): expected a table of two axes, got shape (3,).",
        ),
    ],
)
def test_arguments_that_are_refused(make, text) -> None:
    with pytest.raises(nn.ArgumentError) as error:
        make()
    assert str(error.value) == text


def test_only_integers_are_looked_up() -> None:
    with pytest.raises(fp.FuncparamsError) as error:
        nn.Embedding(5, 3).apply({"weight": TABLE}, jnp.ones(2))
    assert str(error.value) == "Embedding: expected integers to look up, got float32[2]."
