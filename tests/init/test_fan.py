"""Fans and gains: PyTorch's numbers, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcparams import init
from funcparams.core.errors import DefinitionTypeError, InitializerError


@pytest.mark.parametrize(
    ("name", "param", "gain"),
    [
        ("linear", None, 1),
        ("conv2d", None, 1),
        ("conv_transpose3d", None, 1),
        ("sigmoid", None, 1),
        ("tanh", None, 5 / 3),
        ("relu", None, math.sqrt(2)),
        ("leaky_relu", None, 1.4141428569978354),
        ("leaky_relu", 0.2, 1.3867504905630728),
        ("leaky_relu", 0, math.sqrt(2)),
        ("selu", None, 0.75),
    ],
)
def test_gains(name: str, param: float | None, gain: float) -> None:
    assert init.calculate_gain(name, param) == pytest.approx(gain, rel=1e-15)


def test_an_unknown_nonlinearity_names_the_nearest() -> None:
    with pytest.raises(
        InitializerError,
        match=r"^Unsupported nonlinearity 'leakyrelu'; did you mean 'leaky_relu'\?\n"
        r"  Known are conv1d, .*, tanh\.$",
    ):
        init.calculate_gain("leakyrelu")
    with pytest.raises(ValueError, match="Unsupported nonlinearity 'gelu'"):
        init.kaiming_normal(nonlinearity="gelu")


@pytest.mark.parametrize("slope", [True, "0.1", [0.1]])
def test_a_slope_is_a_number(slope: Any) -> None:
    with pytest.raises(DefinitionTypeError, match=r"^calculate_gain\(param\): expected a number"):
        init.calculate_gain("leaky_relu", slope)


@given(st.lists(st.integers(1, 6), min_size=2, max_size=5))
def test_fans_are_those_of_pytorch_s_layout(shape: list[int]) -> None:
    field = math.prod(shape[2:])
    assert init.fans(shape) == (shape[1] * field, shape[0] * field)
    # jax.nn.initializers' layout, with its axes.
    moved = (*shape[2:], shape[1], shape[0])
    assert init.fans(moved, in_axis=-2, out_axis=-1) == init.fans(shape)


def test_fans_of_several_axes() -> None:
    # An attention's weight of (heads, features of a head, inputs).
    assert init.fans((4, 8, 32), in_axis=2, out_axis=(0, 1)) == (32, 32)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_fans_need_two_axes(shape: tuple[int, ...]) -> None:
    with pytest.raises(InitializerError) as caught:
        init.fans(shape)
    assert str(caught.value) == (
        "Fan in and fan out can not be computed for an array with fewer than 2 dimensions, "
        f"got shape {shape}: use init.uniform or init.normal with the bound or std itself"
    )


def test_fans_of_an_axis_that_is_not_there() -> None:
    with pytest.raises(InitializerError, match=r"^in_axis=2, out_axis=0: shape \(3, 4\) has no"):
        init.fans((3, 4), in_axis=2)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: init.normal(std=-1), r"normal\(std\): expected a number >= 0, but found -1"),
        (lambda: init.normal(std=math.inf), r"normal\(std\): expected a finite number, got inf"),
        (lambda: init.normal(mean=math.nan), r"normal\(mean\): expected a finite number, got nan"),
        (lambda: init.uniform(1, 0), r"uniform expects to draw from \[a, b\], but found a=1 > b=0"),
        (lambda: init.trunc_normal(a=1, b=0), r"\[a, b\], but found a=1 > b=0"),
        (lambda: init.trunc_normal(std=-1), r"trunc_normal\(std\): expected a number >= 0"),
        (
            lambda: init.trunc_normal(std=0.02, a=1, b=2),
            r"mean is more than 12 std from \[a, b\] = \[1, 2\].*\n  a and b are values, not mult",
        ),
        (lambda: init.xavier_uniform(-1), r"xavier_uniform\(gain\): expected a number >= 0"),
        (lambda: init.xavier_normal(-1), r"xavier_normal\(gain\): expected a number >= 0"),
        (
            lambda: init.kaiming_uniform(mode="fan_inn"),
            r"kaiming_uniform\(mode\): Mode 'fan_inn' not supported, please use one of "
            r"\['fan_in', 'fan_out'\]; did you mean 'fan_in'\?",
        ),
        (
            lambda: init.variance_scaling(1, "fan_avgs", "normal"),
            r"Mode 'fan_avgs' not supported, .*'fan_geo_avg'\]; did you mean 'fan_avg'\?",
        ),
        (
            lambda: init.variance_scaling(1, "fan_in", "gaussian"),
            r"variance_scaling\(distribution\): 'gaussian' not supported, please use one of",
        ),
        (lambda: init.variance_scaling(-1, "fan_in", "normal"), r"\(scale\): .* >= 0"),
        (lambda: init.sparse(1.5), r"sparse\(sparsity\): expected a share in \[0, 1\], got 1.5"),
        (lambda: init.sparse(0.1, std=-1), r"sparse\(std\): expected a number >= 0"),
        (lambda: init.dirac(0), r"dirac\(groups\): expected an int >= 1, got 0"),
    ],
)
def test_impossible_arguments_are_refused_at_once(make: Any, text: str) -> None:
    with pytest.raises(InitializerError, match=text) as caught:
        make()
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: init.normal(std="1"), r"normal\(std\): expected a number, got '1', a str"),  # type: ignore[arg-type]
        (lambda: init.uniform(b=True), r"uniform\(b\): expected a number, got True, a bool"),
        (lambda: init.uniform(b=np.ones(1)), "give float"),  # type: ignore[arg-type]
        (lambda: init.dirac(1.5), r"dirac\(groups\): expected an int, got 1.5"),  # type: ignore[arg-type]
        (lambda: init.he_normal(in_axis="1"), r"he_normal\(in_axis\): expected an int or a tuple"),  # type: ignore[arg-type]
        (lambda: init.he_normal(in_axis=()), r"he_normal\(in_axis\): expected an int or a tuple"),
        (lambda: init.constant("a"), r"constant\(val\): expected a number, got 'a', a str"),  # type: ignore[arg-type]
        (lambda: init.constant(np.ones(2)), r"use init.array\(values\)"),  # type: ignore[arg-type]
    ],
)
def test_arguments_of_another_type_are_refused(make: Any, text: str) -> None:
    with pytest.raises(DefinitionTypeError, match=text):
        make()
