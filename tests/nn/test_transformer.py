"""Transformers: how layers are drawn and named, dropout, activations, and what they refuse."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcparams as fp
from funcparams import init, nn
from funcparams.testing import assert_same_program

KEY = jax.random.key(0)
E, H, N, S, T = 8, 2, 2, 4, 3
RNG = np.random.RandomState(0)
SRC = jnp.asarray(RNG.randn(S, N, E), jnp.float32)
TGT = jnp.asarray(RNG.randn(T, N, E), jnp.float32)


def encoder(**options: Any) -> nn.TransformerEncoder:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(E, H, 16, **options), 2)


def decoder(**options: Any) -> nn.TransformerDecoder:
    return nn.TransformerDecoder(nn.TransformerDecoderLayer(E, H, 16, **options), 2)


# Parameters


def test_every_layer_of_a_stack_draws_its_own_weights() -> None:
    for model in (encoder(), decoder()):
        layers = model.init(KEY)["layers"]
        assert list(layers) == ["0", "1"]
        first, second = fp.flatten(layers["0"]), fp.flatten(layers["1"])
        assert first.keys() == second.keys()
        assert all(np.any(first[name] != second[name]) for name in first if first[name].ndim > 1)
        assert model.layers[0] == model.layers[1]
        assert model.layers[0] is not model.layers[1]


def test_a_tie_inside_a_layer_is_one_in_every_copy() -> None:
    layer = nn.TransformerEncoderLayer(E, H, E)
    model = nn.TransformerEncoder(layer.replace({"linear2.weight": layer.linear1.weight}), 2)
    names = [name for name, _ in model.named_parameters()]
    assert [name for name in names if "linear" in name and "weight" in name] == [
        "layers.0.linear1.weight",
        "layers.1.linear1.weight",
    ]


def test_transformer_draws_all_matrices_alike() -> None:
    model = nn.Transformer(64, 4, 1, 1, 128)
    params = fp.flatten(model.init(KEY))
    for name, array in params.items():
        if array.ndim > 1:
            bound = math.sqrt(6 / sum(array.shape))
            assert 0.98 * bound < np.abs(array).max() <= bound, name
    assert {d.init for _, d in model.named_parameters() if len(d.shape) > 1} == {
        init.xavier_uniform()
    }
    assert not params["encoder.layers.0.self_attn.out_proj.bias"].any()
    assert params["encoder.layers.0.linear1.bias"].any()


class Same(fp.Module):
    """An encoder or a decoder of one's own."""

    def __init__(self, layer: fp.Module) -> None:
        self.layer = layer

    def __call__(self, x: Any, *args: Any, **masks: Any) -> Any:
        return self.layer(x)


def test_custom_parts_keep_what_they_share() -> None:
    shared = nn.Linear(E, E)
    model = nn.Transformer(E, H, custom_encoder=Same(shared), custom_decoder=Same(shared))
    assert [name for name, _ in model.named_parameters()] == [
        "encoder.layer.weight",
        "encoder.layer.bias",
    ]
    assert model.encoder.layer.weight.init == init.xavier_uniform()
    params = model.init(KEY)
    assert model.apply(params, SRC, TGT).shape == TGT.shape
    plain = nn.Transformer(E, H, custom_encoder=Same(nn.ReLU()), custom_decoder=Same(nn.ReLU()))
    np.testing.assert_array_equal(plain.apply({}, SRC, TGT), np.maximum(TGT, 0))
    with pytest.raises(nn.ArgumentError, match=r"^Transformer\(custom_encoder=.*expected a module"):
        nn.Transformer(E, H, custom_encoder=jax.nn.relu)


def test_the_square_mask_is_the_causal_one() -> None:
    mask = nn.Transformer.generate_square_subsequent_mask(3, jnp.bfloat16)
    assert mask.dtype == jnp.bfloat16
    wanted = np.where(np.triu(np.ones((3, 3)), 1), -np.inf, 0)
    np.testing.assert_array_equal(np.asarray(mask, np.float32), wanted)
    model = decoder(dropout=0.0)
    params = model.init(KEY)
    y = model.apply(params, TGT, SRC, tgt_mask=mask)
    for given in ({"tgt_is_causal": True}, {"tgt_is_causal": True, "tgt_mask": mask}):
        np.testing.assert_allclose(model.apply(params, TGT, SRC, **given), y, rtol=1e-5, atol=1e-5)
    # Later places change nothing before them.
    other = model.apply(params, TGT.at[2].add(1), SRC, tgt_mask=mask)
    np.testing.assert_allclose(other[:2], y[:2], rtol=1e-5, atol=1e-5)
    assert np.any(np.abs(other[2] - y[2]) > 1e-3)


# Calls


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        ("relu", jax.nn.relu),
        ("gelu", lambda x: jax.nn.gelu(x, approximate=False)),
        (nn.GELU("tanh"), jax.nn.gelu),
        (jnp.tanh, jnp.tanh),
    ],
    ids=["relu", "gelu", "module", "function"],
)
def test_activations(activation: Any, function: Any) -> None:
    model = nn.TransformerEncoderLayer(E, H, 16, activation=activation)
    params = model.init(KEY)
    # Without attention, only the feed-forward part is left.
    params["self_attn"]["out_proj"] = jax.tree.map(jnp.zeros_like, params["self_attn"]["out_proj"])
    x = nn.LayerNorm(E).apply(params["norm1"], SRC)
    hidden = function(x @ params["linear1"]["weight"].T + params["linear1"]["bias"])
    fed = hidden @ params["linear2"]["weight"].T + params["linear2"]["bias"]
    wanted = nn.LayerNorm(E).apply(params["norm2"], x + fed)
    np.testing.assert_allclose(model.apply(params, SRC), wanted, rtol=1e-4, atol=1e-5)


def test_training_drops_everywhere_and_needs_a_key() -> None:
    model = nn.Transformer(E, H, 1, 1, 16, dropout=0.5)
    params = model.init(KEY)

    @jax.jit
    def train(params: Any, key: Any) -> Any:
        return model.apply_with_state(params, {}, SRC, TGT, key=key, training=True)[0]

    with jax.debug_key_reuse(True):
        y = model.apply(params, SRC, TGT, key=jax.random.key(1), training=True)
    np.testing.assert_allclose(y, train(params, jax.random.key(1)), rtol=1e-4, atol=1e-5)
    assert np.any(np.abs(y - train(params, jax.random.key(2))) > 1e-2)
    assert np.any(np.abs(y - model.apply(params, SRC, TGT)) > 1e-2)
    with pytest.raises(fp.KeyRequiredError, match=r"^encoder\.layers\.0\..* draws random numbers"):
        model.apply(params, SRC, TGT, training=True)
    # Every mask is drawn once: of the weights of three attentions, of three sums in the decoder
    # and two in the encoder, and of the two activations.
    drawn = str(jax.make_jaxpr(train)(params, jax.random.key(1))).count("random_bits")
    assert drawn == 3 + 3 + 2 + 2


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_training_promotes_nothing(dtype: Any) -> None:
    model = nn.Transformer(E, H, 1, 1, 16, norm_first=True).astype(dtype)
    params = model.init(KEY)
    mask = model.generate_square_subsequent_mask(T)  # float32: it is added to float32 scores
    with jax.numpy_dtype_promotion("strict"):
        y, _ = jax.eval_shape(
            lambda p: model.apply_with_state(
                p,
                {},
                SRC.astype(dtype),
                TGT.astype(dtype),
                tgt_mask=mask,
                key=jax.random.key(0),
                training=True,
            ),
            params,
        )
    assert (y.shape, y.dtype) == (TGT.shape, dtype)


def test_a_stack_is_its_layers_one_after_the_other() -> None:
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(E, H, 16), 2, nn.LayerNorm(E))
    params = model.init(KEY)
    layer = nn.TransformerEncoderLayer(E, H, 16)

    def by_hand(params: Any, x: Any) -> Any:
        for name in ("0", "1"):
            x = layer.apply(params["layers"][name], x)
        return nn.LayerNorm(E).apply(params["norm"], x)

    np.testing.assert_allclose(model.apply(params, SRC), by_hand(params, SRC), rtol=1e-6)
    assert_same_program(model.apply, by_hand, params, SRC)


# What they refuse


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: nn.TransformerEncoderLayer(8, 3),
            "TransformerEncoderLayer(d_model=8, nhead=3): d_model must be divisible by nhead.",
        ),
        (
            lambda: nn.TransformerDecoderLayer(8, 2, activation="gelo"),
            "TransformerDecoderLayer(activation='gelo'): expected one of 'relu', 'gelu'; did you "
            "mean 'gelu'?.",
        ),
        (
            lambda: nn.TransformerDecoderLayer(8, 2, activation=3),
            "TransformerDecoderLayer(activation=3): expected one of 'relu', 'gelu'.",
        ),
        (
            lambda: nn.TransformerEncoderLayer(8, 2, activation=nn.ReLU),
            "TransformerEncoderLayer(activation=ReLU): expected a function or a module; write "
            "ReLU().",
        ),
        (
            lambda: nn.TransformerEncoderLayer(8, 2, 1.5),
            "TransformerEncoderLayer(dim_feedforward=1.5): expected an integer >= 0.",
        ),
        (
            lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 4), 0),
            "TransformerEncoder(num_layers=0): expected an integer >= 1.",
        ),
        (
            lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer, 2),
            f"TransformerEncoder(encoder_layer={nn.TransformerEncoderLayer!r}): expected a module.",
        ),
        (
            lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 4), 1, norm=3),
            "TransformerDecoder(norm=3): expected a module.",
        ),
        (lambda: nn.Transformer(0), "Transformer(d_model=0): expected an integer >= 1."),
        (
            lambda: nn.Transformer(8, 3),
            "TransformerEncoderLayer(d_model=8, nhead=3): d_model must be divisible by nhead.",
        ),
    ],
)
def test_arguments_that_are_refused(make: Any, text: str) -> None:
    with pytest.raises(nn.ArgumentError) as error:
        make()
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("options", "src", "tgt", "text"),
    [
        (
            {},
            SRC,
            TGT[:, :1],
            "Transformer: expected a src and a tgt of one batch size, or both without a batch "
            "axis, got shapes (4, 2, 8) and (3, 1, 8).",
        ),
        (
            {},
            SRC,
            TGT[:, 0],
            "Transformer: expected a src and a tgt of one batch size, or both without a batch "
            "axis, got shapes (4, 2, 8) and (3, 8).",
        ),
        (
            {"batch_first": True},
            SRC,
            TGT[..., :5],
            "Transformer: expected a tgt of shape (N, L, d_model=8), or (L, d_model=8) without a "
            "batch axis, got shape (3, 2, 5).",
        ),
    ],
)
def test_inputs_that_are_refused(options: Any, src: Any, tgt: Any, text: str) -> None:
    model = nn.Transformer(E, H, 1, 1, 16, **options)
    with pytest.raises(nn.InputError) as error:
        model.apply(model.init(KEY), src, tgt)
    assert str(error.value) == text


def test_an_error_inside_names_the_layer() -> None:
    model = nn.Transformer(E, H, 1, 1, 16)
    with pytest.raises(nn.InputError) as error:
        model.apply(model.init(KEY), SRC, TGT, memory_key_padding_mask=np.zeros((N, T), bool))
    assert str(error.value) == (
        "decoder.layers.0.multihead_attn (MultiheadAttention): expected a key_padding_mask of "
        "shape (N, S) = (2, 4), got shape (2, 3)."
    )
