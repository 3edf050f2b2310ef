"""Sequential: indexing, slicing, names, plain functions, on definitions and on bound views."""

from __future__ import annotations

import collections
import copy
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcparams as fp
from funcparams import nn

KEY = jax.random.key(0)
X = jnp.arange(8.0).reshape(2, 4)
NET = nn.Sequential(nn.Linear(4, 3), jax.nn.relu, nn.Linear(3, 2), nn.BatchNorm1d(2))


def test_it_is_a_sequence_of_its_layers() -> None:
    assert len(NET) == 4
    assert [type(layer).__name__ for layer in NET] == [
        "Linear",
        "Function",
        "Linear",
        "BatchNorm1d",
    ]
    assert NET[0].out_features == 3
    assert NET[-1] is NET[3]
    assert next(reversed(NET)) is NET[3]
    assert NET[2] in NET
    with pytest.raises(IndexError, match="Sequential index 4 is out of range: it has 4 layers"):
        NET[4]


def test_a_slice_keeps_names_and_layers() -> None:
    part = NET[1:3]
    assert type(part) is nn.Sequential
    assert part[1] is NET[2]
    assert [name for name, _ in part.named_parameters()] == ["2.weight", "2.bias"]
    assert part == NET[1:3]
    assert len(NET[9:]) == 0


def test_a_slice_of_parameters_runs_by_the_names() -> None:
    params = NET.init(KEY)
    hidden = NET[:2].apply({"0": params["0"]}, X)
    y = NET[2:3].apply({"2": params["2"]}, hidden)
    whole = NET[:3].apply({name: params[name] for name in ("0", "2")}, X)
    np.testing.assert_array_equal(y, whole)


class Halves(fp.Module):
    """Runs a Sequential by its parts, inside a call."""

    def __init__(self) -> None:
        self.net = NET

    def __call__(self, x: Any) -> Any:
        assert len(self.net) == 4
        x = self.net[:2](x)
        for layer in self.net[2:-1]:
            x = layer(x)
        return self.net[-1:](x)


def test_slices_of_a_bound_view_are_views_of_the_same_arrays_and_buffers() -> None:
    model = Halves()
    params, state = model.init(KEY), model.init_state()
    y, new = model.apply_with_state(params, state, X, training=True)
    inner = {"params": params["net"], "state": state["net"]}
    wanted, moved = NET.apply_with_state(inner["params"], inner["state"], X, training=True)
    np.testing.assert_allclose(y, wanted, rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, new["net"], moved)
    assert moved["3"]["num_batches_tracked"] == 1


def test_a_slice_of_a_view_can_be_lifted() -> None:
    class Lifted(fp.Module):
        def __init__(self) -> None:
            self.net = NET[:3]

        def __call__(self, x: Any) -> Any:
            return fp.remat(self.net[:2])(x)

    model = Lifted()
    params = model.init(KEY)
    np.testing.assert_allclose(
        model.apply(params, X), NET[:2].apply({"0": params["net"]["0"]}, X), rtol=1e-6
    )


def test_without_layers_it_returns_its_input() -> None:
    assert nn.Sequential().apply({}, 3.0) == 3.0
    assert repr(nn.Sequential()) == "Sequential()"


@pytest.mark.parametrize("kind", [dict, collections.OrderedDict])
def test_names_may_be_given(kind: type) -> None:
    net = nn.Sequential(kind([("fc", nn.Linear(4, 3)), ("act", jnp.tanh)]))
    assert [name for name, _ in net.named_parameters()] == ["fc.weight", "fc.bias"]
    assert net[0] is net.fc
    params = net.init(KEY)
    wanted = np.tanh(X @ params["fc"]["weight"].T + params["fc"]["bias"])
    np.testing.assert_allclose(net.apply(params, X), wanted, rtol=1e-4, atol=1e-6)


def test_a_shared_layer_is_one_and_the_second_place_refers_to_it() -> None:
    shared = nn.Linear(4, 4)
    net = nn.Sequential(shared, nn.ReLU(), shared)
    assert net[0] is net[2]
    params = net.init(KEY)
    assert isinstance(params["2"], fp.Ref)
    assert len(jax.tree.leaves(params)) == 2
    assert len(jax.tree.leaves(net[1:].init(KEY))) == 2  # a part that owns it then


def test_a_subclass_adds_layers_by_assignment() -> None:
    class Net(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Linear(4, 3))
            self.width = 3
            self.last = nn.Linear(3, 1)

    net = Net()
    assert len(net) == 2
    assert net.apply(net.init(KEY), X).shape == (2, 1)
    assert type(net[:1]) is nn.Sequential


def test_a_replaced_layer_keeps_its_place() -> None:
    net = NET.replace({"1": nn.Tanh()})
    assert [type(layer).__name__ for layer in net][:3] == ["Linear", "Tanh", "Linear"]


def test_equal_functions_make_equal_definitions() -> None:
    leaky = functools.partial(jax.nn.leaky_relu, negative_slope=0.2)
    again = functools.partial(jax.nn.leaky_relu, negative_slope=0.2)
    assert nn.Sequential(leaky) == nn.Sequential(again)
    assert nn.Sequential(leaky) != nn.Sequential(jax.nn.leaky_relu)
    assert repr(nn.Function(leaky)) == "Function(leaky_relu, negative_slope=0.2)"
    assert copy.deepcopy(NET) == NET


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: nn.Sequential(nn.ReLU),
            "Sequential: layer '0' is <class 'funcparams.nn.activation.rectifier.ReLU'>; expected "
            "a module or a function: write ReLU(...).",
        ),
        (
            lambda: nn.Sequential([nn.ReLU()]),
            "Sequential: layer '0' is [ReLU()]; expected a module or a function: write "
            "Sequential(*layers).",
        ),
        (
            lambda: nn.Sequential(nn.ReLU(), 3),
            "Sequential: layer '1' is 3; expected a module or a function.",
        ),
        (
            lambda: nn.Sequential({1: nn.ReLU()}),
            "Sequential: the name 1 is a int; names are strings.",
        ),
        (lambda: nn.Function(3), "Function(3): expected a function of one argument."),
        (
            lambda: nn.Function(int),
            "Function(<class 'int'>): expected a function of one argument: write int().",
        ),
    ],
)
def test_layers_that_are_refused(make, text) -> None:
    with pytest.raises(fp.DefinitionTypeError) as error:
        make()
    assert str(error.value) == text


@pytest.mark.parametrize("name", ["a.b", "", "apply"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(fp.DefinitionNameError):
        nn.Sequential({name: nn.ReLU()})
