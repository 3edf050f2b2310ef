"""Initializers against torch.nn.init: one distribution, one structure, the same refusals."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
import torch
from scipy import stats

from funcparams import init

KEY = jax.random.key(29)
WEIGHTS = [(150, 60), (60, 20, 3, 3)]

DISTRIBUTIONS = [
    ("uniform", {"a": -0.3, "b": 0.7}),
    ("uniform", {}),
    ("normal", {"mean": 0.5, "std": 0.1}),
    ("normal", {}),
    ("trunc_normal", {}),
    ("trunc_normal", {"mean": 0.1, "std": 0.5, "a": -0.2, "b": 1.0}),
    ("trunc_normal", {"a": 2.0, "b": 3.0}),
    ("xavier_uniform", {}),
    ("xavier_uniform", {"gain": 5 / 3}),
    ("xavier_normal", {}),
    ("xavier_normal", {"gain": 0.5}),
    ("kaiming_uniform", {}),
    ("kaiming_uniform", {"a": 5**0.5}),
    ("kaiming_uniform", {"mode": "fan_out", "nonlinearity": "relu"}),
    ("kaiming_normal", {"a": 0.2}),
    ("kaiming_normal", {"mode": "fan_out", "nonlinearity": "selu"}),
    ("sparse", {"sparsity": 0.3, "std": 0.05}),
]


def theirs(name: str, shape: tuple[int, ...], **arguments: Any) -> np.ndarray[Any, Any]:
    tensor = torch.empty(shape)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        getattr(torch.nn.init, name + "_")(tensor, **arguments)
    return tensor.numpy()


@pytest.mark.filterwarnings("ignore:mean is more than 2 std")
@pytest.mark.parametrize("shape", WEIGHTS, ids=str)
@pytest.mark.parametrize(("name", "arguments"), DISTRIBUTIONS, ids=str)
def test_one_distribution(name: str, arguments: dict[str, Any], shape: tuple[int, ...]) -> None:
    if name == "sparse":
        shape = shape[:2]
    ours = np.asarray(getattr(init, name)(**arguments)(KEY, shape)).ravel()
    other = theirs(name, shape, **arguments).ravel()
    # Both are fixed draws, so this is no test that fails by chance.
    assert stats.ks_2samp(ours, other).pvalue > 0.01
    assert ours.std() == pytest.approx(other.std(), rel=0.05)
    for end in (np.min, np.max):
        if "uniform" in name or name == "trunc_normal":
            assert float(end(ours)) == pytest.approx(
                float(end(other)), abs=0.02 * float(np.ptp(other))
            )


@pytest.mark.parametrize("name", "uniform normal trunc_normal xavier_uniform xavier_normal "
    "kaiming_uniform kaiming_normal orthogonal sparse dirac constant".split())  # fmt: skip
def test_arguments_have_pytorch_s_names_and_defaults(name: str) -> None:
    import inspect

    def arguments(function: Any) -> dict[str, Any]:
        listed = inspect.signature(function).parameters
        return {key: parameter.default for key, parameter in listed.items()}

    expected = arguments(getattr(torch.nn.init, name + "_"))
    del expected["tensor"]
    expected.pop("generator", None)
    assert arguments(getattr(init, name)) == expected


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [
        ("eye", {}, (3, 5)),
        ("zeros", {}, (2, 3)),
        ("ones", {}, (2, 3)),
        ("constant", {"val": 0.3}, (2, 3)),
        ("dirac", {}, (3, 5, 3)),
        ("dirac", {}, (5, 3, 4, 3)),
        ("dirac", {"groups": 2}, (4, 2, 3)),
        ("dirac", {"groups": 3}, (6, 5, 2, 3, 4)),
    ],
)
def test_the_same_values(name: str, arguments: dict[str, Any], shape: tuple[int, ...]) -> None:
    ours = getattr(init, name)(**arguments)(None, shape)
    np.testing.assert_array_equal(ours, theirs(name, shape, **arguments))


@pytest.mark.parametrize("shape", [(8, 5), (5, 8), (6, 2, 2, 3)])
def test_orthogonal_rows_of_the_same_flattening(shape: tuple[int, ...]) -> None:
    for values in (
        np.asarray(init.orthogonal(gain=2)(KEY, shape)),
        theirs("orthogonal", shape, gain=2),
    ):
        matrix = values.reshape(shape[0], -1)
        small = min(matrix.shape)
        gram = matrix @ matrix.T if matrix.shape[0] == small else matrix.T @ matrix
        np.testing.assert_allclose(gram, 4 * np.eye(small), atol=1e-5)


def test_sparse_zeros_of_a_column() -> None:
    for values in (
        np.asarray(init.sparse(0.1)(KEY, (100, 50))),
        theirs("sparse", (100, 50), sparsity=0.1),
    ):
        assert ((values == 0).sum(axis=0) == 10).all()


@pytest.mark.parametrize("slope", [None, 0, 0.01, 0.2, -0.5])
def test_gains(slope: float | None) -> None:
    for name in (
        "linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d "
        "sigmoid tanh relu leaky_relu selu"
    ).split():
        expected = torch.nn.init.calculate_gain(name, slope)
        assert init.calculate_gain(name, slope) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("shape", [(3, 4), (16, 6, 5, 5), (2, 3, 4), (7, 1, 2, 2, 2)])
def test_fans(shape: tuple[int, ...]) -> None:
    assert init.fans(shape) == torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [
        ("xavier_uniform", {}, (3,)),
        ("kaiming_normal", {}, (3,)),
        ("kaiming_normal", {"mode": "fan_both"}, (3, 3)),
        ("kaiming_normal", {"nonlinearity": "gelu"}, (3, 3)),
        ("eye", {}, (3,)),
        ("dirac", {}, (3, 3)),
        ("dirac", {"groups": 2}, (3, 3, 3)),
        ("sparse", {"sparsity": 0.1}, (3,)),
        ("orthogonal", {}, (3,)),
    ],
)
def test_what_both_refuse(name: str, arguments: dict[str, Any], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as expected:  # noqa: PT011
        theirs(name, shape, **arguments)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        getattr(init, name)(**arguments)(KEY, shape)
    # The same words, but for what is ours: arrays.
    words = str(expected.value).replace("Tensor", "tensor").replace("tensor", "array").split()
    text = str(caught.value).replace("'", "")
    assert sum(word in text for word in words) > 0.7 * len(words)
