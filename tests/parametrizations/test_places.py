"""parametrize and materialize: nodes put at parameters' places, and turned back into arrays."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcparams as fp
from funcparams import nn
from funcparams.parametrizations import (
    Masked,
    Place,
    WeightNorm,
    l1_unstructured,
    random_unstructured,
    weight_norm,
)
from tests.models import Chain, Language, Linear, filled, same_arrays, twice

KEY = jax.random.key(0)
MODEL = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Doubled(fp.Parametrization):
    half: Any

    def value(self) -> jax.Array:
        return 2 * self.half


def doubled(place: Place) -> Doubled:
    return Doubled(place.value / 2)


def test_nodes_stand_where_where_says() -> None:
    params = filled(MODEL)
    for where, names in [
        ("0.weight", ["0.weight"]),
        ("**.bias", ["0.bias", "2.bias"]),
        (nn.Linear, ["0.weight", "0.bias", "2.weight", "2.bias"]),
        (lambda name, p: p.ndim == 2, ["0.weight", "2.weight"]),
        (MODEL.names("2.*"), ["2.weight", "2.bias"]),
    ]:
        new = fp.parametrize(MODEL, params, where, doubled)
        found = {name for name in MODEL.names() if f"{name}.half" in fp.flatten(new)}
        assert found == set(names)
        x = jnp.ones((2, 3))
        assert np.array_equal(MODEL.apply(new, x), MODEL.apply(params, x))
        assert same_arrays(fp.materialize(MODEL, new), params)
    assert same_arrays(params, filled(MODEL))


def test_materialize_takes_a_part() -> None:
    params = fp.parametrize(MODEL, filled(MODEL), "**.weight", doubled)
    new = fp.materialize(MODEL, params, "0.*")
    assert isinstance(new["0"]["weight"], jax.Array)
    assert new["2"]["weight"] is params["2"]["weight"]
    assert same_arrays(fp.materialize(MODEL, filled(MODEL), "0.*"), filled(MODEL))
    assert fp.materialize(nn.ReLU(), {}) == {}


def test_what_make_sees() -> None:
    class Lists(fp.Module):
        def __init__(self) -> None:
            self.layers = [Linear(2, 2, bias=False)]
            self.free = {"w": fp.param((2,), jax.nn.initializers.ones)}

    seen: list[Place] = []

    def look(place: Place) -> Doubled:
        seen.append(place)
        return doubled(place)

    model = Lists()
    params = filled(model)
    fp.parametrize(model, params, "**", look, KEY)
    assert [place.name for place in seen] == ["layers.0.weight", "free.w"]
    assert [place.module for place in seen] == [model.layers[0], model]
    assert seen[0].held is params["layers"]["0"]["weight"]
    assert len({str(jax.random.key_data(place.key)) for place in seen}) == 2


def test_keys_follow_names() -> None:
    """A place's key depends on the given key and its name, not on what else is meant."""
    masks = [
        fp.parametrize(MODEL, filled(MODEL), where, random_unstructured(3), key)["2"]["weight"].mask
        for where, key in [("2.weight", KEY), ("**.weight", KEY), ("2.weight", jax.random.key(1))]
    ]
    assert np.array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2])


def test_the_owner_of_a_tie_carries_the_node() -> None:
    model = Language()
    params = filled(model)
    ids = jnp.array([0, 2])
    for where in ("wte.weight", "**.weight"):
        new = fp.parametrize(model, params, where, doubled)
        assert isinstance(new["wte"]["weight"], Doubled)
        assert new["head"]["weight"] == fp.Ref("..wte.weight")
        assert np.array_equal(model.apply(new, ids), model.apply(params, ids))
        assert same_arrays(fp.materialize(model, new, "head.weight")["wte"], params["wte"])


def test_an_aliased_name_is_refused() -> None:
    for model, where, text in [
        (Language(), "head.weight", "head.weight is shared with wte.weight"),
        (Language(), "head.*", "head.weight is shared with wte.weight"),
        (twice(), "2.*", "2.weight is shared with 0.weight, 2.bias is shared with 0.bias"),
    ]:
        with pytest.raises(fp.SharingError) as caught:
            fp.parametrize(model, filled(model), where, doubled)
        assert str(caught.value) == (
            f"parametrize: {text}, which holds the array.\n"
            "  Name the owner, and all places follow it; or separate them first: "
            "fp.untie(model, params, where)."
        )
    model, params = fp.untie(Language(), filled(Language()), "head.weight")
    new = fp.parametrize(model, params, "head.weight", doubled)
    assert isinstance(new["head"]["weight"], Doubled)
    assert isinstance(new["wte"]["weight"], jax.Array)


def test_a_node_that_refers_elsewhere() -> None:
    """A field may be a reference: the place is then computed from another parameter."""
    model = Chain(Linear(2, 2, bias=False), Linear(2, 2, bias=False))
    new = fp.parametrize(model, filled(model), "1.weight", lambda _: Doubled(fp.Ref("..0.weight")))
    new = fp.parametrize(model, new, "0.weight", doubled)
    assert np.array_equal(
        fp.materialize(model, new)["1"]["weight"], 2 * filled(model)["0"]["weight"]
    )


def test_nothing_meant() -> None:
    with pytest.raises(fp.SelectionError, match=r"did you mean '0\.weight'"):
        fp.parametrize(MODEL, filled(MODEL), "0.weigth", doubled)
    with pytest.raises(fp.SelectionError, match=r"'3\.weight' selects nothing"):
        fp.materialize(MODEL, filled(MODEL), "3.weight")


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            "weight_norm",
            TypeError,
            "parametrize(make='weight_norm'): expected a function from an "
            "fp.parametrizations.Place to a parametrization, such as "
            "fp.parametrizations.weight_norm().",
        ),
        (
            lambda place: place.value,
            TypeError,
            "parametrize: 0.weight: make gave float32[4,3], and not a parametrization: a subclass "
            "of fp.Parametrization with a method value(self).",
        ),
        (
            lambda place: Doubled(place.value.T),
            ValueError,
            "parametrize: 0.weight: expected float32[4,3], and Doubled.value() gives float32[3,4].",
        ),
        (
            lambda place: Doubled(place.value.astype(jnp.bfloat16)),
            ValueError,
            "parametrize: 0.weight: expected float32[4,3], and Doubled.value() gives "
            "bfloat16[4,3].",
        ),
        (
            lambda place: WeightNorm(place.value, None),
            ValueError,
            "parametrize: 0.weight: WeightNorm.value() fails: ",
        ),
        (
            lambda place: Doubled(fp.Ref("..1.weight")),
            ValueError,
            "parametrize: 0.weight: Doubled.value() fails: 0.weight is Ref('..1.weight'), but "
            "there is no 1.weight",
        ),
        (
            random_unstructured(1),
            ValueError,
            "0.weight: this parametrization draws random numbers, and no key was given.\n"
            "  Give one: fp.parametrize(model, params, where, make, key=jax.random.key(0)).",
        ),
    ],
)
def test_parametrize_refuses(make: Any, error: type[Exception], text: str) -> None:
    params = filled(MODEL)
    with pytest.raises(error) as caught:
        fp.parametrize(MODEL, params, "0.weight", make)
    assert isinstance(caught.value, fp.FuncparamsError)
    assert str(caught.value).startswith(text)
    assert same_arrays(params, filled(MODEL))


def test_params_that_do_not_fit() -> None:
    with pytest.raises(fp.MismatchError, match="params do not fit Sequential"):
        fp.parametrize(MODEL, {}, "**", doubled)
    with pytest.raises(fp.MismatchError, match="params do not fit Sequential"):
        fp.materialize(MODEL, {})
    with pytest.raises(fp.KeyArgumentError):
        fp.parametrize(MODEL, filled(MODEL), "**", doubled, 3)  # pyright: ignore


def test_shapes_go_through_eval_shape() -> None:
    with pytest.raises(fp.MismatchError, match=r"parametrize: 0.weight: the tree holds shapes"):
        fp.parametrize(MODEL, MODEL.abstract(), "0.weight", weight_norm())
    shapes = jax.eval_shape(
        lambda p: fp.parametrize(MODEL, p, "0.weight", weight_norm()), MODEL.abstract()
    )
    assert shapes["0"]["weight"].original0.shape == (4, 1)


def test_parametrize_inside_transforms() -> None:
    """It is a pure function of arrays: it runs under jit, and maps over a batch of params."""
    params = filled(MODEL)
    for make in (weight_norm(), l1_unstructured(0.5)):

        def put(p: Any, make: Any = make) -> Any:
            return fp.parametrize(MODEL, p, "**.weight", make)

        same = same_arrays(jax.jit(put)(params), put(params))
        assert same or isinstance(make, weight_norm)  # sums may be ordered otherwise
        batch = jax.tree.map(lambda a: jnp.stack([a, 3 * a]), params)
        nodes = jax.vmap(put)(batch)
        x = jnp.ones((2, 3))
        y = jax.vmap(MODEL.apply, in_axes=(0, None))(nodes, x)
        second = jax.tree.map(lambda a: a[1], nodes)
        np.testing.assert_allclose(y[1], MODEL.apply(second, x), rtol=1e-5)


def test_edits_keep_nodes() -> None:
    model = Language()
    params = fp.parametrize(model, filled(model), "wte.weight", l1_unstructured(0.5))
    assert isinstance(fp.subtree(params, "head")["weight"], Masked)
    assert isinstance(fp.untie(model, params, "head.weight")[1]["head"]["weight"], Masked)
    with pytest.raises(fp.MismatchError) as caught:
        fp.reinit(model, params, KEY, "wte.weight")
    assert "fp.materialize(model, params, where)" in str(caught.value)
