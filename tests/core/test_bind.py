"""Bound views: arrays for declarations, calls of them, and what they are not for."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcparams as fp
from tests.models import Block, Chain, Counter, Drop, Language, Linear, filled, normal, ones

KEY = jax.random.key(0)
X = jnp.arange(6.0).reshape(2, 3)


# Views


def test_a_view_holds_arrays_and_what_the_definition_holds() -> None:
    model = Chain(Linear(3, 2), [Linear(2, 2), {"a": fp.param((1,), ones)}, "text"], None)
    params = filled(model)
    view: Any = model.bind(params)
    assert type(view) is Chain
    assert getattr(view, "0").weight is params["0"]["weight"]
    assert getattr(view, "1")[0].bias is params["1"]["0"]["bias"]
    assert getattr(view, "1")[1]["a"] is params["1"]["1"]["a"]
    assert getattr(view, "1")[2] == "text"
    assert getattr(view, "2") is None
    assert view.count == 3
    assert getattr(model, "0").weight.shape == (2, 3)  # the definition is what it was


def test_a_shared_module_is_one_view() -> None:
    layer = Linear(1, 1)
    view: Any = Chain(layer, [layer]).bind({"0": filled(layer)})
    assert getattr(view, "0") is getattr(view, "1")[0]


def test_any_method_runs_on_a_view() -> None:
    class Codec(fp.Module):
        def __init__(self) -> None:
            self.layer = Linear(3, 2, bias=False)

        def encode(self, x: Any) -> Any:
            return self.layer(x)

        def decode(self, z: Any) -> Any:
            return z @ self.layer.weight

        @property
        def width(self) -> int:
            return self.layer.weight.shape[0]

    model = Codec()
    view = model.bind(filled(model))
    assert view.decode(view.encode(X)).shape == X.shape
    assert view.width == 2


def test_a_view_stays_what_it_is() -> None:
    model = Linear(1, 1)
    view = model.bind(filled(model))
    for name in ("weight", "i", "fresh", "training"):
        with pytest.raises(fp.SealedError, match="only buffers can be assigned on a bound view"):
            setattr(view, name, 1)
    with pytest.raises(fp.SealedError):
        del view.weight
    with pytest.raises(fp.BoundError, match="Linear is a bound view already"):
        view.bind(filled(model))
    for name in ("init", "apply", "apply_with_state", "abstract", "init_state"):
        with pytest.raises(fp.BoundError, match=f"{name} belongs to the finished definition"):
            getattr(view, name)


@pytest.mark.parametrize(
    "use",
    [
        lambda view: jax.jit(lambda v: 1)(view),
        lambda view: jax.vmap(lambda v, x: x, in_axes=(None, 0))(view, X),
        lambda view: jax.grad(lambda v: 1.0)(view),
        lambda view: jax.lax.scan(lambda c, _: (c, None), view, None, length=2),
        lambda view: jax.checkpoint(lambda v: 1)(view),
        lambda view: jax.tree.leaves(view),
        lambda view: jax.tree.map(jnp.shape, {"view": view}),
        lambda view: jax.eval_shape(lambda: view),
        lambda view: jax.jit(lambda x: view)(X),
    ],
    ids=["jit", "vmap", "grad", "scan", "checkpoint", "leaves", "map", "result", "jit-result"],
)
def test_a_view_cannot_pass_through_a_transform(use: Callable[[Any], Any]) -> None:
    model = Linear(3, 2)
    with pytest.raises(fp.BoundError) as caught:
        use(model.bind(filled(model)))
    text = str(caught.value)
    assert "Linear: a bound module cannot pass through a jax transform; pass params." in text
    assert "jax.jit(lambda params, x: model.apply(params, x))" in text
    assert "fp.remat(child)(x)" in text
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("use", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_view_cannot_be_copied_or_pickled(use: Callable[[Any], Any]) -> None:
    model = Chain(Linear(1, 1))
    view: Any = model.bind(filled(model))
    for part in (view, getattr(view, "0")):
        with pytest.raises(fp.BoundError, match="lives inside one apply and cannot be copied"):
            use(part)


def test_checkpoint_tells_views_apart() -> None:
    """jax.checkpoint keeps traces by its function's value: equal views would share weights."""
    model = Linear(3, 3)
    one, two = filled(model), filled(model, 100.0)
    got = [jax.checkpoint(model.bind(params))(X) for params in (one, two)]
    assert np.array_equal(got[0], model.apply(one, X))
    assert np.array_equal(got[1], model.apply(two, X))


# Calls


def test_a_definition_cannot_be_called() -> None:
    with pytest.raises(TypeError) as caught:
        Linear(3, 2)(X)
    assert isinstance(caught.value, fp.UnboundError)
    assert str(caught.value).startswith(
        "Linear is a definition and holds no arrays: calling Linear(...) needs a bound view.\n"
        "  Call model.apply(params, x)"
    )
    with pytest.raises(fp.UnboundError, match="Chain is a definition"):
        Chain(Linear(3, 2))(X)


def test_only_a_view_has_a_mode_keys_and_state() -> None:
    model = Counter()
    uses: list[Callable[[], Any]] = [
        lambda: model.training,
        model.next_key,
        lambda: fp.state_of(model),
        lambda: fp.remat(model),
        lambda: fp.pure(model),
        lambda: fp.assign_state(model, {}),
    ]
    for use in uses:
        with pytest.raises(fp.UnboundError, match="Counter is a definition and holds no arrays"):
            use()


def test_super_call_runs_once_and_under_one_name() -> None:
    class Base(fp.Module):
        def __init__(self) -> None:
            self.layer = Linear(3, 3)

        def __call__(self, x: Any) -> Any:
            return self.layer(x)

    class Derived(Base):
        def __call__(self, x: Any) -> Any:
            return super().__call__(x) + 1

    class Further(Derived):
        pass

    params = filled(Base())
    assert np.array_equal(Derived().apply(params, X), Base().apply(params, X) + 1)
    assert np.array_equal(Further().apply(params, X), Derived().apply(params, X))
    with pytest.raises(fp.UnboundError):
        Further()(X)
    text = jax.jit(Further().apply).lower(params, X).as_text(debug_info=True)
    assert "Further/layer/" in text
    assert "Further/Further" not in text


def test_names_are_in_the_program_and_change_nothing_else() -> None:
    model = Chain(Linear(3, 3), Block(3))
    params, state = filled(model), model.init_state()
    lowered = jax.jit(functools.partial(model.apply, state=state)).lower(params, X)
    compiled = lowered.compile().as_text()
    assert compiled is not None
    for name in ("Chain/0/", "Chain/1/layer/", "Chain/1/norm/"):
        assert name in compiled

    def by_hand(params: Any, x: Any) -> Any:
        x = x @ params["0"]["weight"].T + params["0"]["bias"]
        y = x @ params["1"]["layer"]["weight"].T + params["1"]["layer"]["bias"]
        return x + (y - state["1"]["norm"]["mean"]) * params["1"]["norm"]["scale"]

    def plain(text: str) -> str:
        return text.replace("_apply", "_by_hand")

    assert plain(lowered.as_text()) == plain(jax.jit(by_hand).lower(params, X).as_text())


def test_an_exception_says_in_which_module_it_arose() -> None:
    model = Chain(Chain(Linear(3, 3), Linear(4, 3)))
    with pytest.raises(TypeError) as caught:
        model.apply(filled(model), X)
    notes = [note for note in caught.value.__notes__ if "funcparams" in note]
    assert notes == ["In funcparams module 0.1 (Linear), called with float32[2,3]"]


def test_a_note_shows_every_argument() -> None:
    class Picky(fp.Module):
        def __call__(self, x: Any, *, mode: str, tree: Any) -> Any:
            raise KeyError("no such thing")

    with pytest.raises(KeyError) as caught:
        Picky().apply({}, np.ones(2), mode="a" * 200, tree={"a": 1})
    (note,) = caught.value.__notes__
    assert note.startswith(
        "In funcparams module Picky (Picky), called with float64[2], mode=str 'aaa"
    )
    assert note.endswith("tree=a dict with a")
    assert len(note) < 250


def test_the_librarys_own_errors_need_no_note() -> None:
    with pytest.raises(fp.KeyRequiredError) as caught:
        Chain(Drop()).apply({}, X, training=True)
    assert not getattr(caught.value, "__notes__", [])


def test_a_model_without_call() -> None:
    class Silent(fp.Module):
        pass

    with pytest.raises(fp.DefinitionTypeError, match="Silent has no __call__: define __call__"):
        Silent().apply({}, X)


class Attention(fp.Module):
    def __call__(self, query: Any, key: Any = 1.0, state: Any = 2.0, training: Any = 3.0) -> Any:
        return query + key + state + training


@pytest.mark.parametrize("name", ["key", "state", "training"])
def test_a_keyword_that_both_would_take(name: str) -> None:
    with pytest.raises(TypeError) as caught:
        Attention().apply({}, 1.0, **{name: 5.0})
    assert str(caught.value) == (
        f"Attention.__call__ has an argument {name!r} of its own, so apply cannot tell which is "
        f"meant.\n  Write model.bind(params, state, key=..., training=...)(x, {name}=...)."
    )


def test_a_call_without_a_signature_clashes_with_nothing() -> None:
    class Field(fp.Module):
        __call__ = getattr

        def __init__(self) -> None:
            self.rate = 3

    assert Field().apply({}, "rate", key=KEY) == 3


def test_a_clash_leaves_other_ways() -> None:
    assert Attention().apply({}, 1.0, 1.0, 1.0, 1.0) == 4
    assert Attention().bind({})(1.0, key=5.0) == 11
    y, state = Attention().apply_with_state({}, {}, 1.0, state=5.0)
    assert (y, state) == (10, {})
    with pytest.raises(fp.DefinitionTypeError, match="argument 'key' of its own"):
        Attention().apply_with_state({}, {}, 1.0, key=KEY)


# Trainable


def test_no_gradient_reaches_what_is_not_trainable() -> None:
    class Scaled(fp.Module):
        def __init__(self) -> None:
            self.scale = fp.param((), ones)
            self.fixed = fp.param((), ones, trainable=False)
            self.also = [self.fixed]

        def __call__(self, x: Any) -> Any:
            penalty = sum(jnp.square(value) for value in self.parameters())
            return self.scale * self.fixed * self.also[0] * x + penalty

    params = {"scale": 2.0, "fixed": 3.0}
    grads = jax.grad(Scaled().apply)(params, 5.0)
    assert grads == {"scale": 45 + 4, "fixed": 0}
    assert fp.trainable(Scaled()) == ("scale",)
    _, tangent = jax.jvp(lambda f: Scaled().apply({"scale": 2.0, "fixed": f}, 1.0), (3.0,), (1.0,))
    assert tangent == 0


# Purity


def test_a_failed_call_changes_nothing() -> None:
    model = Chain(Counter(), Linear(4, 4))
    params, state = filled(model), model.init_state()
    before = jax.tree.map(np.array, (params, state))
    with pytest.raises(TypeError, match="shape"):
        model.apply_with_state(params, state, X, training=True)
    jax.tree.map(np.testing.assert_array_equal, (params, state), before)


def test_vmap_over_params_and_state() -> None:
    model = Language()
    params = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf + 1, leaf + 2]), filled(model))
    assert params["head"]["weight"] == fp.Ref("..wte.weight")
    ids = jnp.array([0, 3])
    y = jax.vmap(model.apply, in_axes=(0, None))(params, ids)
    assert y.shape == (3, 2, 5)
    assert np.allclose(y[2], model.apply(filled(model, 2.0), ids), rtol=1e-5)
    counter = Counter()
    states = jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), counter.init_state())
    step = functools.partial(counter.apply_with_state, training=True)
    _, new = jax.vmap(step, in_axes=(None, 0, 0))(counter.init(KEY), states, jnp.ones((4, 2, 3)))
    assert new["calls"].tolist() == [1] * 4


def test_initializers_are_not_part_of_a_call() -> None:
    """Params for one definition serve another with other initializers."""
    model = Linear(3, 2)
    other = model.with_init({"**": normal})
    assert np.array_equal(model.apply(filled(model), X), other.apply(filled(model), X))


@pytest.fixture
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collection")
def test_a_call_keeps_no_arrays() -> None:
    """No cycle of references: what is not used any more is freed at once, without a collection."""
    model = Chain(Block(3), Counter())
    state = model.init_state()
    for call in (
        lambda params: model.apply(params, X, state=state),
        lambda params: model.apply_with_state(params, state, X, key=KEY, training=True),
        lambda params: model.bind(params, state),
    ):
        params = filled(model)
        weights = [weakref.ref(leaf) for leaf in jax.tree.leaves(params)]
        call(params)
        del params
        assert not any(weight() for weight in weights)


def test_no_tracer_leaks() -> None:
    model = Block(2)
    params, state = filled(model), model.init_state()

    def loss(params: Any, x: Any) -> Any:
        y, new = model.apply_with_state(params, state, x, key=KEY, training=True)
        return y.sum() + new["norm"]["mean"].sum()

    with jax.checking_leaks():
        jax.eval_shape(jax.jit(loss), params, jnp.ones((1, 2)))
        jax.eval_shape(jax.vmap(jax.grad(loss), in_axes=(None, 0)), params, jnp.ones((2, 1, 2)))
