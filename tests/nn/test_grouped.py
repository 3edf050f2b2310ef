"""Grouped-query attention: its formula, its cache, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcparams as fp
from funcparams import nn

KEY = jax.random.key(0)
E, H, K, D, N, L = 8, 4, 2, 6, 2, 7
X = jnp.asarray(np.random.RandomState(0).randn(N, L, E), jnp.float32)


def layer(**options: Any) -> nn.GroupedQueryAttention:
    return nn.GroupedQueryAttention(E, H, K, D, **{"rotary_base": 10000.0, **options})


def by_definition(model: Any, params: Any, x: Any, seen: Any) -> Any:
    """Repeat the heads of the keys, and go through rows one by one."""
    p = {name: np.asarray(each["weight"], np.float64) for name, each in params.items()}
    n, rows, _ = x.shape
    split = {name: (x @ p[name].T).reshape(n, rows, -1, D) for name in ("q_proj", "k_proj")}
    value = (x @ p["v_proj"].T).reshape(n, rows, -1, D).repeat(H // K, 2)
    if model.rotary_base is not None:
        for name, each in split.items():
            turned = nn.rotary(np.asarray(each, np.float32), np.arange(rows), model.rotary_base)
            split[name] = np.asarray(turned, np.float64)
    query, key = split["q_proj"], split["k_proj"].repeat(H // K, 2)
    y = np.zeros((n, rows, H, D))
    for b in range(n):
        for i in range(rows):
            for h in range(H):
                scores = key[b, :, h] @ query[b, i, h] / math.sqrt(D)
                weights = np.where(seen(i, np.arange(rows)), np.exp(scores), 0)
                y[b, i, h] = weights / weights.sum() @ value[b, :, h]
    return y.reshape(n, rows, -1) @ p["o_proj"].T


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({}, lambda i, j: j <= i),
        ({"rotary_base": None}, lambda i, j: j <= i),
        ({"window": 3}, lambda i, j: (j <= i) & (j > i - 3)),
        ({"causal": False}, lambda i, j: j < L),
    ],
    ids=["causal", "without positions", "window", "not causal"],
)
def test_formula(options: Any, seen: Any) -> None:
    model = layer(**options)
    params = model.init(KEY)
    y, cache = model.apply(params, X)
    assert cache is None
    wanted = by_definition(model, params, np.asarray(X, np.float64), seen)
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-5)
    # A mask of nothing takes the other formula.
    masked, _ = model.apply(params, X, attn_mask=np.zeros((L, L), bool))
    np.testing.assert_allclose(masked, wanted, rtol=1e-4, atol=1e-5)
    single, _ = model.apply(params, X[0])
    np.testing.assert_allclose(single, wanted[0], rtol=1e-4, atol=1e-5)


def test_as_many_heads_of_keys_is_multi_head_attention() -> None:
    model = nn.GroupedQueryAttention(E, 2, causal=False, bias=True, out_bias=True)
    params = model.init(KEY)
    other = nn.MultiheadAttention(E, 2, batch_first=True)
    ours = [params[name] for name in ("q_proj", "k_proj", "v_proj")]
    theirs = {
        "in_proj_weight": jnp.concatenate([each["weight"] for each in ours]),
        "in_proj_bias": jnp.concatenate([each["bias"] for each in ours]),
        "out_proj": params["o_proj"],
    }
    for masks in ({}, {"attn_mask": np.random.RandomState(1).rand(2 * N, L, L) > 0.8}):
        wanted, _ = other.apply(theirs, X, X, X, need_weights=False, **masks)
        np.testing.assert_allclose(model.apply(params, X, **masks)[0], wanted, rtol=1e-5, atol=1e-6)


# The cache


@pytest.mark.parametrize("options", [{}, {"window": 3}, {"rotary_base": None}], ids=str)
@pytest.mark.parametrize("batched", [True, False])
def test_decoding_is_the_whole_sequence_at_once(options: Any, batched: bool) -> None:
    model = layer(**options)
    params = model.init(KEY)
    x = X if batched else X[0]
    wanted, _ = model.apply(params, x)
    cache = model.init_cache(N if batched else None, L + 2)
    prompt, cache = model.apply(params, x[..., :3, :], cache=cache)
    ys = [prompt]
    chex.clear_trace_counter()
    step = jax.jit(chex.assert_max_traces(model.apply, n=1))
    for i in range(3, L):
        y, cache = step(params, x[..., i : i + 1, :], cache=cache)
        ys.append(y)
    np.testing.assert_allclose(jnp.concatenate(ys, -2), wanted, rtol=1e-4, atol=1e-6)
    assert int(cache.length) == L
    assert not cache.keys[..., L:, :, :].any()


def test_decoding_by_scan_and_by_steps_of_a_training_trace() -> None:
    model = layer()
    params = model.init(KEY)

    @jax.jit
    def decode(params: Any, x: Any) -> Any:
        def body(cache: Any, token: Any) -> Any:
            y, cache = model.apply(params, token[:, None], cache=cache)
            return cache, y[:, 0]

        _, ys = jax.lax.scan(body, model.init_cache(N, L), jnp.swapaxes(x, 0, 1))
        return jnp.swapaxes(ys, 0, 1)

    wanted, _ = model.apply(params, X)
    np.testing.assert_allclose(decode(params, X), wanted, rtol=1e-4, atol=1e-6)

    def loss(function: Any) -> Any:
        return jax.grad(lambda params: jnp.sum(jnp.square(function(params))))(params)

    chex.assert_trees_all_close(
        loss(lambda p: decode(p, X)), loss(lambda p: model.apply(p, X)[0]), rtol=1e-3, atol=1e-5
    )


def test_sequences_of_several_lengths_are_padded_on_the_left() -> None:
    model = layer()
    params = model.init(KEY)
    short = 2  # how many places of the second sequence are padding
    padding = np.zeros((N, L), bool)
    padding[1, :short] = True
    positions = np.stack([np.arange(L), np.maximum(np.arange(L) - short, 0)])
    wanted = [model.apply(params, X[0])[0], model.apply(params, X[1, short:])[0]]
    y, _ = model.apply(params, X, key_padding_mask=padding, positions=positions)
    np.testing.assert_allclose(y[0], wanted[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(y[1, short:], wanted[1], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(y[1, :short], np.zeros((short, E)))  # these see nothing
    # The same with a cache, whose slots the mask speaks of.
    cache = model.init_cache(N, L)
    slots = {"key_padding_mask": padding}
    start, cache = model.apply(params, X[:, :4], cache, positions[:, :4], **slots)
    rest, _ = model.apply(params, X[:, 4:], cache, positions[:, 4:], **slots)
    both = jnp.concatenate([start, rest], 1)
    np.testing.assert_allclose(both, y, rtol=1e-4, atol=1e-6)


def test_without_causality_a_step_sees_all_that_is_written() -> None:
    model = layer(causal=False)
    params = model.init(KEY)
    first, cache = model.apply(params, X[:, :3], model.init_cache(N, L + 1))
    np.testing.assert_allclose(first, model.apply(params, X[:, :3])[0], rtol=1e-4, atol=1e-6)
    rest, _ = model.apply(params, X[:, 3:], cache)
    np.testing.assert_allclose(rest, model.apply(params, X)[0][:, 3:], rtol=1e-4, atol=1e-6)


def test_a_cache_may_be_of_another_dtype() -> None:
    model = layer()
    params = model.init(KEY)
    cache = model.init_cache(N, L, jnp.bfloat16)
    with jax.numpy_dtype_promotion("strict"):
        y, cache = model.apply(params, X, cache)
    assert (y.dtype, cache.keys.dtype) == (jnp.float32, jnp.bfloat16)
    np.testing.assert_allclose(y, model.apply(params, X)[0], rtol=0.1, atol=0.02)
    assert model.astype(jnp.bfloat16).init_cache(1, 2).keys.dtype == jnp.bfloat16
    assert jax.tree.map(jnp.shape, model.init_cache(3, 5)) == ((3, 5, K, D), (3, 5, K, D), ())


def test_a_part_of_a_model_makes_its_cache_inside_and_outside() -> None:
    class Model(fp.Module):
        def __init__(self) -> None:
            self.attention = layer()

        def __call__(self, x: Any) -> Any:
            return self.attention(x, self.attention.init_cache(N, L))[0]

    model = Model()
    params = model.init(KEY)
    y = model.apply(params, X)
    wanted, _ = layer().apply(params["attention"], X)
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-6)
    outside = jax.tree.map(lambda a: (a.shape, a.dtype), model.attention.init_cache(N, L))
    assert outside == jax.tree.map(lambda a: (a.shape, a.dtype), layer().init_cache(N, L))


# Training


def test_training_drops_weights() -> None:
    model = layer(dropout=0.5)
    params = model.init(KEY)
    ys = [model.apply(params, X, key=jax.random.key(i), training=True)[0] for i in (1, 1, 2)]
    np.testing.assert_array_equal(ys[0], ys[1])
    assert np.any(ys[0] != ys[2])
    with pytest.raises(fp.KeyRequiredError):
        model.apply(params, X, training=True)
    np.testing.assert_array_equal(model.apply(params, X)[0], layer().apply(params, X)[0])


# What it refuses


@pytest.mark.parametrize(
    ("args", "options", "text"),
    [
        (
            (8, 4, 3),
            {},
            "GroupedQueryAttention(num_heads=4, num_kv_heads=3): num_heads must be divisible by "
            "num_kv_heads.",
        ),
        (
            (8, 3),
            {},
            "GroupedQueryAttention(embed_dim=8, num_heads=3): embed_dim must be divisible by "
            "num_heads; or give head_dim.",
        ),
        ((8, 2, 0), {}, "GroupedQueryAttention(num_kv_heads=0): expected an integer >= 1."),
        (
            (8, 2),
            {"causal": False, "window": 2},
            "GroupedQueryAttention(window=2): a window needs causal=True.",
        ),
        ((8, 2), {"window": 0}, "GroupedQueryAttention(window=0): expected an integer >= 1."),
        (
            (6, 2),
            {"rotary_base": 100.0},
            "GroupedQueryAttention(rotary_base=100.0): rotary positions need a base above 0 and an "
            "even head_dim, and head_dim is 3.",
        ),
        (
            (8, 2),
            {"rotary_base": 0},
            "GroupedQueryAttention(rotary_base=0): rotary positions need a base above 0 and an "
            "even head_dim, and head_dim is 4.",
        ),
    ],
)
def test_arguments_that_are_refused(args: Any, options: Any, text: str) -> None:
    with pytest.raises(nn.ArgumentError) as error:
        nn.GroupedQueryAttention(*args, **options)
    assert str(error.value) == text


def test_inputs_that_are_refused() -> None:
    model = layer()
    params = model.init(KEY)

    def refused(*args: Any, **options: Any) -> str:
        with pytest.raises(nn.InputError) as error:
            model.apply(params, *args, **options)
        return str(error.value)

    assert refused(X[..., :5]) == (
        "GroupedQueryAttention: expected an input of shape (N, L, embed_dim=8), or "
        "(L, embed_dim=8) without a batch axis, got shape (2, 7, 5)."
    )
    assert refused(X, attn_mask=np.zeros((L, L + 1), bool)) == (
        "GroupedQueryAttention: expected an attn_mask of shape (L, S) = (7, 7), or "
        "(N * H, L, S) = (8, 7, 7), got shape (7, 8)."
    )
    assert refused(X, model.init_cache(3, 9)) == (
        "GroupedQueryAttention: expected a cache with keys of shape (2, 9, 2, 6), got shape "
        "(3, 9, 2, 6).\n  Make one of this layer: layer.init_cache(batch, max_length)."
    )
    assert refused(X, model.init_cache(N, 5)) == (
        "GroupedQueryAttention: 7 tokens do not fit into a cache for 5 that holds 0."
    )
    _, cache = model.apply(params, X, model.init_cache(N, 9))
    assert refused(X[:, :3], cache) == (
        "GroupedQueryAttention: 3 tokens do not fit into a cache for 9 that holds 7."
    )
    with pytest.raises(nn.InputError, match="7 tokens do not fit into a cache for 5 that holds 0 "):
        jax.jit(model.apply)(params, X, model.init_cache(N, 5))
    assert refused(X, positions=np.arange(3)).startswith("rotary: expected positions of shape (7,)")
    with pytest.raises(nn.InputTypeError, match="the input is bfloat16"):
        model.apply(params, X.astype(jnp.bfloat16))
    with pytest.raises(nn.ArgumentError, match=r"^init_cache\(max_length=0\): expected an integer"):
        model.init_cache(1, 0)
