"""`SyncBatchNorm`: over parts of a batch it is what `BatchNorm` is over the whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcparams as fp
from funcparams import nn
from funcparams.testing import assert_same_program

ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.RandomState(0)
X = RNG.randn(8, 3, 5).astype(np.float32)
COTANGENT = RNG.randn(8, 3, 5).astype(np.float32)
WHOLE = nn.BatchNorm1d(3)
PARAMS = {"weight": RNG.randn(3).astype(np.float32), "bias": RNG.randn(3).astype(np.float32)}
STATE = {
    "running_mean": RNG.randn(3).astype(np.float32),
    "running_var": RNG.rand(3).astype(np.float32) + 1,
    "num_batches_tracked": np.array(4, np.int32),
}


def run(train: Any, x: Any) -> Any:
    """Give outputs, new buffers, and the gradients of parameters and inputs."""

    def loss(params: Any, x: Any) -> Any:
        y, state = train(params, x)
        return (y.reshape(COTANGENT.shape) * COTANGENT).sum(), (y, state)

    both = jax.value_and_grad(loss, (0, 1), has_aux=True)
    (_, (y, state)), (of_params, of_x) = jax.jit(both)(PARAMS, x)
    shape = COTANGENT.shape
    return y.reshape(shape), state, of_params, of_x.reshape(shape)


def whole(x: Any, model: Any = WHOLE) -> Any:
    return run(lambda p, x: model.apply_with_state(p, STATE, x, training=True), x)


def mapped(model: Any, x: Any, *axes: tuple[str, int]) -> Any:
    """Train under one `jax.vmap` for each axis, on as many parts."""

    def train(params: Any, x: Any) -> Any:
        def part(x: Any) -> Any:
            return model.apply_with_state(params, STATE, x, training=True)

        for name, _ in axes:
            part = jax.vmap(part, 0, (0, None), axis_name=name)
        return part(x)

    sizes = [size for _, size in axes[::-1]]
    return run(train, x.reshape(*sizes, -1, *x.shape[1:]))


def assert_close(ours: Any, theirs: Any, tolerance: float = 2e-6) -> None:
    def close(a: Any, b: Any) -> None:
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(np.abs(b).max(), 1))

    jax.tree.map(close, ours, theirs)


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("parts", [1, 4, 8])
def test_parts_under_vmap_are_the_whole_batch(parts: int, momentum: float | None) -> None:
    model = nn.SyncBatchNorm(3, momentum=momentum, axis_name="batch")
    wanted = whole(X, nn.BatchNorm1d(3, momentum=momentum))
    assert_close(mapped(model, X, ("batch", parts)), wanted)


def test_several_axes_are_reduced_together() -> None:
    model = nn.SyncBatchNorm(3, axis_name=("rows", "columns"))
    assert_close(mapped(model, X, ("rows", 2), ("columns", 4)), whole(X))


def test_only_the_named_axis_is_reduced() -> None:
    model = nn.SyncBatchNorm(3, axis_name="inner", track_running_stats=False)

    def train(x: Any) -> Any:
        return model.apply(PARAMS, x, training=True)

    both = jax.vmap(jax.vmap(train, axis_name="inner"), axis_name="outer")
    y = both(X.reshape(2, 2, 2, 3, 5)).reshape(X.shape)
    plain = nn.BatchNorm1d(3, track_running_stats=False)
    wanted = np.concatenate([plain.apply(PARAMS, half, training=True) for half in np.split(X, 2)])
    np.testing.assert_allclose(y, wanted, atol=1e-5)


@pytest.mark.parametrize("offset", [1e3, 1e5])
def test_float32_keeps_its_digits_far_from_zero(offset: float) -> None:
    x = np.asarray(X + offset, np.float32)
    model = nn.SyncBatchNorm(3, axis_name="batch")
    y, state, _, of_x = mapped(model, x, ("batch", 4))
    assert_close((y, state), whole(x)[:2], 1e-6)
    exact = np.asarray(x, np.float64)
    centred = exact - exact.mean((0, 2), keepdims=True)
    variance = exact.var((0, 2), keepdims=True)
    normal = centred / np.sqrt(variance + 1e-5)
    column = {name: value[:, None] for name, value in PARAMS.items()}
    assert_close(y, normal * column["weight"] + column["bias"], 2e-6)
    new = 0.9 * STATE["running_var"] + 0.1 * variance[0, :, 0] * 40 / 39
    np.testing.assert_allclose(state["running_var"], new, rtol=2e-6)
    # The gradient is that of numbers near zero, but for the rounding of the numbers themselves.
    assert_close(of_x, mapped(model, X, ("batch", 4))[3], 1e-6 * offset)


def test_the_parts_may_have_means_far_apart() -> None:
    x = X + 1e3 * np.arange(8, dtype=np.float32)[:, None, None]
    model = nn.SyncBatchNorm(3, axis_name="batch")
    assert_close(mapped(model, x, ("batch", 4)), whole(x))


def test_without_an_axis_it_is_batch_normalisation_of_any_rank() -> None:
    model = nn.SyncBatchNorm(3)
    assert_close(run(lambda p, x: model.apply_with_state(p, STATE, x, training=True), X), whole(X))
    for shape in ((2, 3), (2, 3, 4, 5), (2, 3, 1, 1, 2), (2, 3, 1, 2, 1, 2)):
        assert model.apply(PARAMS, jnp.ones(shape), state=STATE).shape == shape


@pytest.mark.parametrize("training", [False, True])
def test_without_an_axis_the_program_is_that_of_batch_normalisation(training: bool) -> None:
    def program(model: Any) -> Any:
        return lambda p, s, x: model.apply_with_state(p, s, x, training=training)

    assert_same_program(program(nn.SyncBatchNorm(3)), program(WHOLE), PARAMS, STATE, X)


def test_inference_needs_no_axis() -> None:
    model = nn.SyncBatchNorm(3, axis_name="batch")
    wanted = WHOLE.apply(PARAMS, X, state=STATE)
    np.testing.assert_array_equal(model.apply(PARAMS, X, state=STATE), wanted)
    # Without running statistics a part is measured by itself then, as in PyTorch.
    model = nn.SyncBatchNorm(3, axis_name="batch", track_running_stats=False)
    wanted = nn.BatchNorm1d(3, track_running_stats=False).apply(PARAMS, X)
    np.testing.assert_array_equal(model.apply(PARAMS, X), wanted)


def test_one_value_in_each_part_is_enough() -> None:
    model = nn.SyncBatchNorm(3, axis_name="batch")
    y, _, _, _ = mapped(model, X.reshape(40, 3), ("batch", 40))
    wanted, _, _, _ = whole(X.reshape(40, 3))
    np.testing.assert_allclose(y, wanted, atol=1e-5)
    with pytest.raises(nn.InputError, match=r"more than 1 value per channel.*shape \(1, 3\)"):
        jax.vmap(
            lambda x: model.apply_with_state(PARAMS, STATE, x, training=True),
            axis_name="batch",
        )(jnp.ones((1, 1, 3)))


@pytest.mark.parametrize(("axis_name", "missing"), [("batch", "batch"), (("rows", "no"), "no")])
def test_an_axis_that_nothing_maps_is_an_error_which_says_how(axis_name, missing) -> None:
    net = nn.Sequential(nn.Identity(), nn.SyncBatchNorm(3, axis_name=axis_name))

    def train(x: jax.Array) -> Any:
        params, state = net.init(None), net.init_state()
        return net.apply_with_state(params, state, x, training=True)

    with pytest.raises(nn.AxisNameError) as error:
        jax.vmap(train, axis_name="rows")(jnp.ones((2, 2, 3)))
    assert str(error.value) == (
        f"1 (SyncBatchNorm): no axis {missing!r} is mapped around this call.\n"
        f"  Train inside jax.vmap(f, axis_name={missing!r}), or inside jax.shard_map over a mesh "
        "that has this axis. Where a call has the whole batch, under jax.jit alone too, "
        "axis_name=None is right."
    )
    assert isinstance(error.value, fp.FuncparamsError)
    assert isinstance(error.value, NameError)


def test_a_model_is_converted_with_its_names_ties_and_initializers() -> None:
    shared = nn.BatchNorm2d(4, channels_last=True, momentum=None)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), shared, nn.Sequential(nn.BatchNorm1d(4, affine=False)), shared
    )
    net = net.with_init({"1.weight": fp.init.constant(2.0)})
    made = nn.SyncBatchNorm.convert_sync_batchnorm(net, "batch")
    assert [type(each).__name__ for each in made] == [
        "Conv2d",
        "SyncBatchNorm",
        "Sequential",
        "SyncBatchNorm",
    ]
    assert made[1] is made[3]
    assert made[1].weight is net[1].weight
    assert (made[1].momentum, made[1].channels_last, made[2][0].affine) == (None, True, False)
    assert {each.axis_name for each in (made[1], made[2][0])} == {"batch"}
    assert made.abstract() == net.abstract()
    assert made.abstract_state() == net.abstract_state()
    alone = nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm1d(3, bias=False), ("a", "b"))
    assert repr(alone) == (
        "SyncBatchNorm(3, eps=1e-05, momentum=0.1, affine=True, bias=False, "
        "track_running_stats=True, axis_name=('a', 'b'))"
    )
    plain = nn.Linear(2, 2)
    assert nn.SyncBatchNorm.convert_sync_batchnorm(plain, "batch") is plain


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: nn.SyncBatchNorm(3, axis_name=0),
            "SyncBatchNorm(axis_name=0): expected the name of a mapped axis, a tuple of such "
            "names, or None.",
        ),
        (
            lambda: nn.SyncBatchNorm(3, axis_name=()),
            "SyncBatchNorm(axis_name=()): expected the name of a mapped axis, a tuple of such "
            "names, or None.",
        ),
        (lambda: nn.SyncBatchNorm(0), "SyncBatchNorm(num_features=0): expected an integer >= 1."),
    ],
)
def test_arguments_that_are_refused(make, text) -> None:
    with pytest.raises(nn.ArgumentError) as error:
        make()
    assert str(error.value) == text


@pytest.mark.parametrize("shape", [(3,), (2, 4), ()])
def test_inputs_that_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(nn.InputError) as error:
        nn.SyncBatchNorm(3).apply(PARAMS, jnp.ones(shape), state=STATE)
    assert str(error.value) == (
        "SyncBatchNorm: expected an input of shape (N, C, ...) with C = num_features=3, got shape "
        f"{shape}."
    )


SHARDED = """
import jax, numpy as np
from jax.sharding import Mesh, PartitionSpec as P
from funcparams import nn
from funcparams.testing import operation_counts
from tests.nn import test_syncbatchnorm as t

assert jax.device_count() == 4


def sharded(model, x, mesh, axes):
    def train(params, x):
        def part(params, x):
            return model.apply_with_state(params, t.STATE, x, training=True)

        return jax.shard_map(
            part, mesh=mesh, in_specs=(P(), P(axes)), out_specs=(P(axes), P())
        )(params, x)

    return t.run(train, x)


devices = np.array(jax.devices())
line, square = Mesh(devices, ("data",)), Mesh(devices.reshape(2, 2), ("data", "model"))
for offset in (0, 1000):
    x = np.asarray(t.X + offset, np.float32)
    wanted = t.whole(x)
    for mesh, axes in ((line, "data"), (square, ("data", "model")), (square, "data")):
        model = nn.SyncBatchNorm(3, axis_name=axes)
        t.assert_close(sharded(model, x, mesh, axes), wanted, 2e-6 * max(offset, 1) ** 0.5)

model = nn.SyncBatchNorm(3, axis_name="data")
for training, exchanges in ((True, 3), (False, 0)):
    def part(params, x):
        return model.apply_with_state(params, t.STATE, x, training=training)

    over = jax.shard_map(part, mesh=line, in_specs=(P(), P("data")), out_specs=(P("data"), P()))
    assert operation_counts(over, t.PARAMS, t.X).get("stablehlo.all_reduce", 0) == exchanges
print("the same")
"""


def test_parts_on_the_devices_of_a_mesh_are_the_whole_batch() -> None:
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", SHARDED],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    assert result.stdout == "the same\n", result.stderr
