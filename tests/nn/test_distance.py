"""Distances: their values, their derivatives where they are 0, and what they refuse."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcparams import nn

RNG = np.random.RandomState(0)
X1, X2 = (RNG.randn(5, 4).astype(np.float32) for _ in range(2))
ORDERS = [0, 0.5, 1, 1.5, 2, 3, 7.5, -1, -2.5, np.inf, -np.inf]


@pytest.mark.parametrize("p", ORDERS)
def test_pairwise_distance_is_the_norm_of_the_difference(p: float) -> None:
    wanted = np.linalg.norm((X1 - X2 + 1e-6).astype(np.float64), p, -1)
    y = nn.PairwiseDistance(p).apply({}, X1, X2)
    np.testing.assert_allclose(y, wanted, rtol=1e-5)
    kept = nn.PairwiseDistance(p, keepdim=True).apply({}, X1, X2)
    np.testing.assert_array_equal(kept, y[:, None])


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize("second", [[[1.0, 2.0, 3.0]], [[1.0, 5.0, 3.0]]], ids=["same", "near"])
def test_gradients_are_finite_where_differences_are_zero(p: float, second: Any) -> None:
    first = jnp.array([[1.0, 2.0, 3.0]])
    model = nn.PairwiseDistance(p, eps=0)

    def total(x: Any) -> Any:
        return model.apply({}, x, jnp.array(second)).sum()

    assert np.isfinite(jax.grad(total)(first)).all()
    assert np.isfinite(jax.jvp(total, (first,), (first,))[1])
    if second == first.tolist():
        assert total(first) == 0
        assert not jax.grad(total)(first).any()


def test_cosines() -> None:
    wanted = (X1 * X2).sum(1) / np.linalg.norm(X1, axis=1) / np.linalg.norm(X2, axis=1)
    np.testing.assert_allclose(nn.CosineSimilarity().apply({}, X1, X2), wanted, rtol=1e-5)
    np.testing.assert_allclose(nn.CosineSimilarity(-2).apply({}, X1.T, X2.T), wanted, rtol=1e-5)
    table = nn.CosineSimilarity(-1).apply({}, X1[:, None], X2)
    np.testing.assert_allclose(np.diag(table), wanted, rtol=1e-5)
    assert table.shape == (5, 5)


def test_an_axis_of_one_number_is_broadcast_before_its_norm() -> None:
    x = np.full((2, 1), 3, np.float32)
    y = nn.CosineSimilarity().apply({}, x, np.ones((2, 4), np.float32))
    np.testing.assert_allclose(y, [1, 1], rtol=1e-6)


def test_short_vectors_are_divided_by_eps() -> None:
    x = jnp.array([[0.0, 0.0], [3e-3, 4e-3]])
    ones = jnp.array([[0.6, 0.8]] * 2)
    model = nn.CosineSimilarity(eps=0.1)
    np.testing.assert_allclose(model.apply({}, x, ones), [0, 0.05], rtol=1e-5)
    for eps in (0.1, 1e-8):
        gradient = jax.grad(lambda x: nn.CosineSimilarity(eps=eps).apply({}, x, ones).sum())(x)  # noqa: B023
        np.testing.assert_allclose(gradient[0], np.array([0.6, 0.8]) / eps, rtol=1e-5)
        assert np.isfinite(gradient).all()


def test_cosines_of_large_numbers_do_not_overflow() -> None:
    x = jnp.full((1, 3), 1e18)
    np.testing.assert_allclose(nn.CosineSimilarity().apply({}, x, x), [1], rtol=1e-6)


@pytest.mark.parametrize("model", [nn.CosineSimilarity(), nn.PairwiseDistance()], ids=repr)
def test_half_types_are_computed_in_float32(model: Any) -> None:
    x1, x2 = (jnp.asarray(x, jnp.bfloat16) for x in (X1, X2))
    y = model.apply({}, x1, x2)
    assert y.dtype == jnp.bfloat16
    wanted = model.apply({}, x1.astype(jnp.float32), x2.astype(jnp.float32))
    np.testing.assert_array_equal(y, wanted.astype(jnp.bfloat16))


@pytest.mark.parametrize(
    ("model", "shapes", "text"),
    [
        (
            nn.CosineSimilarity(),
            ((2, 3), (4, 3)),
            "CosineSimilarity: expected two inputs whose shapes broadcast against each other, got "
            "(2, 3) and (4, 3).",
        ),
        (
            nn.CosineSimilarity(2),
            ((2, 3), (3,)),
            "CosineSimilarity: expected inputs with an axis dim=2, got shapes (2, 3) and (3,).",
        ),
        (
            nn.PairwiseDistance(),
            ((2, 3), (2, 4)),
            "PairwiseDistance: expected two inputs whose shapes broadcast against each other, got "
            "(2, 3) and (2, 4).",
        ),
        (
            nn.PairwiseDistance(),
            ((), ()),
            "PairwiseDistance: expected inputs of one axis or more, got scalars.",
        ),
    ],
)
def test_inputs_that_are_refused(model, shapes, text) -> None:
    with pytest.raises(nn.InputError) as error:
        model.apply({}, *(jnp.ones(shape) for shape in shapes))
    assert str(error.value) == text


def test_dtypes_that_are_refused() -> None:
    with pytest.raises(nn.InputTypeError) as error:
        nn.PairwiseDistance().apply({}, jnp.ones(3), jnp.ones(3, jnp.bfloat16))
    assert str(error.value) == (
        "PairwiseDistance: the inputs are float32[3] and bfloat16[3]; layers promote nothing "
        "silently.\n"
        "  Convert one of them: x2.astype(float32)."
    )
    with pytest.raises(nn.InputTypeError, match="expected an input of floating-point numbers"):
        nn.CosineSimilarity().apply({}, jnp.ones((2, 3), int), jnp.ones((2, 3), int))


def test_arguments_that_are_refused() -> None:
    with pytest.raises(nn.ArgumentError, match=r"^CosineSimilarity\(dim=1\.0\): expected an inte"):
        nn.CosineSimilarity(1.0)
    with pytest.raises(nn.ArgumentError, match=r"^PairwiseDistance\(p=nan\): expected a number\.$"):
        nn.PairwiseDistance(float("nan"))
