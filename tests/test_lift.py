"""Managed transforms inside a call: remat, pure, assign_state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcparams as fp
from funcparams import nn
from tests.models import Block, Chain, Counter, Drop, Linear, filled, normal, same_arrays

KEY = jax.random.key(0)
X = jnp.arange(6.0).reshape(2, 3)


class Lifted(fp.Module):
    """Calls its child through a function of it."""

    def __init__(self, child: Any, how: Callable[..., Any], **others: Any):
        self.how = how
        self.child = child
        for name, other in others.items():
            setattr(self, name, other)

    def __call__(self, x: Any) -> Any:
        return self.how(self, x)


def plainly(self: Any, x: Any) -> Any:
    return self.child(x)


def rematted(self: Any, x: Any) -> Any:
    return fp.remat(self.child)(x)


def run(model: fp.Module, **options: Any) -> tuple[Any, Any]:
    """Value and gradient of a loss, new state included."""
    params, state = filled(model), model.init_state()

    def loss(params: Any) -> Any:
        y, new = model.apply_with_state(params, state, X / 100, **options)
        return (y**2).mean(), (y, new)

    return jax.value_and_grad(loss, has_aux=True)(params)


# remat


@pytest.mark.parametrize("training", [True, False])
def test_remat_equals_the_plain_call(training: bool) -> None:
    """Values, gradients, buffers and dropout masks."""
    child = Chain(Block(3), Drop(0.3), Block(3))
    (_, (y, state)), grads = run(Lifted(child, plainly), key=KEY, training=training)
    (_, (y2, state2)), grads2 = run(Lifted(child, rematted), key=KEY, training=training)
    assert np.array_equal(y, y2)
    assert same_arrays(state, state2)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), grads, grads2)


def test_remat_keeps_the_names_and_counts_of_shared_modules() -> None:
    """A dropout that belongs to another place draws the same, before, inside and after."""
    drop = Drop()
    block = Chain(drop, Drop())

    def around(remat: bool) -> Callable[..., Any]:
        def how(self: Any, x: Any) -> Any:
            call = fp.remat(self.child) if remat else self.child
            return self.drop(call(self.drop(x))), call(x), self.drop(x)

        return how

    results = []
    for remat in (False, True):
        # Owned outside of the child (assigned before it), and inside.
        for order in (("drop", "child"), ("child", "drop")):
            model = Lifted(None, around(remat)).replace(child=None)
            members = {"drop": drop, "child": block}
            model = Ordered(around(remat), {name: members[name] for name in order})
            y, _ = model.apply_with_state({}, {}, jnp.ones(64), key=KEY, training=True)
            results.append(y)
    for plain, remat in zip(results[:2], results[2:], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(plain, remat, strict=True))
        masks = [np.asarray(part != 0).tobytes() for part in plain]
        assert len(set(masks)) == 3


class Ordered(fp.Module):
    def __init__(self, how: Callable[..., Any], members: dict[str, Any]):
        self.how = how
        for name, member in members.items():
            setattr(self, name, member)

    def __call__(self, x: Any) -> Any:
        return self.how(self, x)


def test_remat_of_a_part_of_a_sequence() -> None:
    net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 8), nn.Dropout(0.5))

    def how(self: Any, x: Any) -> Any:
        return self.child[2:](fp.remat(self.child[:2])(x))

    (_, (y, _)), grads = run(Lifted(net, plainly), key=KEY, training=True)
    (_, (y2, _)), grads2 = run(Lifted(net, how), key=KEY, training=True)
    assert np.array_equal(y, y2)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), grads, grads2)


def test_remat_saves_nothing_but_its_inputs() -> None:
    child = Chain(*[Linear(3, 3), jnp.sin] * 3)
    params = filled(Lifted(child, plainly))

    def kept(how: Callable[..., Any]) -> int:
        model = Lifted(child, how)
        _, pullback = jax.vjp(lambda p: model.apply(p, X), params)
        return sum(np.size(leaf) for leaf in jax.tree.leaves(pullback))

    assert kept(rematted) < kept(plainly)
    everything = jax.checkpoint_policies.everything_saveable
    assert kept(lambda self, x: fp.remat(self.child, policy=everything)(x)) == kept(plainly)


def test_remat_leaks_no_tracer() -> None:
    model = Lifted(Block(3), rematted)
    params, state = filled(model), model.init_state()

    def loss(params: Any) -> Any:
        return model.apply_with_state(params, state, X, key=KEY, training=True)[0].sum()

    with jax.checking_leaks():
        jax.eval_shape(jax.grad(loss), params)


def test_remat_takes_any_arguments() -> None:
    class Picky(fp.Module):
        def __init__(self) -> None:
            self.layer = Linear(3, 3)

        def __call__(self, tree: Any, *, flag: bool, name: str, none: Any = None) -> Any:
            assert flag is True
            assert name == "name"
            assert none is None
            return {"y": self.layer(tree["x"][0])}

    def how(self: Any, x: Any) -> Any:
        result = fp.remat(self.child)({"x": [x, 3, "text"]}, flag=True, name="name")
        return result["y"]

    model = Lifted(Picky(), how)
    assert jax.jit(model.apply)(filled(model), X).shape == (2, 3)


def test_remat_inside_remat() -> None:
    inner = Lifted(Block(3), rematted)
    (_, (y, state)), _ = run(Lifted(inner, rematted), key=KEY, training=True)
    (_, (y2, state2)), _ = run(Lifted(Lifted(Block(3), plainly), plainly), key=KEY, training=True)
    assert np.array_equal(y, y2)
    assert same_arrays(state, state2)


def test_remat_begun_inside_a_transform_is_refused() -> None:
    model = Lifted(Linear(3, 3), lambda self, x: jax.vmap(fp.remat(self.child))(x))
    with pytest.raises(fp.StateUpdateError, match="child: remat happens inside a jax transform"):
        model.apply(filled(model), X)


def test_remat_of_a_view_as_argument_is_refused() -> None:
    model = Lifted(Linear(3, 3), lambda self, x: fp.remat(self.child)(self))
    with pytest.raises(fp.BoundError, match="cannot pass through a jax transform"):
        model.apply(filled(model), X)


# pure


def test_pure_gives_function_params_and_state() -> None:
    def how(self: Any, x: Any) -> Any:
        f, params, state = fp.pure(self.child)
        assert params["layer"]["weight"] is self.child.layer.weight
        assert jax.tree.structure(state) == jax.tree.structure(Block(3).init_state())
        y, new = f(params, state, x, key=KEY)
        assert new["norm"]["calls"] == 1  # the mode is the call's own
        assert self.child.norm.calls == 0
        y_eval, same = f(params, state, x, training=False)
        assert same["norm"]["calls"] is state["norm"]["calls"]
        return y, y_eval

    model = Lifted(Block(3), how)
    params, state = filled(model), model.init_state()
    (y, y_eval), new = model.apply_with_state(params, state, X, training=True)
    assert np.array_equal(y_eval, Block(3).apply(params["child"], X, state=state["child"]))
    assert same_arrays(new, state)
    assert not np.array_equal(y, y_eval)


def test_scan_over_a_child() -> None:
    def scanned(self: Any, x: Any) -> Any:
        f, params, state = fp.pure(self.child)
        keys = jax.random.split(self.next_key(), 4)

        def body(carry: Any, key: Any) -> Any:
            x, state = carry
            x, state = f(params, state, x, key=key)
            return (x, state), None

        (x, state), _ = jax.lax.scan(body, (x, state), keys)
        fp.assign_state(self.child, state)
        return x

    def unrolled(self: Any, x: Any) -> Any:
        f, params, state = fp.pure(self.child)
        for key in jax.random.split(self.next_key(), 4):
            x, state = f(params, state, x, key=key)
        fp.assign_state(self.child, state)
        return x

    (_, (y, state)), grads = run(Lifted(Block(3), scanned), key=KEY, training=True)
    (_, (y2, state2)), grads2 = run(Lifted(Block(3), unrolled), key=KEY, training=True)
    assert state["child"]["norm"]["calls"] == 4
    for one, two in ((y, y2), (state, state2), (grads, grads2)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4), one, two)


def test_vmap_over_a_child() -> None:
    """Every row has its own mask; state comes back per row, to be reduced by the user."""

    def rows(self: Any, x: Any) -> Any:
        f, params, state = fp.pure(self.child)
        keys = jax.random.split(self.next_key(), len(x))
        mapped = jax.vmap(lambda x, key: f(params, state, x, key=key))
        y, states = mapped(x, keys)
        fp.assign_state(self.child, jax.tree.map(lambda leaf: leaf[0], states))
        return y

    model = Lifted(Chain(Drop(), Counter(16)), rows)
    params, state = filled(model), model.init_state()
    y, new = model.apply_with_state(params, state, jnp.ones((4, 16)), key=KEY, training=True)
    assert len({np.asarray(row != row.min()).tobytes() for row in y}) == 4
    assert new["child"]["1"]["calls"] == 1


def test_keys_of_pure_go_by_the_childs_full_name() -> None:
    class Draw(fp.Module):
        def __call__(self) -> Any:
            return self.next_key()

    def how(self: Any, x: Any) -> Any:
        plain = self.child()
        f, params, state = fp.pure(self.child)
        again, _ = f(params, state, key=KEY)
        g, params, state = fp.pure(self.owner)
        return plain, again, g(params, state, key=KEY)[0]

    draw = Draw()
    model = Ordered(how, {"owner": draw, "child": draw})
    plain, again, owner = model.apply({}, X, key=KEY)
    assert plain == again == owner  # one module, one name


def test_pure_needs_a_key_where_the_child_draws() -> None:
    def how(self: Any, x: Any) -> Any:
        f, params, state = fp.pure(self.child)
        return f(params, state, x)[0]

    model = Lifted(Chain(Drop()), how)
    with pytest.raises(
        fp.KeyRequiredError, match=r"^child\.0 \(Drop\) draws random numbers, and no key"
    ):
        model.apply({}, X, key=KEY, training=True)


def test_pure_checks_its_params() -> None:
    def how(self: Any, x: Any) -> Any:
        f, _, state = fp.pure(self.child)
        return f({}, state, x)[0]

    model = Lifted(Linear(3, 3), how)
    with pytest.raises(fp.MismatchError, match="params do not fit Linear: 2 problems"):
        model.apply(filled(model), X)


def test_what_is_not_trainable_stays_so_inside() -> None:
    class Frozen(fp.Module):
        def __init__(self) -> None:
            self.layer = Linear(3, 3).replace(weight=fp.param((3, 3), normal, trainable=False))

        def __call__(self, x: Any) -> Any:
            f, params, state = fp.pure(self.layer)
            return fp.remat(self.layer)(x) + f(params, state, x)[0]

    model = Frozen()
    grads = jax.grad(lambda p: model.apply(p, X).sum())(filled(model))
    assert not grads["layer"]["weight"].any()
    assert grads["layer"]["bias"].all()


def test_ties_to_the_outside_and_inside_a_child() -> None:
    shared = Linear(3, 3)
    child = Chain(shared, Linear(3, 3).replace(weight=shared.weight))

    def how(self: Any, x: Any) -> Any:
        f, params, state = fp.pure(self.child)
        assert params["1"]["weight"] == fp.Ref("..0.weight")
        assert params["0"]["weight"] is self.first.weight
        return fp.remat(self.child)(f(params, state, self.first(x))[0])

    model = Ordered(how, {"first": shared, "child": child})
    params = filled(model)
    y = model.apply(params, X)
    plain = Chain(shared, child, child).apply(
        {"0": params["first"], "1": {"1": {"bias": params["child"]["1"]["bias"]}}}, X
    )
    np.testing.assert_allclose(y, plain, rtol=1e-5)


# assign_state


@pytest.mark.parametrize(
    ("state", "error", "lines"),
    [
        ({}, fp.MismatchError, ["calls: missing", "mean: missing"]),
        (
            {"calls": 1, "maen": jnp.ones(3)},
            fp.MismatchError,
            ["mean: missing", "maen: unexpected", "To mend: give the state that the function"],
        ),
        (
            {"calls": 1, "mean": jnp.ones(4)},
            fp.StateUpdateError,
            ["child.mean: the buffer is float32[3], got float32[4]."],
        ),
    ],
)
def test_assign_state_refuses(state: Any, error: type[Exception], lines: list[str]) -> None:
    def how(self: Any, x: Any) -> Any:
        before = self.child.calls, self.child.mean
        try:
            fp.assign_state(self.child, state)
        finally:
            assert self.child.calls is before[0]
            assert self.child.mean is before[1]

    model = Lifted(Counter(), how)
    with pytest.raises(error) as caught:
        model.apply_with_state(filled(model), model.init_state(), X)
    for line in lines:
        assert line in str(caught.value)


def test_assign_state_of_the_same_arrays_is_no_update() -> None:
    def how(self: Any, x: Any) -> Any:
        _, _, state = fp.pure(self.child)
        fp.assign_state(self.child, state)
        return x

    model = Lifted(Counter(), how)
    assert model.apply(filled(model), X, state=model.init_state()) is X
