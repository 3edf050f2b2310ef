"""Initial values are drawn from PyTorch's distributions: bounds, mean, deviation, and shape."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
import pytest
import torch

import funcparams as fp
from funcparams import nn
from tests.parity.torch_classes import classes, owns

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")  # PyTorch's own

Numbers = np.ndarray[Any, Any]

# Large ones, so that also what is short has enough numbers: (layer, arguments, keywords).
LARGE: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("Linear", (30, 400), {}),
    ("Bilinear", (9, 12, 300), {}),
    ("Conv1d", (12, 400, 5), {}),
    ("Conv2d", (12, 400, (3, 2), 1, 0, 1, 4), {}),
    ("Conv3d", (6, 400, 3), {}),
    ("ConvTranspose1d", (12, 400, 5), {}),
    ("ConvTranspose2d", (12, 400, (3, 2)), {"groups": 4}),
    ("ConvTranspose3d", (6, 400, 3), {}),
    ("Embedding", (400, 30), {}),
    ("Embedding", (400, 30), {"padding_idx": 3}),
    ("EmbeddingBag", (400, 30), {}),
    ("EmbeddingBag", (400, 30), {"padding_idx": 3}),
    ("PReLU", (200,), {}),
    ("BatchNorm1d", (200,), {}),
    ("BatchNorm2d", (200,), {}),
    ("BatchNorm3d", (200,), {}),
    ("SyncBatchNorm", (200,), {}),
    ("InstanceNorm1d", (200,), {"affine": True, "track_running_stats": True}),
    ("InstanceNorm2d", (200,), {"affine": True, "track_running_stats": True}),
    ("InstanceNorm3d", (200,), {"affine": True, "track_running_stats": True}),
    ("LayerNorm", (200,), {}),
    ("RMSNorm", (200,), {}),
    ("GroupNorm", (2, 200), {}),
    ("RNN", (20, 150), {"num_layers": 2, "bidirectional": True}),
    ("LSTM", (20, 150), {"proj_size": 20}),
    ("GRU", (20, 150), {}),
    ("RNNCell", (20, 300), {}),
    ("LSTMCell", (20, 100), {}),
    ("GRUCell", (20, 100), {}),
    ("MultiheadAttention", (120, 4), {"add_bias_kv": True}),
    ("MultiheadAttention", (120, 4), {"kdim": 40, "vdim": 60}),
    ("TransformerEncoderLayer", (120, 4, 300), {}),
    ("TransformerDecoderLayer", (120, 4, 300), {}),
    ("Transformer", (120, 4, 1, 1, 300), {}),
    ("LinearCrossEntropyLoss", (30, 400), {"bias": True}),
    ("AdaptiveLogSoftmaxWithLoss", (120, 400, [100, 250]), {}),
]
# PyTorch's copy the layer that they are given: what they own are its copies.
COPIES = {"TransformerEncoder", "TransformerDecoder"}


def made_as(drawn: Numbers, wanted: Numbers) -> str | None:
    """Say in what two samples differ more than samples of one distribution do; None if in nothing.

    The limits are those that about one sample in ten thousand passes.
    """
    if wanted.std() == 0 or drawn.std() == 0:
        same = np.unique(drawn).tolist() == np.unique(wanted).tolist()
        return None if same else f"{np.unique(drawn)[:3]} and {np.unique(wanted)[:3]}"
    zeros = int((drawn == 0).sum()), int((wanted == 0).sum())
    if abs(zeros[0] - zeros[1]) > 2:  # a uniform float32 is 0 once in some millions
        return f"{zeros[0]} and {zeros[1]} zeros"
    drawn, wanted = drawn[drawn != 0], wanted[wanted != 0]
    n, spread = min(len(drawn), len(wanted)), wanted.std()
    if abs(drawn.mean() - wanted.mean()) > 4 * spread * math.sqrt(2 / n):
        return f"means {drawn.mean():.4} and {wanted.mean():.4}"
    if abs(drawn.std() / spread - 1) > 4 / math.sqrt(n):
        return f"standard deviations {drawn.std():.4} and {spread:.4}"
    # Normal numbers go further than that; for uniform ones it is the square root of 3.
    if np.abs(wanted).max() < 2 * spread:
        bounds = np.abs(drawn).max(), np.abs(wanted).max()
        if abs(bounds[0] / bounds[1] - 1) > 10 / n:
            return f"bounds {bounds[0]:.5} and {bounds[1]:.5}"
    # Kolmogorov and Smirnov: the greatest distance of the two distribution functions.
    both = np.concatenate([drawn, wanted])
    below = [
        np.searchsorted(np.sort(sample), both, side="right") / len(sample)
        for sample in (drawn, wanted)
    ]
    distance = np.abs(below[0] - below[1]).max()
    limit = math.sqrt(-math.log(1e-4 / 2) / 2) * math.sqrt(2 / n)
    return (
        f"distributions by {distance:.3f}, where {limit:.3f} is much" if distance > limit else None
    )


@pytest.mark.parametrize(("layer", "args", "keywords"), LARGE, ids=str)
def test_initial_values_are_drawn_alike(
    layer: str, args: tuple[Any, ...], keywords: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    model = getattr(nn, layer)(*args, **keywords)
    module = getattr(torch.nn, layer)(*args, **keywords)
    ours = fp.flatten(model.init(jax.random.key(0))) | fp.flatten(model.init_state())
    assert ours.keys() == module.state_dict().keys()
    problems = {
        name: problem
        for name, tensor in module.state_dict().items()
        if (
            problem := made_as(
                np.asarray(ours[name], float).ravel(), tensor.numpy().astype(float).ravel()
            )
        )
    }
    assert not problems


def test_every_layer_that_owns_parameters_is_compared() -> None:
    owning = {name for name in classes() if owns(name)}
    assert owning - {layer for layer, _, _ in LARGE} == COPIES


def test_distributions_that_differ_are_told_apart() -> None:
    rng = np.random.RandomState(0)
    uniform, normal = rng.uniform(-1, 1, 2000), rng.randn(2000) / math.sqrt(3)
    assert made_as(uniform, rng.uniform(-1, 1, 2000)) is None
    assert made_as(normal, rng.randn(2000) / math.sqrt(3)) is None
    assert made_as(np.zeros(3), np.zeros(3)) is None
    for drawn, wanted, text in [
        (normal, uniform, "bounds"),
        (uniform, normal, "distributions by"),
        (uniform * 1.2, uniform, "standard deviations"),
        (uniform * 1.02, uniform, "bounds"),
        (uniform + 0.2, uniform, "means"),
        (uniform * (uniform > -0.9), uniform, "zeros"),
        (np.ones(3), np.zeros(3), "[1.] and [0.]"),
        (np.ones(2000), uniform, "[1.] and"),
    ]:
        assert text in str(made_as(drawn, wanted))
