"""Selection inside parametrizations: names of leaves, frozen ones, ones that keep their dtype."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcparams as fp
from funcparams import init
from tests.models import Chain, Language, Linear, filled, same_arrays


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LowRank(fp.Parametrization):
    """base + a @ b, with the base frozen."""

    frozen: ClassVar[tuple[str, ...]] = ("base",)

    base: Any
    a: Any
    b: Any

    def value(self) -> jax.Array:
        base = self.base.value() if isinstance(self.base, fp.Parametrization) else self.base
        return jax.lax.stop_gradient(base) + self.a @ self.b


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Quantized(fp.Parametrization):
    """Integers and a scale that keeps its dtype."""

    frozen: ClassVar[tuple[str, ...]] = ("q", "scale")
    uncast: ClassVar[tuple[str, ...]] = ("scale",)

    q: Any
    scale: Any

    def value(self) -> jax.Array:
        return self.q.astype(jnp.float32) * self.scale


MODEL = Chain(Linear(2, 3), Linear(3, 2))


def quantized() -> Quantized:
    return Quantized(jnp.ones((2, 3), jnp.int8), jnp.ones((2, 1)))


def adapted() -> Any:
    """Params with a low rank at one place, and at the other one on quantised weights."""
    params = filled(MODEL)
    params["0"]["weight"] = LowRank(params["0"]["weight"], jnp.ones((3, 1)), jnp.zeros((1, 2)))
    params["1"]["weight"] = LowRank(quantized(), jnp.ones((2, 1)), jnp.zeros((1, 3)))
    return params


def named(tree: Any, value: Any = True) -> list[str]:
    return [name for name, found in fp.flatten(tree).items() if found == value]


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("0.weight", ["0.weight.a", "0.weight.b"]),
        ("**.weight", ["0.weight.a", "0.weight.b", "1.weight.a", "1.weight.b"]),
        ("0.*", ["0.bias", "0.weight.a", "0.weight.b"]),
        ("**.a", ["0.weight.a", "1.weight.a"]),
        ("1.weight.base.scale", ["1.weight.base.scale"]),
        ("**.base", ["0.weight.base"]),
        ("**.base.**", ["1.weight.base.q", "1.weight.base.scale"]),
        (re.compile(r".*\.weight\.[ab]"), ["0.weight.a", "0.weight.b", "1.weight.a", "1.weight.b"]),
        (fp.Names(["1.weight"]), ["1.weight.a", "1.weight.b"]),
        (fp.Names(["1.weight.b"]), ["1.weight.b"]),
        (("0.weight.a", "*.bias"), ["0.bias", "0.weight.a", "1.bias"]),
        # A predicate hears the parameter's name, and sees each leaf.
        (lambda name, p: name == "0.weight", ["0.weight.a", "0.weight.b"]),
        (
            lambda name, p: not name.endswith("bias") and p.shape[0] == 1,
            ["0.weight.b", "1.weight.b"],
        ),
    ],
)
def test_what_a_where_means_inside(where: Any, names: list[str]) -> None:
    mask = fp.mask(adapted(), where)
    assert named(mask) == names
    assert jax.tree.structure(mask) == jax.tree.structure(adapted())
    meant, rest = fp.partition(adapted(), where)
    assert list(fp.flatten(meant)) == names
    assert sorted([*names, *fp.flatten(rest)]) == sorted(fp.flatten(adapted()))
    assert same_arrays(fp.combine(meant, rest), adapted())
    assert same_arrays(fp.combine(rest, meant), adapted())


def test_a_part_without_leaves_is_a_hole() -> None:
    params = adapted()
    meant, rest = fp.partition(params, "*.bias")
    assert meant["0"]["weight"] is None
    assert rest["0"]["weight"] is params["0"]["weight"]


def test_combine_of_three_parts() -> None:
    one, rest = fp.partition(adapted(), "**.a")
    two, three = fp.partition(rest, "**.b")
    assert same_arrays(fp.combine(one, two, three), adapted())


def test_combine_refuses_parts_of_two_nodes() -> None:
    one, two = LowRank(None, 1, None), LowRank(1, 2, 3)
    for other in (two, quantized()):
        with pytest.raises(fp.MismatchError, match="w: filled in 2 trees"):
            fp.combine({"w": one}, {"w": other})
    assert fp.combine({"w": one}, {"w": LowRank(1, None, 3)}) == {"w": LowRank(1, 1, 3)}


def test_selecting_nothing_lists_the_leaves() -> None:
    with pytest.raises(fp.SelectionError) as caught:
        fp.mask({"w": LowRank(1, 2, 3)}, "w.c")
    text = "'w.c' selects nothing; did you mean 'w.b'?\n  The names are w, w.base, w.a, w.b."
    assert str(caught.value) == text


def test_gradients_and_optimisers_meet_what_is_learnt() -> None:
    """Integers and a frozen base never reach jax.grad, nor weight decay."""
    params = adapted()
    tuned, frozen = fp.partition(params, fp.trainable(MODEL))
    x = jnp.ones((4, 2))

    def loss(tuned: Any) -> Any:
        return (MODEL.apply(fp.combine(tuned, frozen), x) ** 2).mean()

    optimizer = optax.adamw(0.1, weight_decay=0.1, mask=lambda p: fp.mask(p, "**.a"))
    state = optimizer.init(tuned)
    grads = jax.jit(jax.grad(loss))(tuned)
    assert list(fp.flatten(grads)) == list(fp.flatten(tuned))
    updates, _ = optimizer.update(grads, state, tuned)
    new = fp.combine(optax.apply_updates(tuned, updates), frozen)
    assert new["1"]["weight"].base.q is params["1"]["weight"].base.q
    assert not np.array_equal(new["0"]["weight"].b, params["0"]["weight"].b)


def test_labels_reach_every_leaf() -> None:
    labels = fp.label(adapted(), {"**.a": "fast", "*.weight": "slow"}, default="none")
    assert named(labels, "fast") == ["0.weight.a", "1.weight.a"]
    assert named(labels, "none") == ["0.bias", "1.bias"]
    labels = fp.label(adapted(), {"*.weight": "slow", "**.a": "fast", "**": "none"})
    assert named(labels, "fast") == []  # the first rule wins
    with pytest.raises(fp.MismatchError, match=r"no rule means 0\.weight\.base, 0\.weight\.b"):
        fp.label(adapted(), {"**.a": 1, "*.bias": 2, "1.*": 3})


def test_update_changes_fields_by_their_names() -> None:
    new = fp.update(adapted(), {"0.weight.a": 7.0, "**.b": lambda b: b + 1})
    assert new["0"]["weight"].a.tolist() == [[7.0]] * 3
    assert new["0"]["weight"].b.tolist() == new["1"]["weight"].b[:, :2].tolist() == [[1, 1]]
    with pytest.raises(fp.MismatchError) as caught:
        fp.update(adapted(), {"0.weight": 1.0, "1.weight.a": jnp.ones(3)})
    assert str(caught.value) == (
        "update: values do not fit\n"
        "  0.weight: holds a LowRank, which computes its array; change its fields, 0.weight.*, "
        "or put an array there: fp.materialize\n"
        "  1.weight.a: expected float32[2,1], got float32[3]"
    )


def test_cast_leaves_what_keeps_its_dtype() -> None:
    half = fp.cast(adapted(), jnp.bfloat16)
    node = half["1"]["weight"]
    assert node.a.dtype == half["0"]["weight"].base.dtype == jnp.bfloat16
    assert node.base.q.dtype == jnp.int8
    assert node.base.scale.dtype == jnp.float32
    for where in ("**.scale", "1.weight.base.scale"):
        again = fp.cast(adapted(), jnp.bfloat16, where)["1"]["weight"]
        assert again.base.scale.dtype == jnp.bfloat16
        assert again.a.dtype == jnp.float32


def test_a_shared_node_has_all_its_names() -> None:
    params = filled(Language())
    weight = params["wte"]["weight"]
    params["wte"] = {"weight": LowRank(weight, jnp.zeros((5, 1)), jnp.zeros((1, 3)))}
    assert named(fp.mask(params, "head.weight")) == ["wte.weight.a", "wte.weight.b"]
    assert named(fp.mask(params, "head.weight.b")) == ["wte.weight.b"]


# unflatten


def test_unflatten_puts_nodes_back() -> None:
    params = adapted()
    flat = fp.flatten(params)
    assert list(flat)[1:4] == ["0.weight.a", "0.weight.b", "0.weight.base"]
    assert same_arrays(fp.unflatten(MODEL, flat, like=params), params)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    assert same_arrays(fp.unflatten(MODEL, flat, like=shapes), params)


def test_unflatten_takes_an_array_in_a_node_s_place() -> None:
    params = adapted()
    plain = filled(MODEL)
    assert same_arrays(fp.unflatten(MODEL, fp.flatten(plain), like=params), plain)


def test_unflatten_refuses_what_does_not_fit() -> None:
    params = adapted()
    flat = fp.flatten(params)
    with pytest.raises(fp.MismatchError) as caught:
        fp.unflatten(MODEL, flat)
    assert "unflatten: Chain has no such params\n" in str(caught.value)
    assert (
        "  0.weight.a: unexpected float32[3,1]; to fill a parametrization's fields, give "
        "unflatten(..., like=params)\n"
    ) in str(caught.value)
    del flat["0.weight.a"]
    flat["0.weight.b"] = jnp.ones(2)
    with pytest.raises(fp.MismatchError) as caught:
        fp.unflatten(MODEL, flat, like=params)
    assert str(caught.value).startswith(
        "unflatten: params do not fit Chain\n"
        "  0.weight.a: missing, expected float32[3,1]\n"
        "  0.weight.b: expected float32[1,2], got float32[2]\n"
    )


# Classes that JAX knows too little of


def test_a_frozen_field_needs_a_name() -> None:
    class Nameless(fp.Parametrization):
        frozen = ("x",)

        def __init__(self, x: Any):
            self.x = x

        def value(self) -> jax.Array:
            return self.x

    text = (
        "Nameless is a parametrization whose fields JAX does not know by name.\n"
        "  Register it with jax.tree_util.register_dataclass."
    )
    node = Nameless(jnp.ones(2))
    with pytest.raises(TypeError) as caught:  # it is not registered at all
        fp.mask({"w": node}, "w")
    assert str(caught.value) == text
    jax.tree_util.register_pytree_node(
        Nameless, lambda n: ((n.x,), None), lambda _, x: Nameless(*x)
    )
    with pytest.raises(TypeError) as caught:
        fp.mask({"w": node}, "w")
    assert str(caught.value) == text


def test_without_frozen_fields_numbers_serve_as_names() -> None:
    class Plain(fp.Parametrization):
        def __init__(self, x: Any):
            self.x = x

        def value(self) -> jax.Array:
            return self.x

    jax.tree_util.register_pytree_node(Plain, lambda n: ((n.x,), None), lambda _, x: Plain(*x))
    params = {"w": Plain(jnp.ones(2))}
    (name,) = fp.flatten(params)
    assert fp.mask(params, name)["w"].x is True


def test_predicates_over_a_model_with_nodes() -> None:
    """The usual mask of weight decay, by rank, goes through nodes."""

    class Scale(fp.Module):
        def __init__(self) -> None:
            self.scale = fp.param((3,), init.ones())
            self.weight = fp.param((2, 3), init.ones())

    params = {"scale": jnp.ones(3), "weight": quantized()}
    assert fp.mask(params, lambda name, p: p.ndim < 2) == {
        "scale": True,
        "weight": Quantized(False, False),
    }
    assert Scale().bind(params).weight.shape == (2, 3)
