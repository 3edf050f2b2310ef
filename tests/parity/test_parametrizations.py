"""Parametrizations and pruning against torch.nn.utils: names, values, gradients, training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcparams as fp
from funcparams import init, nn
from funcparams.parametrizations import (
    Masked,
    Orthogonal,
    SpectralNorm,
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
from tests.layer_cases import x64

torch = pytest.importorskip("torch")
from torch.nn.utils import parametrizations as theirs  # noqa: E402
from torch.nn.utils import parametrize, prune  # noqa: E402

TOLERANCE = 1e-9
X = np.random.default_rng(0).normal(size=(5, 4))
IMAGE = np.random.default_rng(1).normal(size=(2, 4, 6, 6))
SEQUENCE = np.random.default_rng(2).normal(size=(3, 2, 4))
IDS = np.array([[0, 5, 3], [6, 6, 1]])

# Class, arguments, parameter and input of both libraries' layers.
LAYERS = {
    "Linear": ("Linear", (4, 6), "weight", X),
    "Linear-wide": ("Linear", (4, 3), "weight", X),
    "Linear-square": ("Linear", (4, 4), "weight", X),
    "Linear-bias": ("Linear", (4, 3), "bias", X),
    "Conv2d": ("Conv2d", (4, 6, 3), "weight", IMAGE),
    "Embedding": ("Embedding", (7, 4), "weight", IDS),
    "ConvTranspose2d": ("ConvTranspose2d", (4, 6, 3), "weight", IMAGE),
    "LSTM": ("LSTM", (4, 3), "weight_hh_l0", SEQUENCE),
}


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.manual_seed(0)
    with x64():
        yield


def pair(name: str) -> tuple[Any, Any, str, Any]:
    """Give a layer of ours, the same of PyTorch's, a parameter's name and an input."""
    kind, arguments, parameter, x = LAYERS[name]
    module = getattr(torch.nn, kind)(*arguments, dtype=torch.float64)
    return getattr(nn, kind)(*arguments, dtype=jnp.float64), module, parameter, x


def arrays(module: Any) -> dict[str, Any]:
    # Copies: JAX would share the memory, which PyTorch then writes into.
    return {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}


def filled(model: Any, like: Any, module: Any) -> Any:
    """Give params of the form of `like` with the arrays of a PyTorch module, found by name."""
    given = arrays(module)
    names = torch_names(like)
    assert set(names.values()) == set(given)
    old = fp.flatten(like)
    flat = {name: jnp.asarray(given[names[name]], old[name].dtype) for name in names}
    return fp.unflatten(model, flat, like=like)


def first(output: Any) -> Any:
    return output[0] if isinstance(output, tuple) else output


def close(ours: Any, expected: Any) -> None:
    expected = expected.detach().numpy() if isinstance(expected, torch.Tensor) else expected
    np.testing.assert_allclose(ours, expected, rtol=TOLERANCE, atol=TOLERANCE)


def compare(model: Any, params: Any, module: Any, parameter: str, x: Any) -> None:
    """Compare the parameter, the output, and the gradients by all that is learnt."""
    expected = first(module(torch.tensor(x)))
    close(fp.materialize(model, params)[parameter], getattr(module, parameter))
    close(first(model.apply(params, jnp.asarray(x))), expected)

    tuned, frozen = fp.partition(params, "**")

    def loss(tuned: Any) -> Any:
        return (first(model.apply(fp.combine(tuned, frozen), jnp.asarray(x))) ** 3).sum()

    module.zero_grad()
    (expected**3).sum().backward()
    learnt = {name: value.grad for name, value in module.named_parameters()}
    names = torch_names(params)
    grads = fp.flatten(jax.grad(loss)(tuned))
    assert {names[name] for name in grads} == set(learnt)
    for name, grad in grads.items():
        close(grad, learnt[names[name]])


def descend(tuned: Any, grads: Any) -> Any:
    return jax.tree.map(lambda value, grad: value - 0.1 * grad, tuned, grads)


# Weight norm


@pytest.mark.parametrize(
    ("name", "dim"),
    [
        *(("Conv2d", dim) for dim in (0, 1, None, -1, -2)),
        *((name, dim) for name in ("Linear", "ConvTranspose2d") for dim in (0, 1)),
        *(("Embedding", 0), ("LSTM", 0)),
    ],
)
def test_weight_norm(name: str, dim: int | None) -> None:
    model, module, parameter, x = pair(name)
    params = {n: jnp.asarray(value) for n, value in arrays(module).items()}
    theirs.weight_norm(module, parameter, dim=dim)
    ours = fp.parametrize(model, params, parameter, weight_norm(dim))
    for field, value in fp.flatten(ours).items():  # as made here from the same weights
        close(value, arrays(module)[torch_names(ours)[field]])
    with torch.no_grad():
        for value in module.parameters():
            value += 0.3 * torch.rand_like(value)
    compare(model, filled(model, ours, module), module, parameter, x)


def test_weight_norm_of_a_vector() -> None:
    model, module, parameter, x = pair("Linear-bias")
    theirs.weight_norm(module, parameter)
    like = fp.parametrize(model, model.init(jax.random.key(0)), parameter, weight_norm())
    compare(model, filled(model, like, module), module, parameter, x)


# Spectral norm


@pytest.mark.parametrize("name", ["Linear", "Linear-bias", "Conv2d", "ConvTranspose2d", "LSTM"])
def test_spectral_norm_over_training(name: str) -> None:
    """PyTorch iterates in each forward pass of training; here it is a call in each step."""
    model, module, parameter, x = pair(name)
    theirs.spectral_norm(module, parameter, n_power_iterations=2)
    key = jax.random.key(0)
    like = fp.parametrize(
        model, model.init(key), parameter, spectral_norm(n_power_iterations=2), key
    )
    params = filled(model, like, module)
    if name == "ConvTranspose2d":
        assert params[parameter].dim == 1
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)

    @jax.jit
    def step(params: Any) -> Any:
        params = power_iteration(params)
        tuned, frozen = fp.partition(params, "**")

        def loss(tuned: Any) -> Any:
            return (first(model.apply(fp.combine(tuned, frozen), jnp.asarray(x))) ** 2).mean()

        return fp.combine(descend(tuned, jax.grad(loss)(tuned)), frozen)

    for _ in range(4):
        optimizer.zero_grad()
        with parametrize.cached():  # each look at a weight iterates, and an LSTM looks twice
            (first(module(torch.tensor(x))) ** 2).mean().backward()
        optimizer.step()
        params = step(params)
    for field, value in fp.flatten(params).items():
        close(value, arrays(module)[torch_names(params)[field]])
    module.eval()
    compare(model, params, module, parameter, x)


def test_spectral_norm_starts_near_the_singular_vectors() -> None:
    model, module, parameter, _ = pair("Linear")
    params = {name: jnp.asarray(value) for name, value in arrays(module).items()}
    node = fp.parametrize(model, params, parameter, spectral_norm(), jax.random.key(0))[parameter]
    assert isinstance(node, SpectralNorm)
    theirs.spectral_norm(module, parameter).eval()
    # Both have 15 iterations behind them, from other random vectors.
    np.testing.assert_allclose(node.value(), module.weight.detach(), rtol=1e-2)


def test_spectral_norm_of_a_zero_vector_has_a_gradient() -> None:
    weight = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    torch.nn.functional.normalize(weight, dim=0).sum().backward()
    node = SpectralNorm(jnp.zeros(3))
    close(jax.grad(lambda n: n.value().sum())(node).original, weight.grad)


def test_spectral_norm_of_a_weight_norm() -> None:
    """One parametrization after the other, under PyTorch's numbers."""
    model, module, parameter, x = pair("Linear")
    theirs.weight_norm(module, parameter)
    theirs.spectral_norm(module, parameter)
    key = jax.random.key(0)
    like = fp.parametrize(model, model.init(key), parameter, weight_norm())
    like = fp.parametrize(model, like, parameter, spectral_norm(), key)
    params = filled(model, like, module)
    module(torch.tensor(x))
    params = power_iteration(params)
    close(params[parameter]._u, module.parametrizations.weight[1]._u)
    module.eval()
    compare(model, params, module, parameter, x)


# Orthogonal


MAPS = ("matrix_exp", "cayley", "householder")


@pytest.mark.parametrize(
    ("name", "orthogonal_map", "trivialize"),
    [
        *((name, None, True) for name in ("Linear", "Linear-square", "Conv2d")),
        *((name, each, True) for name in ("Linear", "Linear-wide") for each in MAPS),
        *(("Linear-wide", each, False) for each in MAPS),
        *(("Linear-square", "householder", trivialize) for trivialize in (True, False)),
    ],
)
def test_orthogonal(name: str, orthogonal_map: Any, trivialize: bool) -> None:
    model, module, parameter, x = pair(name)
    params = {n: jnp.asarray(value) for n, value in arrays(module).items()}
    theirs.orthogonal(module, parameter, orthogonal_map, use_trivialization=trivialize)
    ours = fp.parametrize(
        model, params, parameter, orthogonal(orthogonal_map, use_trivialization=trivialize)
    )
    # Made here from the same weights: the same parameter, and the same unconstrained array.
    close(fp.materialize(model, ours)[parameter], getattr(module, parameter))
    close(ours[parameter].original, module.parametrizations[parameter].original)
    compare(model, filled(model, ours, module), module, parameter, x)
    with torch.no_grad():
        original = module.parametrizations[parameter].original
        original += 0.3 * torch.randn_like(original).tril(-1)
    compare(model, filled(model, ours, module), module, parameter, x)


@pytest.mark.parametrize("orthogonal_map", MAPS)
def test_orthogonal_descends_as_in_torch(orthogonal_map: Any) -> None:
    model, module, parameter, x = pair("Linear")
    params = {n: jnp.asarray(value) for n, value in arrays(module).items()}
    theirs.orthogonal(module, parameter, orthogonal_map)
    like = fp.parametrize(model, params, parameter, orthogonal(orthogonal_map))
    params = filled(model, like, module)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    tuned, frozen = fp.partition(params, "**")

    def loss(tuned: Any) -> Any:
        return (model.apply(fp.combine(tuned, frozen), jnp.asarray(x)) ** 4).mean()

    for _ in range(4):
        optimizer.zero_grad()
        (module(torch.tensor(x)) ** 4).mean().backward()
        optimizer.step()
        tuned = descend(tuned, jax.grad(loss)(tuned))
    params = fp.combine(tuned, frozen)
    close(params[parameter].original, module.parametrizations.weight.original)
    compare(model, params, module, parameter, x)
    weight = fp.materialize(model, params)[parameter]
    close(weight.T @ weight, np.eye(4))


@pytest.mark.parametrize("orthogonal_map", MAPS)
def test_an_orthogonal_matrix_stays_as_it_is(orthogonal_map: Any) -> None:
    model, module, parameter, _ = pair("Linear-square")
    torch.nn.init.orthogonal_(module.weight)
    before = module.weight.detach().numpy().copy()
    params = {n: jnp.asarray(value) for n, value in arrays(module).items()}
    node = fp.parametrize(model, params, parameter, orthogonal(orthogonal_map))[parameter]
    assert np.array_equal(node.base, before)
    close(node.value(), before)
    # And where it is taken apart into reflections, without a base.
    like = fp.parametrize(
        model, params, parameter, orthogonal("householder", use_trivialization=False)
    )
    close(like[parameter].value(), before)


@pytest.mark.parametrize("orthogonal_map", ["matrix_exp", "cayley"])
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (3, 4, 2)])
def test_unitary(orthogonal_map: Any, shape: tuple[int, ...]) -> None:
    class Holder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(shape, dtype=torch.complex128))

    module = Holder()
    weight = jnp.asarray(module.weight.detach().numpy())

    class Ours(fp.Module):
        def __init__(self) -> None:
            self.weight = fp.param(shape, init.zeros(), dtype=jnp.complex128)

    theirs.orthogonal(module, "weight", orthogonal_map)
    node = fp.parametrize(Ours(), {"weight": weight}, "weight", orthogonal(orthogonal_map))[
        "weight"
    ]
    close(node.value(), module.weight)
    parametrized = module.parametrizations.weight
    with torch.no_grad():
        parametrized.original += 0.3 * torch.randn_like(parametrized.original)
    other = Orthogonal(
        jnp.asarray(parametrized.original.detach().numpy()),
        jnp.asarray(parametrized[0].base.numpy()),
        orthogonal_map,
    )
    close(other.value(), module.weight)


# Pruning

METHODS = {
    "l1": (lambda: l1_unstructured(0.4), lambda m, p: prune.l1_unstructured(m, p, 0.4)),
    "l1-int": (lambda: l1_unstructured(5), lambda m, p: prune.l1_unstructured(m, p, 5)),
    "l1-none": (lambda: l1_unstructured(0), lambda m, p: prune.l1_unstructured(m, p, 0)),
    **{
        f"ln-{n}-{dim}": (
            lambda n=n, dim=dim: ln_structured(0.3, n, dim),
            lambda m, p, n=n, dim=dim: prune.ln_structured(m, p, 0.3, n, dim),
        )
        for n, dim in [(1, 0), (2, 1), (2.5, -1), (float("inf"), 0), (float("-inf"), -2)]
    },
    "ln-int": (lambda: ln_structured(2, 2, 0), lambda m, p: prune.ln_structured(m, p, 2, 2, 0)),
}


@pytest.mark.parametrize(
    ("name", "method"),
    [*(("Linear", method) for method in METHODS), ("Conv2d", "ln-2-1"), ("Embedding", "l1")],
)
def test_pruning_once_and_again(name: str, method: str) -> None:
    ours, expected = METHODS[method]
    model, module, parameter, x = pair(name)
    params = {n: jnp.asarray(value) for n, value in arrays(module).items()}
    for _ in range(2):
        expected(module, parameter)
        params = fp.parametrize(model, params, parameter, ours())
        node = params[parameter]
        assert isinstance(node, Masked)
        assert node.mask.dtype == bool
        assert np.array_equal(node.mask, getattr(module, f"{parameter}_mask"))
        compare(model, params, module, parameter, x)
    # PyTorch's remove is to make the array out of it.
    prune.remove(module, parameter)
    close(fp.materialize(model, params)[parameter], getattr(module, parameter))


def test_pruning_by_nuclear_norm_and_by_scores() -> None:
    weight = np.random.default_rng(3).normal(size=(6, 3, 3))
    scores = np.random.default_rng(4).normal(size=(6, 3, 3))

    class Ours(fp.Module):
        def __init__(self) -> None:
            self.weight = fp.param((6, 3, 3), init.zeros(), dtype=jnp.float64)

    for ours, expected in [
        (ln_structured(2, "nuc", 0), lambda m: prune.ln_structured(m, "weight", 2, "nuc", 0)),
        (ln_structured(2, "fro", 0), lambda m: prune.ln_structured(m, "weight", 2, "fro", 0)),
        (
            ln_structured(2, 1, 0, jnp.asarray(scores)),
            lambda m: prune.ln_structured(m, "weight", 2, 1, 0, torch.tensor(scores)),
        ),
        (
            l1_unstructured(9, jnp.asarray(scores)),
            lambda m: prune.l1_unstructured(m, "weight", 9, torch.tensor(scores)),
        ),
    ]:
        module = torch.nn.Module()
        module.weight = torch.nn.Parameter(torch.tensor(weight))
        expected(module)
        params = fp.parametrize(Ours(), {"weight": jnp.asarray(weight)}, "weight", ours)
        assert np.array_equal(params["weight"].mask, module.weight_mask)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        (random_unstructured(0.3), lambda m: prune.random_unstructured(m, "weight", 0.3)),
        (random_unstructured(7), lambda m: prune.random_unstructured(m, "weight", 7)),
        (random_structured(0.4, 0), lambda m: prune.random_structured(m, "weight", 0.4, 0)),
        (random_structured(1), lambda m: prune.random_structured(m, "weight", 1, -1)),
    ],
)
def test_random_pruning_takes_as_many(ours: Any, expected: Any, again: bool) -> None:
    model, module, parameter, _ = pair("Linear")
    params = model.init(jax.random.key(0))
    for count in range(2 if again else 1):
        expected(module)
        params = fp.parametrize(model, params, parameter, ours, jax.random.key(count))
    assert int(params[parameter].mask.sum()) == int(module.weight_mask.sum())


def test_pruning_by_a_mask() -> None:
    model, module, parameter, x = pair("Linear")
    params = {n: jnp.asarray(value) for n, value in arrays(module).items()}
    for seed in range(2):
        mask = np.random.default_rng(seed).integers(0, 2, (6, 4))
        prune.custom_from_mask(module, parameter, torch.tensor(mask))
        params = fp.parametrize(model, params, parameter, custom_from_mask(mask))
        compare(model, params, module, parameter, x)


@pytest.mark.parametrize("amount", [0.3, 20])
def test_global_pruning(amount: float) -> None:
    model = nn.Sequential(
        nn.Linear(4, 6, dtype=jnp.float64), nn.Tanh(), nn.Linear(6, 3, dtype=jnp.float64)
    )
    module = torch.nn.Sequential(
        torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)
    ).double()
    params = fp.unflatten(model, {n: jnp.asarray(v) for n, v in arrays(module).items()})
    chosen = [(module[0], "weight"), (module[2], "weight")]
    for _ in range(2 if isinstance(amount, float) else 1):
        prune.global_unstructured(chosen, prune.L1Unstructured, amount=amount)
        params = global_unstructured(model, params, "**.weight", l1_unstructured(amount))
        for place in ("0", "2"):
            expected = module[int(place)].weight_mask
            assert np.array_equal(params[place]["weight"].mask, expected)
    names = torch_names(params)
    assert set(names.values()) == set(module.state_dict())


def test_materialize_is_remove_parametrizations() -> None:
    model, module, parameter, _ = pair("Linear")
    params = {n: jnp.asarray(value) for n, value in arrays(module).items()}
    theirs.orthogonal(module, parameter)
    parametrize.remove_parametrizations(module, parameter)
    params = fp.parametrize(model, params, parameter, orthogonal())
    close(fp.materialize(model, params)[parameter], module.weight)
    assert list(torch_names(fp.materialize(model, params)).values()) == ["bias", "weight"]
