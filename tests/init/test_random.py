"""Initializers that draw: bounds, moments, structure, and what jax.nn.initializers has of them."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcparams import init
from funcparams.core.errors import InitializerError, KeyArgumentError

KEY = jax.random.key(17)
SHAPE = (120, 100, 3, 3)
MEAN_OF_FANS = (120 + 100) / 2 * 9

# Each with the bound of its values (None if there is none) and its standard deviation.
SPREAD = [
    (init.uniform(-0.5, 0.5), 0.5, 1 / math.sqrt(12)),
    (init.normal(std=0.02), None, 0.02),
    (init.trunc_normal(std=0.5, a=-1, b=1), 1, 0.5 * 0.8796256610342398),
    (init.xavier_uniform(2), 2 * math.sqrt(3 / MEAN_OF_FANS), 2 / math.sqrt(MEAN_OF_FANS)),
    (init.xavier_normal(2), None, 2 / math.sqrt(MEAN_OF_FANS)),
    (init.kaiming_uniform(math.sqrt(5)), 1 / math.sqrt(900), 1 / math.sqrt(3 * 900)),
    (init.kaiming_normal(mode="fan_out", nonlinearity="relu"), None, math.sqrt(2 / 1080)),
    (init.variance_scaling(3, "fan_geo_avg", "normal"), None, math.sqrt(3 / math.sqrt(900 * 1080))),
    (init.lecun_uniform(), math.sqrt(3 / 900), 1 / math.sqrt(900)),
    (init.lecun_normal(), 2 / math.sqrt(900) / 0.8796, 1 / math.sqrt(900)),
    (init.glorot_uniform(), math.sqrt(3 / MEAN_OF_FANS), 1 / math.sqrt(MEAN_OF_FANS)),
    (init.glorot_normal(), 2 / math.sqrt(MEAN_OF_FANS) / 0.8796, 1 / math.sqrt(MEAN_OF_FANS)),
    (init.he_uniform(), math.sqrt(6 / 900), math.sqrt(2 / 900)),
    (init.he_normal(), 2 * math.sqrt(2 / 900) / 0.8796, math.sqrt(2 / 900)),
]


@pytest.mark.parametrize(("each", "bound", "std"), SPREAD, ids=[repr(row[0]) for row in SPREAD])
def test_bounds_and_moments(each: Any, bound: float | None, std: float) -> None:
    values = np.asarray(each(KEY, SHAPE), np.float64)
    assert values.std() == pytest.approx(std, rel=0.01)
    assert abs(values.mean()) < 5 * std / math.sqrt(values.size)
    extreme = abs(values).max()
    if bound is None:
        assert 4 * std < extreme < 6 * std
    else:
        assert 0.99 * bound < extreme <= bound * (1 + 1e-6)


def test_the_mean_is_added() -> None:
    assert float(init.normal(5, 0.1)(KEY, (1000,)).mean()) == pytest.approx(5, abs=0.02)
    values = init.uniform(2, 3)(KEY, (1000,))
    assert 2 <= values.min() < 2.01
    assert 2.99 < values.max() <= 3


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [
        (0, 1, -2, 2),
        (0, 1, 3, 4),
        (0, 1, 5, 6),  # erf is 1 in float32 from 4 on
        (1, 2, -20, -9),
        (0, 1, 11, 12),
        (0, 1, 0.5, math.inf),
        (0, 1, -math.inf, -2),
        (3, 0.5, -math.inf, math.inf),
    ],
)
def test_the_cut_normal_distribution(mean: float, std: float, a: float, b: float) -> None:
    values = np.asarray(init.trunc_normal(mean, std, a, b)(KEY, (20_000,)), np.float64)
    low, high = (a - mean) / std, (b - mean) / std
    # Its mean, from the densities at both ends and the probability between them.
    density = [math.exp(-end * end / 2) / math.sqrt(2 * math.pi) for end in (low, high)]
    sign = 1 if low > 0 else -1
    inside = abs(math.erfc(sign * low / math.sqrt(2)) - math.erfc(sign * high / math.sqrt(2))) / 2
    expected = mean + std * (density[0] - density[1]) / inside
    assert np.isfinite(values).all()
    assert a <= values.min()
    assert values.max() <= b
    spread = values.std()
    assert values.mean() == pytest.approx(expected, abs=5 * spread / math.sqrt(20_000))


def test_distributions_of_one_point() -> None:
    for each in (
        init.uniform(2, 2),
        init.normal(2, 0),
        init.trunc_normal(2, 0),
        init.trunc_normal(2, 1, 2, 2),
    ):
        assert (each(KEY, (9,)) == 2).all(), each
    # The mean lies outside, so all of it lies at the nearer end.
    assert (init.trunc_normal(9, 0, 0, 1)(KEY, (9,)) == 1).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (init.glorot_uniform(), init.xavier_uniform()),
        (init.he_uniform(), init.kaiming_uniform()),
        (init.he_uniform(), init.variance_scaling(2, "fan_in", "uniform")),
        (init.lecun_normal(), init.variance_scaling(1, "fan_in", "truncated_normal")),
    ],
    ids=repr,
)
def test_names_of_one_formula(one: Any, other: Any) -> None:
    np.testing.assert_allclose(one(KEY, (5, 7)), other(KEY, (5, 7)), rtol=1e-6)


@pytest.mark.parametrize(
    "name",
    "lecun_uniform lecun_normal glorot_uniform glorot_normal he_uniform he_normal".split(),
)
def test_spread_of_jax_s_own(name: str) -> None:
    ours = getattr(init, name)(in_axis=-2, out_axis=-1)(KEY, (3, 40, 120))
    theirs = getattr(jax.nn.initializers, name)()(KEY, (3, 40, 120))
    assert float(ours.std()) == pytest.approx(float(theirs.std()), rel=0.03)
    assert float(abs(ours).max()) == pytest.approx(float(abs(theirs).max()), rel=0.01)


def test_he_normal_is_truncated_and_kaiming_normal_is_not() -> None:
    std = math.sqrt(2 / 900)
    beyond = {
        each: float((abs(each(KEY, SHAPE)) > 2.3 * std).mean())
        for each in (init.he_normal(), init.kaiming_normal())
    }
    assert beyond[init.he_normal()] == 0
    assert beyond[init.kaiming_normal()] == pytest.approx(0.0214, abs=0.002)


def test_fans_of_other_axes() -> None:
    columns = init.lecun_uniform(in_axis=0, out_axis=1)(KEY, (100, 4))
    assert float(abs(columns).max()) == pytest.approx(math.sqrt(3 / 100), rel=0.02)


# --- structure -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3), (4, 2, 3), (7, 2, 2), (1, 1)])
def test_orthogonal_flattens_to_rows(shape: tuple[int, ...]) -> None:
    matrix = np.asarray(init.orthogonal(2)(KEY, shape), np.float64).reshape(shape[0], -1)
    small = min(matrix.shape)
    gram = matrix @ matrix.T if matrix.shape[0] == small else matrix.T @ matrix
    np.testing.assert_allclose(gram, 4 * np.eye(small), atol=1e-5)


def test_orthogonal_is_uniform_over_signs() -> None:
    # A QR decomposition alone gives a fixed sign of the diagonal.
    draw = jax.jit(jax.vmap(lambda key: init.orthogonal()(key, (2, 2))))
    matrices = draw(jax.random.split(KEY, 400))
    for entry in (matrices[:, 0, 0], matrices[:, 1, 1], jnp.linalg.det(matrices)):
        assert 0.4 < float((entry > 0).mean()) < 0.6


def test_orthogonal_is_unitary_for_complex_dtypes() -> None:
    matrix = np.asarray(init.orthogonal()(KEY, (4, 6), jnp.complex64))
    np.testing.assert_allclose(matrix @ matrix.conj().T, np.eye(4), atol=1e-5)
    assert abs(matrix.imag).max() > 0.1


def test_normal_of_complex_dtypes() -> None:
    values = np.asarray(init.normal(3, 2)(KEY, (20_000,), jnp.complex64))
    assert values.mean() == pytest.approx(3, abs=0.06)
    assert values.real.std() == pytest.approx(math.sqrt(2), rel=0.03)
    assert values.imag.std() == pytest.approx(math.sqrt(2), rel=0.03)
    assert abs(np.corrcoef(values.real, values.imag)[0, 1]) < 0.03


def test_sparse_has_exactly_so_many_zeros_a_column() -> None:
    values = np.asarray(init.sparse(0.1, std=0.5)(KEY, (100, 50)))
    assert ((values == 0).sum(axis=0) == 10).all()
    assert values[values != 0].std() == pytest.approx(0.5, rel=0.03)
    rows = (values == 0).sum(axis=1)
    assert rows.max() < 20  # chosen anew for each column, so spread over the rows
    assert (np.asarray(init.sparse(0.25)(KEY, (3, 9))) == 0).sum() == 9  # rounded up to 1 of 3
    assert not init.sparse(1)(KEY, (3, 2)).any()
    assert init.sparse(0)(KEY, (3, 2)).all()


@pytest.mark.parametrize("shape", [(4, 3, 5), (3, 3, 2, 3), (4, 1, 3, 3, 3)])
def test_delta_orthogonal_is_orthogonal_at_the_centre(shape: tuple[int, ...]) -> None:
    weight = np.array(init.delta_orthogonal(1.5)(KEY, shape))
    centre = (slice(None), slice(None), *(size // 2 for size in shape[2:]))
    matrix = weight[centre]
    np.testing.assert_allclose(matrix.T @ matrix, 2.25 * np.eye(shape[1]), atol=1e-5)
    weight[centre] = 0
    assert not weight.any()


@pytest.mark.parametrize(
    ("each", "shape", "text"),
    [
        (init.orthogonal(), (3,), r"^orthogonal\(gain=1.0\): Only arrays with 2 or more dimension"),
        (
            init.sparse(0.1),
            (3, 3, 3),
            r"Only arrays with 2 dimensions are supported, got .*3, 3, 3",
        ),
        (init.delta_orthogonal(), (3, 3), r"Only arrays with 3, 4, or 5 dimensions are supported"),
        (init.delta_orthogonal(), (2, 3, 3), r"may not be more inputs \(axis 1\) than outputs"),
        (init.xavier_normal(), (3,), r"^Fan in and fan out can not be computed"),
        (init.he_normal(in_axis=3), (3, 3), r"has no such axis"),
    ],
    ids=repr,
)
def test_shapes_that_do_not_fit(each: Any, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(InitializerError, match=text):
        each(KEY, shape)


def test_a_key_is_needed_and_checked() -> None:
    for each in (init.normal(), init.orthogonal(), init.sparse(0.1)):
        with pytest.raises(KeyArgumentError, match=r"got the int 0.*\n.*jax.random.key\(0\)"):
            each(0, (3, 3))
        with pytest.raises(KeyArgumentError, match=r"got None\."):
            each(None, (3, 3))


@pytest.mark.parametrize(
    "each",
    [init.orthogonal(), init.sparse(0.1), init.normal(), init.kaiming_uniform()],
    ids=repr,
)
def test_arrays_without_entries(each: Any) -> None:
    for shape in ((0, 3), (3, 0)):
        assert each(KEY, shape).shape == shape
    assert init.delta_orthogonal()(KEY, (3, 0, 2)).shape == (3, 0, 2)


@pytest.mark.parametrize("each", [init.orthogonal(), init.sparse(0.1), init.normal()], ids=repr)
def test_an_integer_dtype_is_refused(each: Any) -> None:
    with pytest.raises(InitializerError, match="draws floating-point numbers, not int32"):
        each(KEY, (3, 3), jnp.int32)
