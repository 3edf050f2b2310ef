"""The nodes of funcparams.parametrizations: in every layer, transform and dtype, and refused."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import export

import funcparams as fp
from funcparams import init, nn
from funcparams.parametrizations import (
    Masked,
    Orthogonal,
    SpectralNorm,
    WeightNorm,
    custom_from_mask,
    global_unstructured,
    l1_unstructured,
    ln_structured,
    orthogonal,
    power_iteration,
    random_structured,
    random_unstructured,
    spectral_norm,
    torch_names,
    weight_norm,
)
from funcparams.testing import assert_same_program
from tests.models import filled, same_arrays

KEY = jax.random.key(0)
MODEL = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3))
X = jax.random.normal(KEY, (5, 4))
MAKERS = {
    str(make): make
    for make in [
        weight_norm(),
        weight_norm(dim=None),
        spectral_norm(),
        spectral_norm(n_power_iterations=2, dim=-1),
        orthogonal(),
        orthogonal("matrix_exp"),
        orthogonal("cayley"),
        orthogonal("householder", use_trivialization=False),
        l1_unstructured(0.4),
        random_unstructured(2),
        ln_structured(1, n=2),
        random_structured(0.3, dim=0),
    ]
}


def parametrized(make: Any, model: Any = MODEL, where: Any = "**.weight") -> Any:
    return fp.parametrize(model, model.init(KEY), where, make, KEY)


class Holder(fp.Module):
    """One parameter of any shape."""

    def __init__(self, *shape: int, dtype: Any = jnp.float32):
        self.weight = fp.param(shape, init.normal(std=1.0), dtype)

    def __call__(self) -> jax.Array:
        return self.weight


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_through_everything(make: Any) -> None:
    """jit, grad, optax, vmap, flat dicts, copies, and JAX's strict promotion."""
    params = parametrized(make)
    with jax.numpy_dtype_promotion("strict"):
        y = MODEL.apply(params, X)
        np.testing.assert_allclose(jax.jit(MODEL.apply)(params, X), y, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(MODEL.apply(fp.materialize(MODEL, params), X), y, rtol=1e-6)
        tuned, frozen = fp.partition(params, "**")

        def loss(tuned: Any) -> Any:
            return (MODEL.apply(fp.combine(tuned, frozen), X) ** 2).mean()

        grads = jax.grad(loss)(tuned)
    optimizer = optax.adamw(0.01)
    updates, _ = optimizer.update(grads, optimizer.init(tuned), tuned)
    moved = optax.apply_updates(tuned, updates)
    assert loss(moved) < loss(tuned)
    assert jax.tree.structure(fp.combine(moved, frozen)) == jax.tree.structure(params)
    names = {type(node).frozen for node in (params["0"]["weight"],) if hasattr(node, "frozen")}
    learnt = {name.rpartition(".")[2] for name in fp.flatten(tuned)}
    assert not learnt & {field for fields in names for field in fields}

    batch = jax.vmap(lambda key: fp.parametrize(MODEL, MODEL.init(key), "**.weight", make, key))
    several = batch(jax.random.split(KEY, 2))
    outputs = jax.vmap(MODEL.apply, in_axes=(0, None))(several, X)
    second = jax.tree.map(lambda leaf: leaf[1], several)
    np.testing.assert_allclose(outputs[1], MODEL.apply(second, X), rtol=1e-4, atol=1e-5)

    assert same_arrays(fp.unflatten(MODEL, fp.flatten(params), like=params), params)
    assert same_arrays(copy.deepcopy(params), params)
    assert same_arrays(pickle.loads(pickle.dumps(params)), params)
    assert str(fp.summary(MODEL)) == str(fp.summary(MODEL.replace()))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_bfloat16(make: Any) -> None:
    half = fp.cast(MODEL.init(KEY), jnp.bfloat16)
    for params in (
        fp.parametrize(MODEL, half, "**.weight", make, KEY),
        fp.cast(parametrized(make), jnp.bfloat16),
    ):
        dtypes = {leaf.dtype for leaf in jax.tree.leaves(params)}
        assert dtypes <= {jnp.dtype(jnp.bfloat16), jnp.dtype(bool)}
        with jax.numpy_dtype_promotion("strict"):
            y = MODEL.apply(params, X.astype(jnp.bfloat16))
        assert y.dtype == jnp.bfloat16
        expected = MODEL.apply(fp.cast(params, jnp.float32), X)
        np.testing.assert_allclose(y.astype(jnp.float32), expected, atol=0.1)


LAYERS: dict[str, tuple[Any, str, Any]] = {
    "Conv1d": (nn.Conv1d(4, 6, 3, groups=2), "weight", jnp.ones((2, 4, 5))),
    "Conv2d-last": (nn.Conv2d(2, 3, 2, channels_last=True), "weight", jnp.ones((2, 4, 4, 2))),
    "Embedding": (nn.Embedding(6, 3), "weight", jnp.array([0, 5])),
    "BatchNorm1d": (nn.BatchNorm1d(4), "weight", X),
    "PReLU": (nn.PReLU(4), "weight", X),
    "Bilinear": (nn.Bilinear(2, 3, 4), "weight", (jnp.ones((5, 2)), jnp.ones((5, 3)))),
}


@pytest.mark.parametrize("make", [weight_norm(), spectral_norm(), l1_unstructured(0.5)], ids=str)
@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_takes_every_node(layer: str, make: Any) -> None:
    model, where, x = LAYERS[layer]
    state = model.init_state()
    params = fp.parametrize(model, model.init(KEY), where, make, KEY)
    given = x if isinstance(x, tuple) else (x,)
    y = model.apply(params, *given, state=state)
    plain = fp.materialize(model, params)
    np.testing.assert_allclose(y, model.apply(plain, *given, state=state), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_an_exported_program_takes_them(make: Any) -> None:
    params = parametrized(make)
    again = export.deserialize(export.export(jax.jit(MODEL.apply))(params, X).serialize())
    np.testing.assert_allclose(again.call(params, X), MODEL.apply(params, X), rtol=1e-5, atol=1e-6)


def test_the_program_is_what_one_writes_by_hand() -> None:
    model = nn.Linear(4, 3)
    params = fp.parametrize(model, model.init(KEY), "weight", weight_norm())

    def by_hand(params: Any, x: Any) -> Any:
        g, v = params["weight"].original0, params["weight"].original1
        norm = jnp.sqrt(jnp.sum(v * v, axis=1, keepdims=True))
        weight = v * (g / norm)
        return jax.lax.dot_general(x, weight, (((1,), (1,)), ((), ()))) + params["bias"]

    assert_same_program(model.apply, by_hand, params, X)


# Values


def test_weight_norm_keeps_the_length_apart() -> None:
    params = parametrized(weight_norm())
    node = params["0"]["weight"]
    assert isinstance(node, WeightNorm)
    longer = fp.update(params, {"0.weight.original1": lambda v: 5 * v})
    np.testing.assert_allclose(MODEL.apply(longer, X), MODEL.apply(params, X), rtol=1e-5)
    doubled = fp.update(params, {"0.weight.original0": lambda g: 2 * g})
    np.testing.assert_allclose(doubled["0"]["weight"].value(), 2 * node.value(), rtol=1e-6)


@pytest.mark.parametrize("shape", [(4, 3), (3, 2, 2), (2, 5), (6,)])
def test_spectral_norm_is_one(shape: tuple[int, ...]) -> None:
    model = Holder(*shape)
    params = parametrized(spectral_norm(), model, "weight")
    params = jax.jit(lambda p: power_iteration(p, steps=200))(params)
    matrix = model.apply(params).reshape(shape[0] if len(shape) > 1 else 1, -1)
    assert jnp.isclose(jnp.linalg.norm(matrix, 2), 1, atol=1e-4)


def test_power_iteration_moves_the_vectors_alone() -> None:
    params = parametrized(spectral_norm(n_power_iterations=3))
    params = fp.update(params, {"**._v": lambda v: jnp.ones_like(v)})
    once = power_iteration(params)
    single = fp.parametrize(
        MODEL, fp.materialize(MODEL, params, "2.*"), "2.weight", spectral_norm(), KEY
    )
    assert same_arrays(power_iteration(params, 0), params)
    assert same_arrays(power_iteration(power_iteration(params)), power_iteration(params, 2))
    assert once["0"]["bias"] is params["0"]["bias"]
    assert once["0"]["weight"].original is params["0"]["weight"].original
    assert jax.tree.structure(once) == jax.tree.structure(params)
    v = params["0"]["weight"]._v
    weight = params["0"]["weight"].original
    for _ in range(3):
        u = weight @ v / jnp.linalg.norm(weight @ v)
        v = weight.T @ u / jnp.linalg.norm(weight.T @ u)
    np.testing.assert_allclose(once["0"]["weight"]._v, v, rtol=1e-4)
    assert isinstance(power_iteration(single)["2"]["weight"], SpectralNorm)


def test_no_gradient_reaches_the_vectors() -> None:
    params = parametrized(spectral_norm())
    grads = jax.grad(lambda p: MODEL.apply(power_iteration(p), X).sum())(params)
    assert not np.any(grads["0"]["weight"]._u)
    assert not np.any(grads["0"]["weight"]._v)
    assert np.any(grads["0"]["weight"].original)


def test_power_iteration_of_a_field_that_refers_elsewhere() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    params = parametrized(spectral_norm(), model, "1.weight")
    node = params["1"]["weight"]
    params["1"]["weight"] = SpectralNorm(fp.Ref("..0.weight"), node._u, node._v)
    moved = power_iteration(params)
    assert moved["1"]["weight"].original == fp.Ref("..0.weight")
    u = params["0"]["weight"] @ node._v
    np.testing.assert_allclose(moved["1"]["weight"]._u, u / jnp.linalg.norm(u), rtol=1e-5)


def test_power_iteration_refuses() -> None:
    with pytest.raises(fp.SelectionError, match="no parameter holds a SpectralNorm"):
        power_iteration(filled(MODEL))
    params = parametrized(spectral_norm())
    for part in fp.partition(params, "**"):
        with pytest.raises(fp.MismatchError) as caught:
            power_iteration(part)
        assert str(caught.value) == (
            "power_iteration: 0.weight: this tree has only a part of the SpectralNorm.\n"
            "  Put the trees of fp.partition together first: fp.combine(tuned, frozen)."
        )
    with pytest.raises(nn.ArgumentError, match="power_iteration"):
        power_iteration(params, -1)


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize("orthogonal_map", ["matrix_exp", "cayley", "householder"])
def test_orthogonal_stays_so(orthogonal_map: Any, shape: tuple[int, ...]) -> None:
    model = Holder(*shape)
    node = parametrized(orthogonal(orthogonal_map), model, "weight")["weight"]
    assert isinstance(node, Orthogonal)
    step = jax.random.normal(KEY, shape) * (1 - jnp.eye(*shape[-2:]))
    moved = Orthogonal(node.original + step, node.base, node.orthogonal_map).value()
    assert not np.allclose(moved, node.value(), atol=0.1)
    for q in (node.value(), moved):
        thin = q if shape[-2] >= shape[-1] else q.mT
        unit = jnp.eye(thin.shape[-1])
        np.testing.assert_allclose(
            thin.mT @ thin, jnp.broadcast_to(unit, (*q.shape[:-2], *unit.shape)), atol=1e-5
        )


def test_orthogonal_of_a_singular_matrix() -> None:
    """Where R has zeros on its diagonal, PyTorch's Q has columns of zeros; here it has none."""
    model = Holder(3, 3)
    node = fp.parametrize(model, {"weight": jnp.zeros((3, 3))}, "weight", orthogonal())["weight"]
    np.testing.assert_allclose(node.value() @ node.value().T, jnp.eye(3), atol=1e-6)


def test_pruned_entries_stay_zero() -> None:
    params = parametrized(l1_unstructured(0.5))
    tuned, frozen = fp.partition(params, "**")
    grads = jax.grad(lambda t: MODEL.apply(fp.combine(t, frozen), X).sum())(tuned)
    mask = params["0"]["weight"].mask
    assert not np.any(grads["0"]["weight"].original[~mask])
    assert np.isfinite(Masked(jnp.array([jnp.nan, 1.0]), jnp.array([False, True])).value()).all()


def test_pruning_of_a_parametrized_weight() -> None:
    params = parametrized(weight_norm())
    params = fp.parametrize(MODEL, params, "0.weight", l1_unstructured(0.5))
    node = params["0"]["weight"]
    assert isinstance(node.original, WeightNorm)
    assert int((node.value() == 0).sum()) == 6
    names = ["0.weight.mask", "0.weight.original.original0", "0.weight.original.original1"]
    assert [name for name in fp.flatten(params) if name.startswith("0.w")] == names
    assert same_arrays(fp.unflatten(MODEL, fp.flatten(params), like=params), params)


def test_a_global_share_counts_over_all() -> None:
    params = MODEL.init(KEY)
    params = fp.update(params, {"2.weight": lambda w: 100 * w})
    params = global_unstructured(MODEL, params, "**.weight", l1_unstructured(12))
    assert not params["0"]["weight"].mask.any()
    assert params["2"]["weight"].mask.all()
    again = global_unstructured(MODEL, params, "**.weight", random_unstructured(1.0), KEY)
    assert not again["2"]["weight"].mask.any()
    part = fp.parametrize(MODEL, MODEL.init(KEY), "0.weight", l1_unstructured(3))
    part = global_unstructured(MODEL, part, "**.weight", l1_unstructured(0.5))
    assert sum(int((~part[i]["weight"].mask).sum()) for i in ("0", "2")) == 3 + 9


# PyTorch's names


def test_torch_names() -> None:
    model = nn.Sequential(*(nn.Linear(2, 2, bias=index == 0) for index in range(5)))
    params = model.init(KEY)
    for name, make in [
        ("0.weight", weight_norm()),
        ("1.weight", spectral_norm()),
        ("2.weight", orthogonal()),
        ("3.weight", l1_unstructured(1)),
        ("0.weight", spectral_norm()),
    ]:
        params = fp.parametrize(model, params, name, make, KEY)
    assert torch_names(params) == {
        "0.bias": "0.bias",
        "0.weight._u": "0.parametrizations.weight.1._u",
        "0.weight._v": "0.parametrizations.weight.1._v",
        "0.weight.original.original0": "0.parametrizations.weight.original0",
        "0.weight.original.original1": "0.parametrizations.weight.original1",
        "1.weight._u": "1.parametrizations.weight.0._u",
        "1.weight._v": "1.parametrizations.weight.0._v",
        "1.weight.original": "1.parametrizations.weight.original",
        "2.weight.base": "2.parametrizations.weight.0.base",
        "2.weight.original": "2.parametrizations.weight.original",
        "3.weight.mask": "3.weight_mask",
        "3.weight.original": "3.weight_orig",
        "4.weight": "4.weight",
    }
    assert list(torch_names(params)) == list(fp.flatten(params))


def test_names_of_a_class_of_ones_own() -> None:
    @jax.tree_util.register_pytree_with_keys_class
    class Own(fp.Parametrization):
        def __init__(self, x: Any):
            self.x = x

        def tree_flatten_with_keys(self) -> Any:
            return [(jax.tree_util.GetAttrKey("x"), self.x)], None

        @classmethod
        def tree_unflatten(cls, _: Any, children: Any) -> Any:
            return cls(*children)

    assert torch_names({"a": {"w": Own(1)}}) == {"a.w.x": "a.w.x"}
    Own.torch_names = {"x": "{name}_x"}  # pyright: ignore
    assert torch_names({"a": {"w": Own(1)}}) == {"a.w.x": "a.w_x"}


# What is refused


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: weight_norm("0"), "weight_norm(dim='0'): expected an integer."),
        (
            lambda: spectral_norm(0),
            "spectral_norm(n_power_iterations=0): expected an integer >= 1.",
        ),
        (lambda: spectral_norm(eps=-1.0), "spectral_norm(eps=-1.0): expected a number >= 0."),
        (lambda: spectral_norm(eps="small"), "spectral_norm(eps='small'): expected a number."),
        (lambda: spectral_norm(dim=1.5), "spectral_norm(dim=1.5): expected an integer."),
        (
            lambda: orthogonal("caley"),
            "orthogonal(orthogonal_map='caley'): expected one of 'matrix_exp', 'cayley', "
            "'householder'; did you mean 'cayley'?.",
        ),
        (
            lambda: orthogonal(use_trivialization=1),
            "orthogonal(use_trivialization=1): expected a bool.",
        ),
        *(
            (
                lambda amount=amount: l1_unstructured(amount),
                f"l1_unstructured(amount={amount!r}): expected an int >= 0, how many to prune, or "
                "a float from 0 to 1, a share of what is left.",
            )
            for amount in (-1, 1.5, True, "half")
        ),
        (
            lambda: ln_structured(1, "l2"),
            "ln_structured(n='l2'): expected a number, 'fro' or 'nuc', a norm.",
        ),
        (lambda: random_structured(1, 0.5), "random_structured(dim=0.5): expected an integer."),
    ],
)
def test_arguments_that_are_refused(make: Any, text: str) -> None:
    with pytest.raises(nn.ArgumentError) as caught:
        make()
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("make", "shape", "text"),
    [
        (weight_norm(2), (3, 2), "weight: weight_norm(dim=2): an array of shape (3, 2) has no"),
        (spectral_norm(dim=2), (3, 2), "an array of shape (3, 2) has no axis 2."),
        (spectral_norm(), (), "an array of shape () has no axis 0."),
        (
            orthogonal(),
            (3,),
            "expected a matrix or a batch of matrices, got an array of shape (3,)",
        ),
        (l1_unstructured(7), (3, 2), "weight: l1_unstructured(amount=7, importance_scores=None): "),
        (l1_unstructured(7), (3, 2), "only 6 are left to prune."),
        (
            l1_unstructured(1, jnp.ones(3)),
            (3, 2),
            "weight: l1_unstructured: expected importance_scores of the parameter's shape (3, 2), "
            "got (3,).",
        ),
        (ln_structured(4, 2, 0), (3, 2), "only 3 are left to prune."),
        (ln_structured(1, 2, 2), (3, 2), "an array of shape (3, 2) has no such axis."),
        (ln_structured(1, "nuc"), (3, 2), "are no matrices, which a nuclear norm is of."),
        (
            random_structured(1),
            (3,),
            "channels are pruned of arrays with 2 axes or more, got shape",
        ),
        (
            custom_from_mask(jnp.ones(2)),
            (3, 2),
            "weight: custom_from_mask: expected the mask of the parameter's shape (3, 2), got (2,)",
        ),
    ],
)
def test_places_that_are_refused(make: Any, shape: tuple[int, ...], text: str) -> None:
    model = Holder(*shape)
    with pytest.raises(fp.MismatchError) as caught:
        fp.parametrize(model, filled(model), "weight", make, KEY)
    assert text in str(caught.value)


def test_complex_arrays_and_reflections() -> None:
    model = Holder(2, 3, dtype=jnp.complex64)
    params = {"weight": jnp.ones((2, 3), jnp.complex64)}
    with pytest.raises(fp.MismatchError, match="does not take complex arrays"):
        fp.parametrize(model, params, "weight", orthogonal("householder"))
    for make in (orthogonal(), weight_norm(), spectral_norm(), l1_unstructured(1)):
        new = fp.parametrize(model, params, "weight", make, KEY)
        assert model.apply(new).dtype == jnp.complex64


@pytest.mark.parametrize("make", [weight_norm(), orthogonal()], ids=str)
def test_a_node_where_an_array_is_needed(make: Any) -> None:
    params = parametrized(l1_unstructured(1))
    with pytest.raises(fp.MismatchError) as caught:
        fp.parametrize(MODEL, params, "0.weight", make)
    assert str(caught.value) == (
        f"0.weight: {make!r} needs an array, and a Masked stands there.\n"
        "  Put its array there first: fp.materialize(model, params, where)."
    )


def test_pruning_again_needs_a_mask_that_is_known() -> None:
    params = parametrized(l1_unstructured(1))
    with pytest.raises(TypeError, match="pruning again counts what is left, and the mask is trac"):
        jax.jit(lambda p: fp.parametrize(MODEL, p, "0.weight", l1_unstructured(1)))(params)
    with pytest.raises(TypeError, match="channels of several parameters do not compare"):
        global_unstructured(MODEL, params, "**.weight", ln_structured(1, 2))  # pyright: ignore
