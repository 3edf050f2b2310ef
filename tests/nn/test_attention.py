"""MultiheadAttention: its program, rows that see nothing, dropout, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import funcparams as fp
from funcparams import nn
from funcparams.nn.attention.attend import softmax
from funcparams.testing import assert_same_program, operation_counts
from tests.layer_cases import x64

KEY = jax.random.key(0)
L, S, N, E, H = 3, 5, 2, 8, 2
RNG = np.random.RandomState(0)
QUERY = jnp.asarray(RNG.randn(L, N, E), jnp.float32)
MEMORY = jnp.asarray(RNG.randn(S, N, E), jnp.float32)
AHEAD = np.triu(np.ones((L, L), bool), 1)


class Self(fp.Module):
    """Attention of a sequence to itself."""

    def __init__(self, need_weights: bool = True, **options: Any) -> None:
        self.attention = nn.MultiheadAttention(E, H, **options)
        self.need_weights = need_weights

    def __call__(self, x: Any, **masks: Any) -> Any:
        return self.attention(x, x, x, need_weights=self.need_weights, **masks)


# What it lowers to


def linear(x: Any, weight: Any, bias: Any) -> Any:
    return lax.dot_general(x, weight, (((x.ndim - 1,), (1,)), ((), ()))) + bias


def heads(x: Any) -> Any:
    return x.reshape(*x.shape[:-1], H, E // H)


def with_weights(p: Any, query: Any, memory: Any, hidden: Any) -> Any:
    """Write attention to a memory by hand, (L, N, E)."""
    weights, biases = jnp.split(p["in_proj_weight"], 3), jnp.split(p["in_proj_bias"], 3)
    given = zip((query, memory, memory), weights, biases, strict=True)
    q, k, v = (heads(linear(*each)) for each in given)
    scores = jnp.einsum("qbhd,kbhd->bhqk", q, k) * (1 / math.sqrt(E // H))
    attention = jax.nn.softmax(jnp.where(hidden, -jnp.inf, scores))
    y = jnp.einsum("bhqk,kbhd->qbhd", attention, v).reshape(query.shape)
    return linear(y, p["out_proj"]["weight"], p["out_proj"]["bias"]), attention.mean(1)


def without_weights(p: Any, x: Any) -> Any:
    """Write causal attention of a sequence to itself by hand, (N, L, E)."""
    p = p["attention"]
    q, k, v = map(heads, jnp.split(linear(x, p["in_proj_weight"], p["in_proj_bias"]), 3, -1))
    row, column = jnp.arange(x.shape[1])[:, None], jnp.arange(x.shape[1])
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * (1 / math.sqrt(E // H))
    attention = jax.nn.softmax(jnp.where(column > row, -jnp.inf, scores))
    y = jnp.einsum("bhqk,bkhd->bqhd", attention, v).reshape(x.shape)
    return linear(y, p["out_proj"]["weight"], p["out_proj"]["bias"])


def gradient(function: Any) -> Any:
    def loss(*args: Any) -> Any:
        return sum(jnp.sum(jnp.square(y)) for y in jax.tree.leaves(function(*args)))

    return jax.grad(loss, (0, 1))


def test_operations_are_those_of_hand_written_jax_with_weights() -> None:
    model = nn.MultiheadAttention(E, H)
    given = (model.init(KEY), QUERY, MEMORY, np.arange(S) > 3)

    def ours(params: Any, query: Any, memory: Any, hidden: Any) -> Any:
        hidden = jnp.broadcast_to(hidden, (L, S))
        return model.apply(params, query, memory, memory, attn_mask=hidden)

    def by_hand(params: Any, query: Any, memory: Any, hidden: Any) -> Any:
        return with_weights(params, query, memory, jnp.broadcast_to(hidden, (L, S)))

    assert_same_program(ours, by_hand, *given)
    assert_same_program(gradient(ours), gradient(by_hand), *given)
    for mine, wanted in zip(ours(*given), by_hand(*given), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-5, atol=1e-6)


def test_operations_are_those_of_hand_written_jax_without_weights() -> None:
    model = Self(need_weights=False, batch_first=True)
    given = (model.init(KEY), QUERY)

    def ours(params: Any, x: Any) -> Any:
        return model.apply(params, x, is_causal=True)[0]

    assert_same_program(ours, without_weights, *given)
    assert_same_program(gradient(ours), gradient(without_weights), *given)
    np.testing.assert_allclose(ours(*given), without_weights(*given), rtol=1e-5, atol=1e-6)


def test_attention_to_itself_is_projected_in_one_product() -> None:
    model = Self()
    params = model.init(KEY)
    apart = params["attention"]
    alone = nn.MultiheadAttention(E, H)
    y, weights = model.apply(params, QUERY)
    for mine, wanted in zip((y, weights), alone.apply(apart, QUERY, QUERY, QUERY), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-5, atol=1e-6)
    together = operation_counts(model.apply, params, QUERY)
    separate = operation_counts(alone.apply, apart, QUERY, QUERY, QUERY)
    product = "stablehlo.dot_general"
    assert (together[product], separate[product]) == (4, 6)


# Masks


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("kind", ["bool", "float"])
def test_a_row_that_sees_nothing(kind: str, need_weights: bool) -> None:
    """NaN with weights and the bias without, as in PyTorch; gradients are finite in bool masks."""
    model = nn.MultiheadAttention(E, H)
    params = model.init(KEY)
    params["out_proj"]["bias"] = jnp.arange(E, dtype=jnp.float32)
    hidden = np.zeros((L, S), bool)
    hidden[1] = True
    mask = hidden if kind == "bool" else np.where(hidden, -np.inf, 0)

    def call(params: Any, query: Any) -> Any:
        return model.apply(params, query, MEMORY, MEMORY, attn_mask=mask, need_weights=need_weights)

    y, weights = call(params, QUERY)
    assert np.isfinite(y[0]).all()
    if need_weights:
        assert np.isnan(y[1]).all()
        assert np.isnan(weights[:, 1]).all()
    else:
        assert weights is None
        np.testing.assert_array_equal(y[1], np.tile(params["out_proj"]["bias"], (N, 1)))

    def loss(params: Any, query: Any) -> Any:
        return jnp.sum(jnp.square(call(params, query)[0][jnp.array([0, 2])]))

    gradients = jax.grad(loss, (0, 1))(params, QUERY)
    assert kind == "float" or not need_weights or np.isfinite(gradients[1][0]).all()
    if not need_weights:
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
        np.testing.assert_array_equal(gradients[1][1], np.zeros((N, E)))


def test_the_careful_softmax_has_the_derivatives_of_the_plain_one() -> None:
    x = jnp.asarray(RNG.randn(4, 6), jnp.float32)
    x, change = x.at[0, 3].set(-jnp.inf), jnp.asarray(RNG.randn(4, 6), jnp.float32)
    for mine, wanted in zip(
        jax.jvp(softmax, (x,), (change,)), jax.jvp(jax.nn.softmax, (x,), (change,)), strict=True
    ):
        np.testing.assert_allclose(mine, wanted, rtol=1e-6, atol=1e-7)


def test_masks_of_two_kinds_go_together() -> None:
    model = nn.MultiheadAttention(E, H)
    params = model.init(KEY)
    added = RNG.randn(L, S).astype(np.float32)
    padding = np.array([[0, 0, 0, 1, 1], [0, 1, 0, 0, 0]], bool)
    as_numbers = np.where(padding, -np.inf, 0).astype(np.float32)
    y, weights = model.apply(params, QUERY, MEMORY, MEMORY, padding, attn_mask=added)
    wanted = model.apply(params, QUERY, MEMORY, MEMORY, as_numbers, attn_mask=added)
    np.testing.assert_allclose(y, wanted[0], rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(weights, wanted[1])
    # Numbers may be of another floating dtype than the input: scores are what they are added to.
    half = added.astype(jnp.bfloat16)
    y, _ = model.apply(params, QUERY, MEMORY, MEMORY, as_numbers, attn_mask=half)
    wanted = model.apply(params, QUERY, MEMORY, MEMORY, padding, attn_mask=half.astype(np.float32))
    np.testing.assert_allclose(y, wanted[0], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_causal_needs_no_mask(need_weights: bool, batch_first: bool, padded: bool) -> None:
    model = Self(need_weights, batch_first=batch_first)
    params = model.init(KEY)
    x = jnp.swapaxes(QUERY, 0, 1) if batch_first else QUERY
    padding = {"key_padding_mask": np.array([[0, 1, 0], [0, 0, 1]], bool)} if padded else {}
    mine = model.apply(params, x, is_causal=True, **padding)
    wanted = model.apply(params, x, attn_mask=AHEAD, **padding)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), mine, wanted)


def test_causal_rows_see_the_keys_that_are_added() -> None:
    for need_weights in (True, False):
        model = Self(need_weights, add_bias_kv=True, add_zero_attn=True)
        params = model.init(KEY)
        mine = model.apply(params, QUERY, is_causal=True)
        wanted = Self(True, add_bias_kv=True, add_zero_attn=True).apply(
            params, QUERY, attn_mask=AHEAD
        )
        np.testing.assert_allclose(mine[0], wanted[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("is_causal", [False, True])
def test_jax_has_the_same_function(is_causal: bool) -> None:
    model = Self(need_weights=False, batch_first=True)
    params = model.init(KEY)
    p = params["attention"]
    q, k, v = map(heads, jnp.split(linear(QUERY, p["in_proj_weight"], p["in_proj_bias"]), 3, -1))
    y = jax.nn.dot_product_attention(q, k, v, is_causal=is_causal).reshape(QUERY.shape)
    wanted = linear(y, p["out_proj"]["weight"], p["out_proj"]["bias"])
    mine, _ = model.apply(params, QUERY, is_causal=is_causal)
    np.testing.assert_allclose(mine, wanted, rtol=1e-5, atol=1e-6)


def test_float64_is_not_computed_in_float32() -> None:
    with x64():
        x = np.asarray(QUERY, np.float64)
        for is_causal in (True, False):
            models = [Self(weights, dtype=jnp.float64) for weights in (True, False)]
            params = models[0].init(KEY)
            ys = [model.apply(params, x, is_causal=is_causal)[0] for model in models]
            assert ys[0].dtype == np.float64
            np.testing.assert_allclose(*ys, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("need_weights", [True, False])
def test_half_types_have_scores_in_float32(need_weights: bool) -> None:
    model = Self(need_weights).astype(jnp.bfloat16)
    params = model.init(KEY)
    x = QUERY.astype(jnp.bfloat16)
    y, _ = model.apply(params, x)
    assert y.dtype == jnp.bfloat16
    wide = jax.tree.map(lambda a: a.astype(jnp.float32), params)
    wanted, _ = Self(need_weights).apply(wide, x.astype(jnp.float32))
    np.testing.assert_allclose(np.asarray(y, np.float32), wanted, rtol=0.05, atol=0.02)


# Training


def test_training_drops_weights_with_the_key_of_bind() -> None:
    model = nn.MultiheadAttention(E, H, 0.5)
    params = model.init(KEY)
    _, plain = model.apply(params, QUERY, MEMORY, MEMORY, average_attn_weights=False)

    @jax.jit
    def train(params: Any, key: Any) -> Any:
        view = model.bind(params, key=key, training=True)
        return view(QUERY, MEMORY, MEMORY, average_attn_weights=False)

    y, weights = train(params, jax.random.key(1))
    np.testing.assert_array_equal(y, train(params, jax.random.key(1))[0])
    assert np.any(y != train(params, jax.random.key(2))[0])
    dropped = np.asarray(weights == 0)
    assert 0 < dropped.mean() < 1
    np.testing.assert_allclose(weights[~dropped], 2 * plain[~dropped], rtol=1e-5)


def test_training_needs_a_key_where_something_is_dropped() -> None:
    model = nn.MultiheadAttention(E, H, 0.5)
    params = model.init(KEY)
    with pytest.raises(fp.KeyRequiredError, match=r"MultiheadAttention.* draws random numbers"):
        model.apply(params, QUERY, MEMORY, MEMORY, training=True)
    with pytest.raises(fp.KeyRequiredError, match=r"attention \(MultiheadAttention\) draws"):
        Self(dropout=0.5).apply(Self().init(KEY), QUERY, training=True)
    y, _ = Self(dropout=0.5).apply(Self().init(KEY), QUERY, key=KEY, training=True)
    assert y.shape == QUERY.shape
    (y, _), state = nn.MultiheadAttention(E, H).apply_with_state(
        params, {}, QUERY, MEMORY, MEMORY, training=True
    )
    assert (y.shape, state) == (QUERY.shape, {})


def test_the_keyword_key_could_be_either() -> None:
    model = nn.MultiheadAttention(E, H)
    params = model.init(KEY)
    with pytest.raises(fp.DefinitionTypeError, match="has an argument 'key' of its own") as error:
        model.apply(params, QUERY, key=MEMORY, value=MEMORY)
    assert "model.bind(params, state, key=..., training=...)" in str(error.value)
    y, _ = model.bind(params)(QUERY, key=MEMORY, value=MEMORY)
    np.testing.assert_array_equal(y, model.apply(params, QUERY, MEMORY, MEMORY)[0])


# What it draws, and what it refuses


def test_initial_values() -> None:
    params = nn.MultiheadAttention(64, 4, add_bias_kv=True).init(KEY)
    bound = math.sqrt(6 / (64 + 3 * 64))
    assert 0.99 * bound < np.abs(params["in_proj_weight"]).max() <= bound
    assert 0.98 / 8 < np.abs(params["out_proj"]["weight"]).max() <= 1 / 8
    assert not params["in_proj_bias"].any()
    assert not params["out_proj"]["bias"].any()
    assert params["bias_k"].std() == pytest.approx(1 / 8, rel=0.3)
    assert np.any(params["bias_k"] != params["bias_v"])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: nn.MultiheadAttention(8, 3),
            "MultiheadAttention(embed_dim=8, num_heads=3): embed_dim must be divisible by "
            "num_heads.",
        ),
        (
            lambda: nn.MultiheadAttention(0, 1),
            "MultiheadAttention(embed_dim=0): expected an integer >= 1.",
        ),
        (
            lambda: nn.MultiheadAttention(8, 2, 1.5),
            "MultiheadAttention(dropout=1.5): expected a probability, a number from 0 to 1.",
        ),
        (
            lambda: nn.MultiheadAttention(8, 2, vdim=2.0),
            "MultiheadAttention(vdim=2.0): expected an integer >= 1.",
        ),
    ],
)
def test_arguments_that_are_refused(make: Any, text: str) -> None:
    with pytest.raises(nn.ArgumentError) as error:
        make()
    assert str(error.value) == text


def zeros(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("options", "inputs", "masks", "text"),
    [
        (
            {},
            (zeros(L, N, 7), MEMORY, MEMORY),
            {},
            "MultiheadAttention: expected a query of shape (L, N, embed_dim=8), or "
            "(L, embed_dim=8) without a batch axis, got shape (3, 2, 7).",
        ),
        (
            {"batch_first": True},
            (zeros(8), MEMORY, MEMORY),
            {},
            "MultiheadAttention: expected a query of shape (N, L, embed_dim=8), or "
            "(L, embed_dim=8) without a batch axis, got shape (8,).",
        ),
        (
            {"kdim": 4},
            (QUERY, MEMORY, MEMORY),
            {},
            "MultiheadAttention: expected a key of shape (S, N=2, kdim=4) beside a query of shape "
            "(3, 2, 8), got shape (5, 2, 8).",
        ),
        (
            {},
            (QUERY, MEMORY[:, 0], MEMORY[:, 0]),
            {},
            "MultiheadAttention: expected a key of shape (S, N=2, kdim=8) beside a query of shape "
            "(3, 2, 8), got shape (5, 8).",
        ),
        (
            {"batch_first": True},
            (QUERY, MEMORY, MEMORY),
            {},
            "MultiheadAttention: expected a key of shape (N=3, S, kdim=8) beside a query of shape "
            "(3, 2, 8), got shape (5, 2, 8).",
        ),
        (
            {},
            (QUERY, MEMORY, MEMORY[:4]),
            {},
            "MultiheadAttention: expected a value of shape (S=5, N=2, vdim=8) beside a key of "
            "shape (5, 2, 8), got shape (4, 2, 8).",
        ),
        (
            {},
            (QUERY[:, 0], MEMORY[:, 0], MEMORY[:4, 0]),
            {},
            "MultiheadAttention: expected a value of shape (S=5, vdim=8) beside a key of shape "
            "(5, 8), got shape (4, 8).",
        ),
        (
            {},
            (QUERY, MEMORY, MEMORY),
            {"attn_mask": zeros(S, L)},
            "MultiheadAttention: expected an attn_mask of shape (L, S) = (3, 5), or "
            "(N * H, L, S) = (4, 3, 5), got shape (5, 3).",
        ),
        (
            {},
            (QUERY[:, 0], MEMORY[:, 0], MEMORY[:, 0]),
            {"attn_mask": zeros(4, L, S)},
            "MultiheadAttention: expected an attn_mask of shape (L, S) = (3, 5), or "
            "(H, L, S) = (2, 3, 5), got shape (4, 3, 5).",
        ),
        (
            {},
            (QUERY, MEMORY, MEMORY),
            {"key_padding_mask": zeros(S, N)},
            "MultiheadAttention: expected a key_padding_mask of shape (N, S) = (2, 5), got shape "
            "(5, 2).",
        ),
        (
            {},
            (QUERY[:, 0], MEMORY[:, 0], MEMORY[:, 0]),
            {"key_padding_mask": zeros(1, S)},
            "MultiheadAttention: expected a key_padding_mask of shape (S,) = (5,), got shape "
            "(1, 5).",
        ),
    ],
)
def test_inputs_that_are_refused(options: Any, inputs: Any, masks: Any, text: str) -> None:
    model = nn.MultiheadAttention(E, H, **options)
    with pytest.raises(nn.InputError) as error:
        model.apply(model.init(KEY), *inputs, **masks)
    assert str(error.value) == text


def test_dtypes_that_are_refused() -> None:
    model = nn.MultiheadAttention(E, H)
    params = model.init(KEY)
    half = MEMORY.astype(jnp.bfloat16)
    with pytest.raises(nn.InputTypeError, match=r"the key is bfloat16\[5, 2, 8\], and the param"):
        model.apply(params, QUERY, half, half)
    with pytest.raises(nn.InputTypeError) as error:
        model.apply(params, QUERY, MEMORY, MEMORY, np.zeros((N, S), np.int32))
    assert str(error.value) == (
        "MultiheadAttention: expected a key_padding_mask of bool, True where a key is hidden, or "
        "of floating-point numbers that are added to the scores, got int32[2, 5].\n"
        "  Convert it first: key_padding_mask != 0."
    )
