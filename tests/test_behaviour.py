"""PyTorch's parameter management, row by row, with its numbers: one test a row of the table.

The numbers were measured on PyTorch 2.13; each is checked here through the public API.
"""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcparams as fp
from funcparams import init, nn

KEY = jax.random.key(0)


def names(pairs: Any) -> list[str]:
    return [name for name, _ in pairs]


def shapes(params: Any) -> dict[str, tuple[int, ...]]:
    return {name: leaf.shape for name, leaf in fp.flatten(params).items()}


def eight() -> nn.Sequential:
    """The shared net of rows 10 to 12."""
    shared = nn.Linear(8, 8)
    return nn.Sequential(
        *(nn.Linear(4, 8), nn.ReLU(), shared, nn.ReLU(), shared, nn.ReLU(), nn.Linear(8, 1))
    )


def squared(times: int = 2) -> tuple[nn.Sequential, Any]:
    """The tied net of row 13: one weight of 3, used several times."""
    layer = nn.Linear(1, 1, bias=False)
    model = nn.Sequential(*[layer] * times)
    return model, fp.update(model.init(KEY), {"0.weight": 3.0})


class LinearModel(fp.Module):
    """Linear regression, y = x @ weight + bias."""

    def __init__(self, features: int):
        self.features = features
        self.weight = fp.param((features, 1), init.normal(std=1))
        self.bias = fp.param((1,), init.normal(std=1))

    def __call__(self, x: jax.Array) -> jax.Array:
        return x @ self.weight + self.bias


def test_row_01_only_declared_parameters_are_listed() -> None:
    class Raw(fp.Module):
        def __init__(self, declared: bool):
            if declared:
                self.weight1 = fp.param((20, 20), init.normal())
            else:
                self.weight1 = jnp.ones((20, 20))

    assert names(Raw(declared=True).named_parameters()) == ["weight1"]
    with pytest.raises(
        TypeError, match=r"Raw\.weight1: got an array of shape \(20, 20\)"
    ) as caught:
        Raw(declared=False)
    assert "Declare it: fp.param(shape, init) if it is learnt" in str(caught.value)


def test_row_02_what_is_not_trainable_gets_no_gradient_and_integers_are_buffers() -> None:
    class Scaled(fp.Module):
        def __init__(self) -> None:
            self.weight = fp.param((2,), init.ones())
            self.fixed = fp.param((2,), init.ones(), trainable=False)

        def __call__(self, x: jax.Array) -> jax.Array:
            return (x * self.weight * self.fixed).sum()

    model = Scaled()
    grads = jax.grad(model.apply)(model.init(KEY), jnp.array([2.0, 3.0]))
    assert grads["weight"].tolist() == [2, 3]
    assert grads["fixed"].tolist() == [0, 0]
    with pytest.raises(
        TypeError, match=r"Declare a buffer instead: fp\.buffer\(shape, init, dtype\)"
    ):
        fp.param((2,), init.ones(), jnp.int32)
    assert fp.buffer((2,), init.ones(), jnp.int32).dtype == jnp.int32


def test_row_03_a_definition_tells_parameters_from_buffers_by_name() -> None:
    model = nn.BatchNorm1d(2)
    assert isinstance(model.weight, fp.Param)
    assert isinstance(model.running_mean, fp.Buffer)
    assert names(model.named_parameters()) == ["weight", "bias"]
    assert names(model.named_buffers()) == ["running_mean", "running_var", "num_batches_tracked"]


def test_row_04_a_module_of_ones_own_in_ten_lines() -> None:
    model = LinearModel(5)
    assert {name: p.shape for name, p in model.named_parameters()} == {
        "weight": (5, 1),
        "bias": (1,),
    }
    params = {"weight": jnp.arange(1.0, 6.0)[:, None], "bias": jnp.array([0.5])}
    y = model.apply(params, jnp.arange(20.0).reshape(4, 5))
    assert y.ravel().tolist() == [40.5, 115.5, 190.5, 265.5]


def test_row_05_names_and_shapes_of_a_linear_layer() -> None:
    assert names(nn.Linear(2, 2).named_parameters()) == ["weight", "bias"]
    assert shapes(nn.Linear(2, 1).init(KEY)) == {"weight": (1, 2), "bias": (1,)}


def test_row_06_an_activation_takes_a_number_but_leaves_no_name() -> None:
    class Net(fp.Module):
        def __init__(self) -> None:
            self.layers = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 3))

    assert names(Net().named_parameters()) == [
        *("layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"),
    ]


def test_row_07_initialising_by_a_function_of_modules_is_an_edit_of_the_definition() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 1)))
    before = net.init(KEY)
    # PyTorch visits children first, so the outer module has the last word: here its rule is first.
    edited = net.with_init({"1.**": init.zeros(), nn.Linear: init.ones()})
    params = edited.init(KEY)
    assert {name: leaf.ravel().tolist() for name, leaf in fp.flatten(params).items()} == {
        "0.bias": [1, 1],
        "0.weight": [1, 1, 1, 1],
        "1.0.bias": [0],
        "1.0.weight": [0, 0],
    }
    again = fp.reinit(edited, before, KEY, "1.**")
    assert again["0"]["weight"] is before["0"]["weight"]
    assert not again["1"]["0"]["weight"].any()
    assert net == nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 1)))
    assert all(jax.tree.leaves(jax.tree.map(jnp.array_equal, net.init(KEY), before)))


def test_row_08_initialise_by_type() -> None:
    net = nn.Sequential(nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 100))
    params = net.with_init({"*.bias": init.zeros(), nn.Linear: init.normal(0, 1)}).init(KEY)
    for index in ("0", "2"):
        assert abs(params[index]["weight"].mean()) < 0.05
        assert abs(params[index]["weight"].std() - 1) < 0.03
        assert not params[index]["bias"].any()


def test_row_09_an_initializer_of_ones_own() -> None:
    def far(key: jax.Array, shape: Any, dtype: Any) -> jax.Array:
        weight = jax.random.uniform(key, shape, dtype, -10, 10)
        return weight * (abs(weight) >= 5)

    net = nn.Sequential(nn.Linear(1000, 1000))
    params = net.with_init({"**.weight": far}).init(KEY)
    weight = np.asarray(params["0"]["weight"])
    kept = abs(weight[weight != 0])
    assert abs((weight == 0).mean() - 0.5) < 0.003
    assert kept.min() >= 5
    assert kept.max() <= 10
    assert abs(weight.std() - np.sqrt(875 / 30)) < 0.02
    assert abs(kept.mean() - 7.5) < 0.01
    assert np.array_equal(params["0"]["bias"], net.init(KEY)["0"]["bias"])


def test_row_10_a_shared_layer_is_counted_and_stored_once() -> None:
    net = eight()
    params = net.init(KEY)
    assert names(net.named_parameters()) == [
        *("0.weight", "0.bias", "2.weight", "2.bias", "6.weight", "6.bias"),
    ]
    assert len(names(net.named_parameters(remove_duplicate=False))) == 8
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 121
    assert fp.summary(net).parameters == 121
    assert params["4"] == fp.Ref(".2")
    untied, free = fp.untie(net, params, "4.*")
    assert sum(leaf.size for leaf in jax.tree.leaves(free)) == 193
    assert len(list(untied.parameters())) == 8


def test_row_11_an_update_of_one_name_shows_at_the_other() -> None:
    net = eight()
    params = net.init(KEY)
    for name in ("2.weight", "4.weight"):
        new = fp.update(params, {name: lambda w: w.at[0, 0].set(100)})
        view = net.bind(new)
        assert view[2].weight[0, 0] == 100
        assert view[4].weight[0, 0] == 100
        assert view[2].weight is view[4].weight
    assert params["2"]["weight"][0, 0] != 100


def test_row_12_gradients_of_shared_uses_add() -> None:
    net = eight()
    params = fp.update(net.init(KEY), {"**.weight": 0.1, "**.bias": 0.0})
    y, grads = jax.value_and_grad(lambda p: net.apply(p, jnp.ones((1, 4))).sum())(params)
    np.testing.assert_allclose(y, 0.2048, rtol=1e-6)
    for name, expected in (
        *(("2.weight", 0.064), ("2.bias", 0.18), ("0.weight", 0.064), ("6.weight", 0.256)),
    ):
        np.testing.assert_allclose(fp.flatten(grads)[name], expected, rtol=1e-5, err_msg=name)
    assert grads["4"] == fp.Ref(".2")


def test_row_13_a_tied_net_is_trained_once() -> None:
    net, params = squared()
    assert names(net.named_parameters()) == ["0.weight"]

    def y(params: Any) -> jax.Array:
        return net.apply(params, jnp.ones((1, 1))).sum()

    value, grads = jax.value_and_grad(y)(params)
    assert (value, grads["0"]["weight"].item()) == (9, 6)
    optimizer = optax.sgd(0.1)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    params: Any = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params["0"]["weight"], 2.4, rtol=1e-6)
    np.testing.assert_allclose(y(params), 5.76, rtol=1e-6)
    cubed, params = squared(3)
    value, grads = jax.value_and_grad(lambda p: cubed.apply(p, jnp.ones((1, 1))).sum())(params)
    assert (value, grads["0"]["weight"].item()) == (27, 27)


def test_row_14_the_shared_layers_are_one_and_stay_one() -> None:
    net, params = squared()
    assert net[0] is net[1]
    view = net.bind(params)
    assert view[0] is view[1]
    assert view[0].weight is view[1].weight
    for after in (
        jax.jit(lambda p: jax.tree.map(lambda leaf: leaf * 2, p))(params),
        fp.unflatten(net, fp.flatten(params)),  # saved as a flat dict, and loaded
        jax.device_put(params),
    ):
        assert after["1"] == fp.Ref(".0")
        assert len(jax.tree.leaves(after)) == 1


def test_row_15_the_text_of_a_net_is_pytorchs_and_marks_ties() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    assert repr(net) == (
        "Sequential(\n"
        "  (0): Linear(in_features=4, out_features=3, bias=True)\n"
        "  (1): ReLU()\n"
        "  (2): Linear(in_features=3, out_features=1, bias=True)\n"
        ")"
    )
    assert repr(squared()[0]) == (
        "Sequential(\n"
        "  (0): Linear(in_features=1, out_features=1, bias=False)\n"
        "  (1): Linear(in_features=1, out_features=1, bias=False)  # shared with 0\n"
        ")"
    )


def test_row_16_named_parameters_is_a_generator_and_parts_have_no_prefix() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    listing = net.named_parameters()
    assert iter(listing) is listing
    expected = {"0.weight": (3, 4), "0.bias": (3,), "2.weight": (1, 3), "2.bias": (1,)}
    for model in (net, net.bind(net.init(KEY))):
        assert {name: p.shape for name, p in model.named_parameters()} == expected
        assert names(model[0].named_parameters()) == ["weight", "bias"]


def test_row_17_the_parameters_of_a_part() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    params = net.init(KEY)
    assert shapes(fp.subtree(params, "2")) == {"weight": (1, 8), "bias": (1,)}
    assert shapes(params["2"]) == shapes(net[2].init(KEY))


def test_row_18_a_dead_unit_gets_no_gradient() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    params = {
        "0": {"weight": jnp.array([[1.0, 2.0], [-3.0, -4.0]]), "bias": jnp.zeros(2)},
        "2": {"weight": jnp.array([[5.0, 6.0]]), "bias": jnp.zeros(1)},
    }
    x = jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    grads = jax.grad(lambda p: net.apply(p, x).sum())(params)
    assert grads["0"]["weight"].tolist() == [[45, 60], [0, 0]]  # (9, 12) * 5, and nothing


def test_row_19_initialise_by_name() -> None:
    net = nn.Sequential(nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10))
    params = net.with_init({"**.*weight*": init.normal(0, 0.01), "**.*bias*": init.zeros()}).init(
        KEY
    )
    assert abs(params["0"]["weight"].std() - 0.01) < 0.0005
    assert not params["0"]["bias"].any()
    assert not params["2"]["bias"].any()
    by_regex = net.with_init({re.compile(".*weight.*"): init.normal(0, 0.01), "**": init.zeros()})
    assert all(jax.tree.leaves(jax.tree.map(jnp.array_equal, by_regex.init(KEY), params)))


def test_row_20_an_initializer_is_a_function_of_key_shape_and_dtype() -> None:
    for initializer in (init.constant(2.0), jax.nn.initializers.constant(2.0)):
        values = initializer(KEY, (2, 3), jnp.float32)
        assert values.tolist() == [[2, 2, 2], [2, 2, 2]]
        params = nn.Linear(3, 2).with_init({"weight": initializer}).init(KEY)
        assert np.array_equal(params["weight"], values)
    slope = jax.grad(lambda scale: scale * nn.Linear(3, 2).init(KEY)["weight"].sum())(1.0)
    np.testing.assert_allclose(slope, nn.Linear(3, 2).init(KEY)["weight"].sum())


def test_row_21_an_update_gives_a_new_tree() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    params = net.with_init({"**.bias": init.zeros()}).init(KEY)
    new = fp.update(params, {"**.bias": lambda b: b + 1})
    assert new["0"]["bias"].tolist() == [1, 1, 1]
    assert new["2"]["bias"].tolist() == [1]
    assert new["0"]["weight"] is params["0"]["weight"]
    assert params["0"]["bias"].tolist() == [0, 0, 0]


def test_row_22_an_unknown_argument_of_a_constructor_is_an_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'featuers'"):
        LinearModel(featuers=3)  # pyright: ignore
    with pytest.raises(TypeError, match="unexpected keyword argument 'biass'"):
        nn.Linear(2, 2, biass=False)  # pyright: ignore


def test_row_23_initialise_several_types() -> None:
    net = nn.Sequential(nn.Conv2d(3, 256, 3), nn.BatchNorm2d(256), nn.ReLU(), nn.Conv2d(256, 8, 3))
    net = net.with_init(
        {
            "1.bias": init.zeros(),
            "*.bias": init.zeros(),
            nn.Conv2d: init.kaiming_normal(),
            nn.BatchNorm2d: init.ones(),
        }
    )
    params = net.init(KEY)
    assert abs(params["0"]["weight"].std() - np.sqrt(2 / 27)) < 0.01
    assert round(float(np.sqrt(2 / 27)), 5) == 0.27217
    assert (params["1"]["weight"] == 1).all()
    assert not params["1"]["bias"].any()


def test_row_24_initialise_after_construction() -> None:
    net = nn.Sequential(
        *(nn.Conv3d(16, 32, 3, bias=False), nn.BatchNorm3d(32), nn.Flatten(), nn.Linear(32, 64)),
    )
    net = net.with_init(
        {
            "*.bias": init.zeros(),
            nn.Conv3d: init.kaiming_normal(mode="fan_out"),
            nn.BatchNorm3d: init.ones(),
            nn.Linear: init.normal(0, 0.02),
        }
    )
    params = net.init(KEY)
    assert abs(params["0"]["weight"].std() - 0.048113) < 0.001
    assert "bias" not in params["0"]
    assert (params["1"]["weight"] == 1).all()
    assert abs(params["3"]["weight"].std() - 0.02) < 0.001
    assert not params["3"]["bias"].any()


def test_row_25_lenet() -> None:
    class LeNet(fp.Module):
        def __init__(self) -> None:
            self.conv = nn.Sequential(
                *(nn.Conv2d(1, 6, 5), nn.Sigmoid(), nn.MaxPool2d(2, 2)),
                *(nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.MaxPool2d(2, 2)),
            )
            self.fc = nn.Sequential(
                *(nn.Linear(256, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid()),
                nn.Linear(84, 10),
            )

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.fc(self.conv(x).reshape(x.shape[0], -1))

    model = LeNet()
    assert {name: p.shape for name, p in model.named_parameters()} == {
        "conv.0.weight": (6, 1, 5, 5),
        "conv.0.bias": (6,),
        "conv.3.weight": (16, 6, 5, 5),
        "conv.3.bias": (16,),
        "fc.0.weight": (120, 256),
        "fc.0.bias": (120,),
        "fc.2.weight": (84, 120),
        "fc.2.bias": (84,),
        "fc.4.weight": (10, 84),
        "fc.4.bias": (10,),
    }
    assert sum(p.size for p in model.parameters()) == 44_426
    assert fp.summary(model).parameters == 44_426
    y = jax.eval_shape(model.apply, model.abstract(), jnp.ones((2, 1, 28, 28)))
    assert y.shape == (2, 10)


def test_row_26_parameters_with_and_without_names() -> None:
    net = eight()
    assert [p for _, p in net.named_parameters()] == list(net.parameters())
    view = net.bind(net.init(KEY))
    for (_, one), two in zip(view.named_parameters(), view.parameters(), strict=True):
        assert one is two


def test_row_27_the_mode_holds_for_the_whole_tree_and_compiles_twice() -> None:
    modes: list[bool] = []

    class Probe(fp.Module):
        def __call__(self, x: jax.Array) -> jax.Array:
            modes.append(self.training)
            return x

    net = nn.Sequential(Probe(), nn.Sequential(nn.Sequential(Probe())))
    apply = jax.jit(net.apply, static_argnames="training")
    for training in (True, False, True, False):
        apply({}, jnp.ones(1), training=training)
    assert modes == [True, True, False, False]


def test_row_28_batch_normalisation() -> None:
    model = nn.BatchNorm1d(1)
    params, state = model.init(KEY), model.init_state()
    assert {name: leaf.item() for name, leaf in state.items()} == {
        "running_mean": 0,
        "running_var": 1,
        "num_batches_tracked": 0,
    }
    assert jnp.issubdtype(state["num_batches_tracked"].dtype, jnp.integer)
    x = jnp.array([[1.0], [2.0], [3.0], [6.0]])
    y, new = model.apply_with_state(params, state, x, training=True)
    np.testing.assert_allclose(new["running_mean"], [0.3], rtol=1e-6)
    np.testing.assert_allclose(new["running_var"], [1.36667], rtol=1e-5)
    assert new["num_batches_tracked"] == 1
    np.testing.assert_allclose(y.ravel(), [-1.06904, -0.53452, 0, 1.60357], atol=1e-5)

    def mean(x: jax.Array) -> jax.Array:
        return model.apply_with_state(params, state, x, training=True)[1]["running_mean"].sum()

    assert not jax.grad(mean)(x).any()
    averaging = nn.BatchNorm1d(1, momentum=None)
    for index, batch in enumerate((x, x + 1, x + 5)):
        _, state = averaging.apply_with_state(params, state, batch, training=True)
        np.testing.assert_allclose(state["running_mean"], [(3, 3.5, 5)[index]], rtol=1e-6)


def test_row_29_children_are_direct_and_modules_are_all_each_once() -> None:
    net = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.ReLU()), *[nn.Tanh()] * 2)
    assert names(net.named_children()) == ["0", "1", "2"]
    assert names(net.named_modules()) == ["", "0", "1", "1.0", "2"]
    assert len(list(net.children())) == 3
    assert len(list(net.modules())) == 5
    tied, _ = squared()
    assert names(tied.named_children()) == ["0"]
    assert names(tied.named_modules()) == ["", "0"]


def test_row_30_casts_change_floating_arrays_only() -> None:
    net = nn.Sequential(norm := nn.BatchNorm1d(2), nn.Linear(2, 2), norm)
    params, state = net.init(KEY), net.init_state()
    for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):
        cast, stats = fp.cast(params, dtype), fp.cast(state, dtype)
        assert {leaf.dtype for leaf in jax.tree.leaves(cast)} == {jnp.dtype(dtype)}
        assert stats["0"]["running_mean"].dtype == dtype
        assert stats["0"]["num_batches_tracked"].dtype == jnp.int32
        assert cast["2"] == stats["2"] == fp.Ref(".0")
    with jax.enable_x64(True):
        assert fp.cast(params, jnp.float64)["1"]["weight"].dtype == jnp.float64
    with pytest.raises(TypeError, match="cannot cast to int32"):
        fp.cast(params, jnp.int32)


def test_row_31_moving_to_a_device_keeps_ties() -> None:
    net, params = squared()
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    moved = jax.device_put(params, jax.tree.map(lambda _: device, params))
    assert moved["1"] == fp.Ref(".0")
    assert moved["0"]["weight"].sharding == device
    assert net.apply(moved, jnp.ones((1, 1))) == 9


def test_row_32_the_order_of_parameters() -> None:
    shared = nn.Linear(1, 1)

    class Inner(fp.Module):
        def __init__(self) -> None:
            self.child = shared
            self.norm = nn.LayerNorm(1)
            self.own = fp.param((1,), init.zeros())
            self.tied = shared.weight
            self.none = None

    class Outer(fp.Module):
        def __init__(self) -> None:
            self.first = Inner()
            self.absent = nn.Linear(1, 1, bias=False)
            self.again = shared
            self.late = fp.param((1,), init.zeros())

    assert names(Outer().named_parameters()) == [
        *("late", "first.own", "first.tied", "first.child.bias"),
        *("first.norm.weight", "first.norm.bias", "absent.weight"),
    ]
    assert names(Outer().named_parameters(remove_duplicate=False)) == [
        *("late", "first.own", "first.tied", "first.child.weight", "first.child.bias"),
        *("first.norm.weight", "first.norm.bias", "absent.weight", "again.weight", "again.bias"),
    ]


def test_row_33_parameters_in_lists_and_dicts_are_found() -> None:
    class Net(fp.Module):
        def __init__(self) -> None:
            self.layers = [nn.Linear(2, 2, bias=False), nn.Linear(2, 2)]
            self.heads = {"cls": nn.Linear(2, 3, bias=False)}

        def __call__(self, x: jax.Array) -> jax.Array:
            for layer in self.layers:
                x = layer(x)
            return self.heads["cls"](x)

    model = Net()
    assert names(model.named_parameters()) == [
        *("layers.0.weight", "layers.1.weight", "layers.1.bias", "heads.cls.weight"),
    ]
    params = model.init(KEY)
    assert shapes(params)["heads.cls.weight"] == (3, 2)
    assert model.apply(params, jnp.ones((1, 2))).shape == (1, 3)
