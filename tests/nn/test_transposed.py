"""Transposed convolutions: the adjoints of convolutions, their sizes, and what they refuse."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcparams import nn
from funcparams.testing import assert_same_program, operation_counts

KEY = jax.random.key(0)
X = np.random.RandomState(0).randn(2, 4, 3, 5).astype(np.float32)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_it_is_the_adjoint_of_the_convolution_with_the_same_weight(groups: int) -> None:
    options = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": groups}
    forth = nn.Conv2d(6 * groups, 4, 3, bias=False, **options)
    back = nn.ConvTranspose2d(4, 6 * groups, 3, bias=False, **options)
    params = forth.init(KEY)
    assert back.abstract() == forth.abstract()
    image = np.random.RandomState(1).randn(2, 6 * groups, 5, 9).astype(np.float32)
    y, pull = jax.vjp(lambda x: forth.apply(params, x), image)
    assert y.shape == X.shape
    np.testing.assert_allclose(back.apply(params, X), pull(X)[0], rtol=1e-4, atol=1e-5)


def test_channels_last_is_the_same_function_of_moved_data() -> None:
    options = {"stride": 2, "padding": 1, "output_padding": (0, 1), "groups": 2}
    first = nn.ConvTranspose2d(4, 6, (3, 2), **options)
    last = nn.ConvTranspose2d(4, 6, (3, 2), **options, channels_last=True)
    params = first.init(KEY)
    assert first.abstract() == last.abstract()
    moved = last.apply(params, np.moveaxis(X, 1, -1))
    y = first.apply(params, X)
    np.testing.assert_allclose(np.moveaxis(moved, -1, 1), y, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(first.apply(params, X[1]), y[1], rtol=1e-5, atol=1e-5)


def test_output_size_is_the_spatial_size_or_the_whole_shape() -> None:
    model = nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1)
    params = model.init(KEY)
    assert model.apply(params, X).shape == (2, 3, 5, 9)
    for size in ((6, 9), (2, 3, 6, 9)):
        assert model.apply(params, X, output_size=size).shape == (2, 3, 6, 9)
    assert model.apply(params, X[0], output_size=[3, 6, 10]).shape == (3, 6, 10)
    last = nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, channels_last=True)
    moved = np.moveaxis(X, 1, -1)
    assert last.apply(params, moved, output_size=(2, 6, 9, 3)).shape == (2, 6, 9, 3)


def test_the_initial_values_are_those_of_the_second_axis() -> None:
    params = nn.ConvTranspose1d(64, 8, 5).init(KEY)
    bound = 1 / np.sqrt(8 * 5)
    for values in params.values():
        assert np.abs(values).max() <= bound
    assert np.abs(params["weight"]).max() >= 0.99 * bound
    assert np.abs(params["bias"]).max() >= 0.5 * bound


def test_the_program_is_one_convolution() -> None:
    model = nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1)
    params = model.abstract()
    x = jax.ShapeDtypeStruct(X.shape, X.dtype)

    def by_hand(p: Any, x: Any) -> Any:
        y = lax.conv_general_dilated(
            x,
            lax.rev(p["weight"], (2, 3)),
            (1, 1),
            [(1, 2), (1, 2)],
            lhs_dilation=(2, 2),
            dimension_numbers=("NCHW", "IOHW", "NCHW"),
        )
        return y + p["bias"][:, None, None]

    assert_same_program(model.apply, by_hand, params, x)


def test_its_derivatives_by_the_weight_are_those_of_what_it_computes() -> None:
    model = nn.ConvTranspose2d(4, 3, (3, 2), (2, 3), (4, 0), (1, 2), dilation=(2, 1), bias=False)
    params = model.init(KEY)
    tangent = jax.tree.map(lambda a: jnp.cos(7 * a), params)

    def loss(params: Any) -> Any:
        return jnp.sum(model.apply(params, X) ** 3)

    # Of a convolution that is linear in the weight, the tangent is the convolution with it.
    pushed = jax.jvp(lambda p: model.apply(p, X), (params,), (tangent,))[1]
    np.testing.assert_allclose(pushed, model.apply(tangent, X), rtol=1e-4, atol=1e-4)
    y, gradient = model.apply(params, X), jax.grad(loss)(params)
    wanted = jnp.sum(3 * y**2 * pushed)
    found = jnp.vdot(gradient["weight"], tangent["weight"])
    np.testing.assert_allclose(found, wanted, rtol=1e-3)
    # The second derivative, once along the tangent.
    curved = jax.jvp(jax.grad(loss), (params,), (tangent,))[1]
    second = jnp.vdot(curved["weight"], tangent["weight"])
    np.testing.assert_allclose(second, jnp.sum(6 * y * pushed**2), rtol=1e-3)


@pytest.mark.parametrize(("groups", "transposes"), [(1, 0), (2, 1), (4, 0)])
def test_the_weight_is_transposed_only_where_groups_of_several_ask_for_it(
    groups: int, transposes: int
) -> None:
    model = nn.ConvTranspose2d(4, 4, 3, groups=groups)
    x = jax.ShapeDtypeStruct(X.shape, X.dtype)
    counts = operation_counts(model.apply, model.abstract(), x)
    assert counts["stablehlo.transpose"] == transposes
    assert counts["stablehlo.convolution"] == 1
    assert counts["stablehlo.convert"] == 0


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: nn.ConvTranspose2d(3, 4, 3, groups=2),
            "ConvTranspose2d(in_channels=3, groups=2): in_channels must be divisible by groups.",
        ),
        (
            lambda: nn.ConvTranspose2d(4, 3, 3, groups=2),
            "ConvTranspose2d(out_channels=3, groups=2): out_channels must be divisible by groups.",
        ),
        (
            lambda: nn.ConvTranspose2d(4, 4, 3, stride=(1, 2), output_padding=1),
            "ConvTranspose2d(output_padding=(1, 1), stride=(1, 2), dilation=(1, 1)): "
            "output_padding must be smaller than stride or dilation on each axis.",
        ),
        (
            lambda: nn.ConvTranspose1d(4, 4, 3, padding_mode="reflect"),
            "ConvTranspose1d(padding_mode='reflect'): expected one of 'zeros'.",
        ),
        (
            lambda: nn.ConvTranspose1d(4, 4, 3, padding="same"),
            "ConvTranspose1d(padding='same'): expected an integer >= 0.",
        ),
        (
            lambda: nn.ConvTranspose3d(4, 4, (3, 3)),
            "ConvTranspose3d(kernel_size=(3, 3)): expected one integer, or one for each of 3 axes.",
        ),
    ],
)
def test_arguments_that_are_refused(make: Any, text: str) -> None:
    with pytest.raises(nn.ArgumentError) as error:
        make()
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("model", "shape", "options", "text"),
    [
        (
            nn.ConvTranspose2d(3, 4, 3),
            (2, 5, 5, 3),
            {},
            "ConvTranspose2d: expected in_channels=3 channels on axis 1 (channels_last=False), got "
            "5 in an input of shape (2, 5, 5, 3).",
        ),
        (
            nn.ConvTranspose1d(3, 4, 3),
            (3,),
            {},
            "ConvTranspose1d: expected an input of shape (N, C, L), or (C, L) without a batch "
            "axis, got shape (3,).",
        ),
        (
            nn.ConvTranspose1d(3, 4, 3, padding=2),
            (3, 2),
            {},
            "ConvTranspose1d: expected an input that is large enough for padding=(2,), got shape "
            "(3, 2), for which the output would have the spatial size (0,).",
        ),
        (
            nn.ConvTranspose2d(3, 4, 3, stride=2),
            (3, 2, 2),
            {"output_size": (5, 7)},
            "ConvTranspose2d: expected an output_size from (5, 5) to (6, 6) for an input of shape "
            "(3, 2, 2), got (5, 7).",
        ),
        (
            nn.ConvTranspose2d(3, 4, 3, stride=2),
            (3, 2, 2),
            {"output_size": (5,)},
            "ConvTranspose2d: expected an output_size of 2 or 3 numbers for an input of shape "
            "(3, 2, 2), got (5,).",
        ),
    ],
)
def test_inputs_that_are_refused(model: Any, shape: Any, options: Any, text: str) -> None:
    with pytest.raises(nn.InputError) as error:
        model.apply(model.init(KEY), jnp.ones(shape), **options)
    assert str(error.value) == text


def test_another_dtype_is_refused() -> None:
    model = nn.ConvTranspose2d(4, 3, 3)
    with pytest.raises(nn.InputTypeError, match=r"the input is bfloat16\[2, 4, 3, 5\]"):
        model.apply(model.init(KEY), jnp.asarray(X, jnp.bfloat16))
