"""Every layer against the class of torch.nn of the same name and arguments.

Outputs, gradients of every parameter and input, and updated buffers agree, while training and
not; so do names, shapes, order and the text of the module, and how parameters are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import chex
import jax
import numpy as np
import pytest

import funcparams as fp
from funcparams import nn
from tests.layer_cases import IN_TORCH, Case, x64

torch = pytest.importorskip("torch")

# PyTorch's own, about a layer without outputs and about a slow convolution.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Initializing zero-element tensors"),
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
]

# A program that runs once takes longer to optimise than to run.
QUICKLY = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}

COMPARED = [
    pytest.param(case, training, id=f"{case.name}{'-training' if training else ''}")
    for case in IN_TORCH
    for training in case.modes
    if not (case.random and training)
]


def channel_axis(case: Case, ndim: int) -> int:
    """Where PyTorch has the channels of an array."""
    if case.layer.startswith(("BatchNorm", "GroupNorm", "LocalResponse", "PReLU", "SyncBatchNorm")):
        return 1
    return ndim - 1 - int(case.layer[-2])


def to_torch(case: Case, array: Any) -> Any:
    """Move the channels from the last axis to where PyTorch has them."""
    array = np.asarray(array)
    return np.moveaxis(array, -1, channel_axis(case, array.ndim)) if case.channels_last else array


def from_torch(case: Case, array: Any) -> Any:
    """Move the channels to the last axis."""
    return np.moveaxis(array, channel_axis(case, array.ndim), -1) if case.channels_last else array


def named(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Write a nested dict with dotted names, in its order."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        inner = isinstance(value, Mapping)
        found |= named(value, f"{prefix}{key}.") if inner else {prefix + key: value}
    return found


def leaves(output: Any) -> list[Any]:
    """Give the tensors of an output, in order; None is none."""
    if isinstance(output, tuple | list):
        return [leaf for each in output for leaf in leaves(each)]
    return [] if output is None else [output]


def check(what: str, ours: Any, theirs: Any, tolerance: float) -> None:
    """Compare two arrays by their largest difference, relative to the largest number."""
    ours, theirs = np.asarray(ours), theirs.detach().numpy()
    assert ours.shape == theirs.shape, what
    if theirs.size:
        error = np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-12)
        assert error <= tolerance, f"{what}: relative error {error:.1e}"


def compare(case: Case, training: bool, dtype: Any, tolerance: float) -> None:
    model = case.make().astype(dtype)
    params = case.arrays(model.abstract(), dtype)
    state = case.arrays(model.abstract_state(), dtype)
    inputs = case.inputs(dtype)
    integers = case.integers  # no derivatives by these

    module = case.make_torch(torch).to(getattr(torch, np.dtype(dtype).name)).train(training)
    flat = fp.state_dict(model, params, state)
    module.load_state_dict({name: torch.tensor(np.asarray(a)) for name, a in flat.items()})
    back = fp.load_state_dict(model, module.state_dict())
    chex.assert_trees_all_equal((back.params, back.state), (params, state))
    given = [
        torch.tensor(to_torch(case, x)).requires_grad_(not integer)
        for x, integer in zip(inputs, integers, strict=True)
    ]
    theirs = leaves(case.call_torch(torch, module, given))
    rng = np.random.RandomState(1)
    cotangents = [np.asarray(rng.randn(*y.shape), dtype) for y in theirs]
    pulled = [i for i, y in enumerate(theirs) if y.requires_grad]
    torch.autograd.backward(
        [theirs[i] for i in pulled], [torch.tensor(cotangents[i]) for i in pulled]
    )

    def run(params: Any, inputs: Any) -> Any:
        y, new = model.apply_with_state(params, state, *inputs, training=training, **case.keywords)
        ys = jax.tree.leaves(y)
        assert len(ys) == len(theirs)
        total = sum((ys[i] * from_torch(case, cotangents[i])).sum() for i in pulled)
        return total, (ys, new)

    differentiate = jax.value_and_grad(run, (0, 1), has_aux=True, allow_int=True)
    run_once = jax.jit(differentiate, compiler_options=QUICKLY)
    (_, (ours, new)), (of_params, of_inputs) = run_once(params, inputs)

    for index, (mine, wanted) in enumerate(zip(ours, theirs, strict=True)):
        assert mine.dtype == dtype or not wanted.is_floating_point()
        check(f"output {index}", to_torch(case, mine), wanted, tolerance)
    for name, parameter in module.named_parameters():
        wanted = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        check(f"gradient of {name}", named(of_params)[name], wanted, tolerance)
    for index, gradient in enumerate(of_inputs):
        if integers[index]:
            continue
        wanted = given[index].grad
        wanted = torch.zeros_like(given[index]) if wanted is None else wanted
        check(f"gradient of input {index}", to_torch(case, gradient), wanted, tolerance)
    assert named(new).keys() == dict(module.named_buffers()).keys()
    for name, buffer in module.named_buffers():
        check(name, named(new)[name], buffer, tolerance)


@pytest.mark.parametrize(("case", "training"), COMPARED)
def test_float64(case: Case, training: bool) -> None:
    with x64():
        compare(case, training, np.float64, case.tolerances[1])


@pytest.mark.parametrize(("case", "training"), COMPARED)
def test_float32(case: Case, training: bool) -> None:
    compare(case, training, np.float32, case.tolerances[0])


@pytest.mark.parametrize("case", IN_TORCH, ids=lambda case: case.name)
def test_names_shapes_order_and_text(case: Case) -> None:
    model, module = case.make(), case.make_torch(torch)
    ours = [(name, value.shape) for name, value in model.named_parameters()]
    assert ours == [(name, tuple(value.shape)) for name, value in module.named_parameters()]
    ours = [(name, value.shape) for name, value in model.named_buffers()]
    assert ours == [(name, tuple(value.shape)) for name, value in module.named_buffers()]
    shapes = {name: array.shape for name, array in fp.flatten(model.abstract()).items()}
    shapes |= {name: array.shape for name, array in fp.flatten(model.abstract_state()).items()}
    assert shapes == {name: tuple(value.shape) for name, value in module.state_dict().items()}
    assert repr(model).replace(", channels_last=True", "") == repr(module).replace(
        "Softmax2d()", "Softmax2d(channels_last=True)" if case.channels_last else "Softmax2d()"
    )


def test_rms_norm_of_half_precision_adds_the_eps_of_float32() -> None:
    x = np.full((1, 4), 1e-3, np.float32)
    model, module = nn.RMSNorm(4).astype("bfloat16"), torch.nn.RMSNorm(4).bfloat16()
    y = model.apply(model.init(None), jax.numpy.asarray(x, "bfloat16"))
    theirs = module(torch.tensor(x).bfloat16()).detach().float().numpy()
    np.testing.assert_allclose(np.asarray(y, np.float32), theirs, rtol=1e-2)


@pytest.mark.parametrize("layer", ["LayerNorm", "RMSNorm", "BatchNorm1d"])
def test_norms_of_half_precision_agree(layer: str) -> None:
    x = np.random.RandomState(0).randn(16, 8).astype(np.float32) + 3
    model, module = getattr(nn, layer)(8).astype("bfloat16"), getattr(torch.nn, layer)(8).bfloat16()
    y, _ = model.apply_with_state(
        model.init(None), model.init_state(), jax.numpy.asarray(x, "bfloat16"), training=True
    )
    theirs = module(torch.tensor(x).bfloat16()).detach().float().numpy()
    np.testing.assert_allclose(np.asarray(y, np.float32), theirs, rtol=2e-2, atol=1e-2)


def test_an_embedding_with_max_norm_is_what_pytorch_writes_into_its_table() -> None:
    table = np.random.RandomState(0).randn(5, 3).astype(np.float32)
    module = torch.nn.Embedding(5, 3, max_norm=1.0, _weight=torch.tensor(table))
    ids = np.array([0, 2, 2])
    module(torch.tensor(ids))
    y = nn.Embedding(5, 3, max_norm=1.0).apply({"weight": table}, ids)
    np.testing.assert_allclose(y, module.weight.detach().numpy()[ids], rtol=1e-6)
