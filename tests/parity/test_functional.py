"""Every loss against the function of torch.nn.functional of the same name and arguments.

Values and gradients agree for all reductions; so do names, arguments and their defaults.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from funcparams.nn import functional as F
from tests.layer_cases import x64
from tests.loss_cases import CASES, Loss

pytestmark = [
    # PyTorch's own: its mean of kl_div is to change.
    pytest.mark.filterwarnings("ignore:reduction. .mean. divides the total loss"),
]
EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)

# Loss classes whose function is not called as they are, in snake case.
SPELLED = {
    "BCELoss": "binary_cross_entropy",
    "BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
    "CrossEntropyLoss": "cross_entropy",
    "KLDivLoss": "kl_div",
    "LinearCrossEntropyLoss": "linear_cross_entropy",
    "MultiLabelMarginLoss": "multilabel_margin_loss",
    "MultiLabelSoftMarginLoss": "multilabel_soft_margin_loss",
    "NLLLoss2d": "nll_loss",  # PyTorch's deprecated name of NLLLoss
}
# It owns parameters: a layer here too, and no function in torch.nn.functional.
LAYERS = {"AdaptiveLogSoftmaxWithLoss"}


def moved(case: Loss, key: str, array: Any) -> Any:
    """Put the classes where PyTorch has them."""
    has_classes = key == "input" or (key == "target" and array.dtype.kind == "f")
    return np.moveaxis(array, -1, 1) if case.channels_last and has_classes else array


def theirs(case: Loss, reduction: str, cotangent: Any, dtype: Any) -> tuple[Any, dict[str, Any]]:
    """Give PyTorch's loss and the gradients by what it differentiates."""
    given: dict[str, Any] = {}
    for key, value in case.arrays.items():
        floating = value.dtype.kind == "f"
        array = np.array(moved(case, key, value), order="C")
        given[key] = torch.tensor(array, dtype=getattr(torch, dtype) if floating else torch.int64)
        given[key].requires_grad_(key in case.by)
    keywords = dict(case.keywords)
    keywords.pop("channels_last", None)
    keywords.pop("batch_chunk_size", None)
    called = dict(given)
    if case.name == "ctc_loss":
        # Its gradient is the derivative behind a log_softmax only.
        called["log_probs"] = given["log_probs"].log_softmax(-1)
    loss = getattr(torch.nn.functional, case.name)(**called, **keywords, reduction=reduction)
    (loss * torch.tensor(np.asarray(cotangent))).sum().backward()
    gradients = {key: moved_back(case, key, given[key].grad.numpy()) for key in case.by}
    return loss.detach().numpy(), gradients


def moved_back(case: Loss, key: str, array: Any) -> Any:
    has_classes = case.channels_last and key in ("input", "target")
    return np.moveaxis(array, 1, -1) if has_classes else array


def close(what: str, ours: Any, wanted: Any, tolerance: float) -> None:
    ours = np.asarray(ours)
    assert ours.shape == wanted.shape, what
    if wanted.size:
        error = np.abs(ours - wanted).max() / max(np.abs(wanted).max(), 1e-12)
        assert error <= tolerance, f"{what}: relative error {error:.1e}\n{ours}\n{wanted}"


def compare(case: Loss, dtype: Any, tolerance: float) -> None:
    given = case.given(dtype)
    shapes = {r: jax.eval_shape(lambda g, r=r: case(g, r), given).shape for r in case.reductions}
    rng = np.random.RandomState(1)
    cotangents = {r: np.asarray(rng.randn(*shape), dtype) for r, shape in shapes.items()}

    def total(chosen: Any, reduction: str) -> tuple[Any, Any]:
        arrays = {**given, **chosen}
        if case.name == "ctc_loss":
            arrays["log_probs"] = jax.nn.log_softmax(arrays["log_probs"])
        loss = case(arrays, reduction)
        return jnp.sum(loss * cotangents[reduction]), loss

    @jax.jit
    def ours(chosen: Any) -> Any:
        each = {r: jax.grad(total, has_aux=True)(chosen, r) for r in case.reductions}
        return {r: (loss, gradients) for r, (gradients, loss) in each.items()}

    found = ours({key: given[key] for key in case.by})
    for reduction, (loss, gradients) in found.items():
        wanted, expected = theirs(case, reduction, cotangents[reduction], np.dtype(dtype).name)
        assert loss.dtype == dtype
        close(reduction, loss, wanted, tolerance)
        for key, gradient in gradients.items():
            close(f"{reduction}: gradient of {key}", gradient, expected[key], tolerance)


@EVERY_CASE
def test_float64(case: Loss) -> None:
    with x64():
        compare(case, np.float64, 1e-9)


@EVERY_CASE
def test_float32(case: Loss) -> None:
    compare(case, np.float32, 1e-5)


def test_every_loss_class_of_pytorch_has_its_function() -> None:
    listed = {*dir(torch.nn), *torch.nn.modules.loss.__all__}
    classes = {name for name in listed if re.fullmatch(r"[A-Z]\w*Loss(2d)?", name)}
    assert len(classes) > 20
    assert classes > LAYERS
    assert SPELLED.keys() < classes
    names = {
        SPELLED.get(name) or re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
        for name in classes - LAYERS
    }
    assert {name.lower() for name in names} == set(F.__all__)


@pytest.mark.parametrize("name", F.__all__)
def test_arguments_have_pytorch_s_names_order_and_defaults(name: str) -> None:
    deprecated = {"size_average", "reduce"}
    known = inspect.signature(getattr(torch.nn.functional, name)).parameters
    expected = {key: value.default for key, value in known.items() if key not in deprecated}
    expected.pop("options", None)
    found = inspect.signature(getattr(F, name)).parameters
    ours = {key: value.default for key, value in found.items()}
    for added in ("channels_last", "batch_chunk_size"):
        ours.pop(added, None)
    assert list(ours.items()) == list(expected.items())
    # By position there is what PyTorch has at the same position.
    by_position = [key for key, value in found.items() if value.kind is not value.KEYWORD_ONLY]
    assert by_position == list(known)[: len(by_position)]


def test_the_gradient_of_ctc_loss_is_its_derivative() -> None:
    case = next(case for case in CASES if case.name == "ctc_loss")
    with x64():
        given = case.given(np.float64)
        frames = given.pop("input_lengths")
        log_probs = given.pop("log_probs")

        def loss(log_probs: Any) -> Any:
            arrays = {**given, "log_probs": log_probs, "input_lengths": frames}
            return case(arrays, "sum")

        derivative = jax.grad(loss)(log_probs)
        read = torch.tensor(np.asarray(log_probs)).requires_grad_()
        others = {key: torch.tensor(np.asarray(value)) for key, value in given.items()}
        lengths = torch.tensor(np.asarray(frames))
        torch.nn.functional.ctc_loss(
            read, input_lengths=lengths, **others, reduction="sum"
        ).backward()
        live = np.arange(log_probs.shape[0])[:, None, None] < np.asarray(frames)[:, None]
        added = np.where(live, np.exp(log_probs), 0)
        np.testing.assert_allclose(derivative + added, read.grad.numpy(), atol=1e-12)
        step = np.random.RandomState(0).randn(*log_probs.shape)
        change = (loss(log_probs + 1e-5 * step) - loss(log_probs - 1e-5 * step)) / 2e-5
        np.testing.assert_allclose(change, (derivative * step).sum(), rtol=1e-8)
