"""Initializers are values: written as they are made, compared, hashed, pickled and copied."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcparams import init
from funcparams.core.declarations import Declaration
from funcparams.core.errors import DefinitionTypeError
from tests.initializers import OURS


@pytest.mark.parametrize("each", OURS, ids=repr)
def test_the_repr_evaluates_to_it(each: Any) -> None:
    again = eval(repr(each), vars(init).copy())
    assert again == each
    assert hash(again) == hash(each)
    assert type(again) is type(each)


@pytest.mark.parametrize("each", OURS, ids=repr)
def test_copies_and_pickles_are_equal(each: Any) -> None:
    for again in (copy.copy(each), copy.deepcopy(each), pickle.loads(pickle.dumps(each))):
        assert again == each
        assert hash(again) == hash(each)


@pytest.mark.parametrize("each", OURS, ids=repr)
def test_it_cannot_be_changed(each: Any) -> None:
    name = (
        next((field.name for field in dataclasses.fields(each)), "std")
        if (dataclasses.is_dataclass(each))
        else "std"
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(each, name, 2.0)


def test_all_of_them_differ() -> None:
    assert len(set(OURS)) == len(OURS)
    assert init.zeros() != init.ones()
    assert init.xavier_uniform() != init.xavier_normal()


def test_numbers_are_floats_however_they_were_given() -> None:
    for std in (1, 1.0, np.float32(1), np.int64(1)):
        assert init.normal(std=std) == init.normal()
        assert repr(init.normal(std=std)) == "normal(mean=0.0, std=1.0)"
    assert repr(init.kaiming_uniform(math.sqrt(4), mode="FAN_OUT")) == (
        "kaiming_uniform(a=2.0, mode='fan_out', nonlinearity='leaky_relu')"
    )


def test_every_public_name_is_there() -> None:
    of_torch = """calculate_gain uniform normal trunc_normal constant ones zeros eye dirac
        xavier_uniform xavier_normal kaiming_uniform kaiming_normal orthogonal sparse""".split()
    of_jax = """variance_scaling lecun_uniform lecun_normal glorot_uniform glorot_normal he_uniform
        he_normal delta_orthogonal array fans""".split()
    assert set(init.__all__) == {*of_torch, *of_jax}


def test_random_says_whether_a_key_is_needed() -> None:
    fixed = {type(each) for each in OURS if not each.random}
    assert {kind.__name__ for kind in fixed} == {
        "zeros", "ones", "constant", "eye", "dirac", "array",
    }  # fmt: skip


def test_a_class_is_no_initializer() -> None:
    import funcparams as fp

    with pytest.raises(DefinitionTypeError, match=r"write zeros\(\)"):
        fp.param((3,), init.zeros)  # type: ignore[arg-type]


def test_an_array_lends_a_declaration_its_shape_and_dtype() -> None:
    import funcparams as fp

    declared: Any = fp.buffer(init=init.array(np.zeros((2, 3), np.int8)))
    assert isinstance(declared, Declaration)
    assert (declared.shape, declared.dtype) == ((2, 3), np.int8)


# --- constants -----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 3, -2, 0.5, True, math.inf, math.nan, 1 + 2j])
def test_constants_of_every_kind(value: Any) -> None:
    dtype = jnp.complex64 if isinstance(value, complex) else jnp.float32
    filled = init.constant(value)(None, (2, 2), dtype)
    np.testing.assert_array_equal(filled, np.full((2, 2), value, dtype))
    assert init.constant(value) == pickle.loads(pickle.dumps(init.constant(value)))
    assert hash(init.constant(value)) == hash(init.constant(value))


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (0.5, jnp.int32),
        (-1, jnp.uint8),
        (300, jnp.int8),
        (2, jnp.bool_),
        (math.nan, jnp.int32),
        (math.inf, jnp.int32),
        (1j, jnp.float32),
    ],
)
def test_a_constant_that_the_dtype_cannot_hold(value: Any, dtype: Any) -> None:
    with pytest.raises(ValueError, match=r"^constant\(val=.*\) does not fit into dtype"):
        init.constant(value)(None, (2,), dtype)


def test_whole_numbers_fit_into_integers() -> None:
    assert init.constant(2.0)(None, (), jnp.int32) == 2
    assert init.constant(np.int64(-7))(None, (), jnp.int8) == -7
    assert init.constant(1)(None, (), jnp.bool_)


def test_a_large_constant_is_made_by_jax() -> None:
    filled = init.zeros()(None, (5, 1 << 20))
    assert filled.shape == (5, 1 << 20)
    assert not filled.any()


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (4, 2), (0, 2)])
def test_eye(shape: tuple[int, int]) -> None:
    np.testing.assert_array_equal(init.eye()(None, shape), np.eye(*shape))


def test_dirac_of_two_groups() -> None:
    weight = np.asarray(init.dirac(2)(None, (4, 2, 3)))
    assert set(zip(*np.nonzero(weight), strict=True)) == {
        (0, 0, 1), (1, 1, 1), (2, 0, 1), (3, 1, 1),
    }  # fmt: skip
    assert weight.sum() == 4
    assert init.dirac()(None, (0, 2, 3)).shape == (0, 2, 3)


@pytest.mark.parametrize(
    ("each", "shape", "text"),
    [
        (init.eye(), (3,), r"^eye\(\): Only arrays with 2 dimensions are supported, got .*\(3,\)"),
        (init.dirac(), (3, 3), r"Only arrays with 3, 4, or 5 dimensions are supported"),
        (init.dirac(3), (4, 3, 3), r"^dirac\(groups=3\): dim 0 must be divisible by groups"),
    ],
)
def test_shapes_that_do_not_fit(each: Any, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        each(None, shape)


# --- values given --------------------------------------------------------------------------------


def test_an_array_is_a_copy() -> None:
    values = np.ones((2, 2), np.float32)
    held = init.array(values)
    values[:] = 7
    made = held(None, (2, 2))
    assert (made == 1).all()
    jax.jit(lambda x: x + 1, donate_argnums=0)(made)
    assert (held(None, (2, 2)) == 1).all()
    assert (jax.jit(lambda: held(None, (2, 2)))() == 1).all()


def test_arrays_are_equal_by_content() -> None:
    held = init.array([[1.0, 2.0]])
    assert held == init.array(np.array([[1, 2]], np.float32))
    assert held == init.array(jnp.array([[1.0, 2.0]]))
    assert held != init.array([[1.0, 3.0]])
    assert held != init.array([1.0, 2.0])
    assert held != init.array([[1, 2]])
    assert held != "array"
    assert init.array([0.0]) != init.array([-0.0])
    assert init.array([math.nan]) == init.array([math.nan])


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1.0, 2], "float32"),
        ([1, 2], "int32"),
        (3, "int32"),
        ([True], "bool"),
        ([1j], "complex64"),
        (np.zeros(2), "float64"),
        (np.zeros(2, np.float16), "float16"),
        (np.arange(2, dtype=np.int64), "int64"),
        (np.float64(2), "float64"),
        (jnp.zeros(2, jnp.bfloat16), "bfloat16"),
    ],
)
def test_dtypes_of_arrays(values: Any, dtype: str) -> None:
    assert init.array(values).dtype.name == dtype
    assert init.array(values, dtype=jnp.complex64).dtype.name == "complex64"


def test_the_repr_of_many_values_is_short() -> None:
    text = repr(init.array(np.zeros((100, 100), np.float32)))
    assert text.startswith("array(<float32 (100, 100), blake2b ")
    assert len(text) < 60


def test_an_array_is_converted_where_only_digits_are_lost() -> None:
    held = init.array([1, 2])
    assert held(None, (2,)).dtype == jnp.int32
    assert held(None, (2,), jnp.bfloat16).dtype == jnp.bfloat16
    assert init.array([0.5])(None, (1,), jnp.float16).dtype == jnp.float16


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: init.array([1.0, 2.0])(None, (3,)),
            ValueError,
            r"holds values of shape \(2,\), expected \(3,\): declare that shape, or leave it out",
        ),
        (
            lambda: init.array([1.5])(None, (1,), jnp.int32),
            ValueError,
            r"holds float32 values, expected int32: give init.array\(values, dtype=jnp.int32\)",
        ),
        (
            lambda: init.array(np.zeros(2))(None, (2,)),
            ValueError,
            r"float64 needs jax.config.update\('jax_enable_x64', True\).*dtype=jnp.float32",
        ),
        (lambda: init.array([[1.0], [1.0, 2.0]]), TypeError, r"^array\(values\): expected numb"),
        (lambda: init.array("text"), TypeError, r"^array\(values\): expected numbers, got dtype"),
        (lambda: init.array([2**40]), TypeError, r"does not fit into int32: give a dtype"),
        (lambda: jax.jit(init.array)(1.0), TypeError, r"expected known values, got the traced"),
        (lambda: init.array(jax.random.key(0)), TypeError, r"^array\(values\): expected numbers"),
    ],
)
def test_what_an_array_refuses(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


@pytest.mark.parametrize("each", [init.zeros(), init.eye(), init.constant(2)], ids=repr)
def test_fixed_ones_take_every_dtype(each: Any) -> None:
    for dtype in (jnp.int8, jnp.uint32, jnp.bfloat16, jnp.complex64):
        assert each(None, (2, 2), dtype).dtype == dtype
