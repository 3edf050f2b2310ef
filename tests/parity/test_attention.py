"""Attention against PyTorch's where the table of cases does not reach.

Stacks of layers, training without dropout, rows that see nothing, initial values, and PyTorch's
own path for inference.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

import funcparams as fp
from funcparams import nn
from tests.layer_cases import Case, x64
from tests.layer_cases.attention import ATTENTION, STACKS
from tests.parity.test_layers import compare, named

torch = pytest.importorskip("torch")

# PyTorch's own, about its path for inference.
pytestmark = [
    pytest.mark.filterwarnings("ignore:enable_nested_tensor is True"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors"),
]

KEY = jax.random.key(0)
WITHOUT_DROPOUT = [
    case
    for case in ATTENTION
    if case.layer.startswith("Transformer") and 0.2 not in case.args and not case.keywords
]


@pytest.mark.parametrize("case", STACKS, ids=lambda case: case.name)
def test_stacks(case: Case) -> None:
    compare(case, False, np.float32, case.tolerances[0])
    with x64():
        compare(case, False, np.float64, case.tolerances[1])
    model, module = case.make(), case.make_torch(torch)
    ours = [(name, value.shape) for name, value in model.named_parameters()]
    assert ours == [(name, tuple(value.shape)) for name, value in module.named_parameters()]
    assert repr(model) == repr(module)


@pytest.mark.parametrize("case", WITHOUT_DROPOUT, ids=lambda case: case.name)
def test_training_without_dropout(case: Case) -> None:
    # Here training needs a key at any dropout, which PyTorch's module knows nothing of.
    given = dataclasses.replace(
        case, keywords={"key": KEY}, torch_call=lambda torch, module, tensors: module(*tensors)
    )
    with x64():
        compare(given, True, np.float64, case.tolerances[1])


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("kind", ["bool", "float"])
@pytest.mark.parametrize("training", [True, False])
def test_rows_that_see_nothing(kind: str, need_weights: bool, training: bool) -> None:
    """Outputs are PyTorch's, NaN included; gradients are wherever PyTorch's are finite."""
    rng = np.random.RandomState(0)
    x, memory = rng.randn(3, 2, 8).astype(np.float32), rng.randn(4, 2, 8).astype(np.float32)
    hidden = np.zeros((4, 3, 4), bool)
    hidden[1, 1] = hidden[2, 0] = True  # of one head of each example
    hidden[3, 2] = hidden[2, 2] = True  # of all heads
    mask = hidden if kind == "bool" else np.where(hidden, -np.inf, 0).astype(np.float32)

    module = torch.nn.MultiheadAttention(8, 2).train(training)
    params = {k: v.detach().numpy() for k, v in module.state_dict().items()}
    params["out_proj.bias"] = rng.randn(8).astype(np.float32)
    module.load_state_dict({name: torch.tensor(value) for name, value in params.items()})
    query, keys = (torch.tensor(each).requires_grad_() for each in (x, memory))
    theirs, _ = module(query, keys, keys, attn_mask=torch.tensor(mask), need_weights=need_weights)
    factor = np.where(hidden.reshape(2, 2, 3, 4).all(-1).any(1).T, 0, 1)[..., None]
    torch.where(torch.tensor(factor) == 0, torch.zeros(()), theirs).square().sum().backward()

    model = nn.MultiheadAttention(8, 2)

    def loss(params: Any, query: Any, keys: Any) -> Any:
        y, _ = model.apply(
            params,
            query,
            keys,
            keys,
            attn_mask=mask,
            need_weights=need_weights,
            training=training,
        )
        return jax.numpy.sum(jax.numpy.square(jax.numpy.where(factor == 0, 0, y))), y

    tree = fp.unflatten(model, params)
    gradients, ours = jax.grad(loss, (0, 1, 2), has_aux=True)(tree, x, memory)
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert np.isnan(ours).any() == need_weights
    pairs = [(gradients[1], query.grad), (gradients[2], keys.grad)]
    pairs += [(named(gradients[0])[name], p.grad) for name, p in module.named_parameters()]
    for mine, wanted in pairs:
        finite = np.isfinite(wanted.numpy())
        assert finite.all() or need_weights
        np.testing.assert_allclose(
            np.asarray(mine)[finite], wanted.numpy()[finite], rtol=1e-4, atol=1e-5
        )


def test_padding_in_pytorchs_own_path_for_inference() -> None:
    """It leaves zeros at padded places, and elsewhere what the formula gives."""
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    module = torch.nn.TransformerEncoder(layer, 2).eval()
    params = {name: value.detach().numpy() for name, value in module.state_dict().items()}
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    x = np.random.RandomState(0).randn(2, 4, 8).astype(np.float32)
    padding = np.array([[0, 0, 0, 0], [0, 0, 1, 1]], bool)
    with torch.no_grad():
        theirs = module(torch.tensor(x), src_key_padding_mask=torch.tensor(padding)).numpy()
    ours = model.apply(fp.unflatten(model, params), x, src_key_padding_mask=padding)
    assert not theirs[padding].any()
    np.testing.assert_allclose(ours[~padding], theirs[~padding], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "args", "options"),
    [
        ("MultiheadAttention", (64, 4), {"add_bias_kv": True}),
        ("MultiheadAttention", (64, 4), {"kdim": 32, "vdim": 128}),
        ("TransformerEncoderLayer", (64, 4, 96), {}),
        ("TransformerDecoderLayer", (64, 4, 96), {}),
        ("Transformer", (64, 4, 1, 1, 96), {}),
    ],
    ids=str,
)
def test_initial_values_are_drawn_alike(layer: str, args: Any, options: Any) -> None:
    torch.manual_seed(0)
    module = getattr(torch.nn, layer)(*args, **options)
    ours = fp.flatten(getattr(nn, layer)(*args, **options).init(KEY))
    for name, tensor in module.state_dict().items():
        mine, wanted = np.asarray(ours[name]), tensor.numpy()
        assert (mine == 0).all() == (wanted == 0).all(), name
        few = wanted.size < 500
        assert mine.std() == pytest.approx(wanted.std(), rel=0.35 if few else 0.05), name
        if name not in ("bias_k", "bias_v"):  # these are normal, all others uniform or constant
            # A tenth of a few uniform numbers can miss either end.
            assert mine.max() == pytest.approx(wanted.max(), rel=0.2 if few else 0.03), name
            assert mine.min() == pytest.approx(wanted.min(), rel=0.2 if few else 0.03), name
