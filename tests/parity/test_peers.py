"""Params of Linen, NNX, Haiku and Equinox, by a table of names: the same outputs as in the library.

docs/checkpoints.md shows the tables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import funcparams as fp
from funcparams import nn

KEY = jax.random.key(0)
IMAGES = np.random.RandomState(0).randn(2, 6, 6, 3).astype(np.float32)


class Net(fp.Module):
    """A convolution, a norm with running statistics, a linear layer; channels last, as theirs."""

    def __init__(self) -> None:
        self.conv = nn.Conv2d(3, 4, 3, padding=1, channels_last=True)
        self.norm = nn.BatchNorm2d(4, channels_last=True)
        self.dense = nn.Linear(4, 5)

    def __call__(self, x: Any) -> Any:
        return self.dense(jax.nn.relu(self.norm(self.conv(x))).mean((1, 2)))


def kernel(w: Any) -> Any:
    """HWIO to OIHW."""
    return np.transpose(w, (3, 2, 0, 1))


TRANSFORM = {"conv.weight": kernel, "dense.weight": np.transpose}


def off_defaults(tree: Any) -> Any:
    """Give every array numbers that are not its default."""
    rng = np.random.RandomState(1)
    return jax.tree.map(lambda a: np.asarray(a + np.abs(rng.randn(*a.shape)), np.float32), tree)


def agrees(flat: dict[str, Any], output: Any, **options: Any) -> None:
    """Load into the definition, and compare outputs."""
    model = Net()
    options = {"missing": "init", **options}  # their norms count no batches
    params, state, report = fp.load_state_dict(model, flat, **options)
    assert report.names("drawn") == ["norm.num_batches_tracked"]
    y = model.apply(params, IMAGES, state=state)
    np.testing.assert_allclose(y, output, rtol=1e-5, atol=1e-5)


def test_linen() -> None:
    linen = pytest.importorskip("flax.linen")

    class Theirs(linen.Module):
        @linen.compact
        def __call__(self, x: Any) -> Any:
            x = linen.Conv(4, (3, 3), name="conv")(x)
            x = linen.BatchNorm(use_running_average=True, name="norm")(x)
            return linen.Dense(5, name="dense")(linen.relu(x).mean((1, 2)))

    variables = off_defaults(Theirs().init(KEY, IMAGES))
    flat = {**fp.flatten(variables["params"]), **fp.flatten(variables["batch_stats"])}
    rename = {"(kernel|scale)$": "weight", "norm.mean$": "norm.running_mean"}
    rename["norm.var$"] = "norm.running_var"
    agrees(flat, Theirs().apply(variables, IMAGES), rename=rename, transform=TRANSFORM)


def test_nnx() -> None:
    nnx = pytest.importorskip("flax.nnx")

    class Theirs(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
            self.norm = nnx.BatchNorm(4, use_running_average=True, rngs=rngs)
            self.dense = nnx.Linear(4, 5, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.dense(nnx.relu(self.norm(self.conv(x))).mean((1, 2)))

    theirs = Theirs(nnx.Rngs(0))
    arrays = off_defaults(nnx.to_pure_dict(nnx.state(theirs, (nnx.Param, nnx.BatchStat))))
    nnx.update(theirs, arrays)
    rename = {"(kernel|scale)$": "weight", "norm.mean$": "norm.running_mean"}
    rename["norm.var$"] = "norm.running_var"
    agrees(fp.flatten(arrays), theirs(IMAGES), rename=rename, transform=TRANSFORM)


def test_haiku() -> None:
    hk = pytest.importorskip("haiku")

    def forward(x: Any, training: bool = False) -> Any:
        x = hk.Conv2D(4, 3, name="conv")(x)
        x = hk.BatchNorm(True, True, 0.9, name="norm")(x, is_training=training)
        return hk.Linear(5, name="dense")(jax.nn.relu(x).mean((1, 2)))

    theirs = hk.without_apply_rng(hk.transform_with_state(forward))
    params, state = off_defaults(theirs.init(KEY, IMAGES, True))
    dotted = {
        f"{module.replace('/', '.')}.{name}": np.squeeze(array)
        for module, below in (*params.items(), *state.items())
        for name, array in below.items()
    }
    rename: Callable[[str], str | None] = {
        "conv.w": "conv.weight",
        "conv.b": "conv.bias",
        "norm.scale": "norm.weight",
        "norm.offset": "norm.bias",
        "norm.~.mean_ema.average": "norm.running_mean",
        "norm.~.var_ema.average": "norm.running_var",
        "dense.w": "dense.weight",
        "dense.b": "dense.bias",
    }.get  # what has no name here, counters and biased averages, is left out
    output = theirs.apply(params, state, IMAGES)[0]
    agrees(dotted, output, rename=rename, transform=TRANSFORM)


def test_equinox() -> None:
    eqx = pytest.importorskip("equinox")

    class Theirs(eqx.Module):
        conv: Any
        norm: Any
        dense: Any

        def __init__(self) -> None:
            keys = jax.random.split(KEY)
            self.conv = eqx.nn.Conv2d(3, 4, 3, padding=1, key=keys[0])
            self.norm = eqx.nn.LayerNorm(4)
            self.dense = eqx.nn.Linear(4, 5, key=keys[1])

        def __call__(self, x: Any) -> Any:
            x = jax.vmap(jax.vmap(self.norm))(self.conv(x.transpose(2, 0, 1)).transpose(1, 2, 0))
            return self.dense(jax.nn.relu(x).mean((0, 1)))

    class Ours(Net):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(4)

    arrays, rest = eqx.partition(Theirs(), eqx.is_array)
    arrays = off_defaults(arrays)
    leaves = jax.tree_util.tree_leaves_with_path(arrays)
    flat = {jax.tree_util.keystr(k, simple=True, separator="."): leaf for k, leaf in leaves}
    model = Ours()
    params, _, _ = fp.load_state_dict(model, flat, transform={"conv.bias": np.ravel})
    theirs = jax.vmap(eqx.combine(arrays, rest))(IMAGES)
    np.testing.assert_allclose(model.apply(params, IMAGES), theirs, rtol=1e-5, atol=1e-5)
