"""Declarations: what `param` and `buffer` take and refuse, and that nothing computes with one."""

from __future__ import annotations

import copy
import math
import operator
import pickle
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcparams as fp
from tests.models import Linear, normal, ones, zeros

# What is declared


def test_a_param_says_what_it_is() -> None:
    declared: Any = fp.param((2, 3), normal, jnp.bfloat16, axes=("out", None), trainable=False)
    assert isinstance(declared, fp.Param)
    assert (declared.shape, declared.ndim, declared.size, declared.nbytes) == ((2, 3), 2, 6, 12)
    assert declared.dtype == jnp.bfloat16
    assert declared.init is normal
    assert declared.axes == ("out", None)
    assert declared.trainable is False


def test_a_buffer_says_what_it_is() -> None:
    declared: Any = fp.buffer((), zeros, jnp.int32, persistent=False)
    assert isinstance(declared, fp.Buffer)
    assert (declared.shape, declared.size, declared.nbytes) == ((), 1, 4)
    assert declared.persistent is False


def test_float32_is_the_default_whatever_x64_says() -> None:
    with jax.enable_x64(True):
        declared: Any = fp.param(3, normal)
        assert declared.dtype == np.float32
        assert declared.shape == (3,)


@pytest.mark.parametrize("shape", [4, (4,), [4], np.int64(4)])
def test_shapes(shape: Any) -> None:
    declared: Any = fp.param(shape, normal)
    assert declared.shape == (4,)
    assert type(declared.shape[0]) is int


class Fixed:
    """An initializer that knows shape and dtype."""

    shape = (2,)
    dtype = np.dtype(np.float16)

    def __call__(self, key: Any, shape: Any, dtype: Any) -> jax.Array:
        return jnp.ones(shape, dtype)

    def __repr__(self) -> str:
        return "fixed"


def test_an_initializer_may_know_shape_and_dtype() -> None:
    for declare in (fp.param, fp.buffer):
        declared: Any = declare(init=Fixed())
        assert (declared.shape, declared.dtype) == ((2,), np.float16)
        overruled: Any = declare((3,), Fixed(), jnp.float32)
        assert (overruled.shape, overruled.dtype) == ((3,), np.float32)


def test_a_copy_is_another_declaration() -> None:
    declared: Any = fp.param((2,), normal, trainable=False)
    for other in (declared.copy(), copy.deepcopy(declared), pickle.loads(pickle.dumps(declared))):
        assert other is not declared
        assert other.traits() == declared.traits()
    assert declared.copy(init=ones).init is ones
    assert declared.copy(init=ones).trainable is False


def test_declarations_compare_by_identity() -> None:
    one: Any = fp.param((2,), normal)
    two: Any = fp.param((2,), normal)
    assert (one == two) is False
    assert (one != two) is True
    assert len({one, two}) == 2


def test_repr() -> None:
    assert repr(fp.buffer((2,), Fixed(), jnp.int8)) == "buffer((2,), fixed, int8)"
    assert repr(fp.param((), Fixed(), jnp.bfloat16)) == "param((), fixed, bfloat16)"


# What is refused


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint8, bool])
def test_an_integer_parameter_is_refused(dtype: Any) -> None:
    with pytest.raises(TypeError, match=r"a parameter is floating or complex(.|\n)*fp\.buffer"):
        fp.param((2,), zeros, dtype)
    fp.buffer((2,), zeros, dtype)
    fp.param((2,), zeros, jnp.complex64)


@pytest.mark.parametrize("declare", [fp.param, fp.buffer])
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ((2,),),
            "(init=...): expected a function (key, shape, dtype) -> Array, got no initializer.",
        ),
        (((2,), 3.0), "expected a function (key, shape, dtype) -> Array, got 3.0."),
        (((2,), Fixed), "Fixed'>: write Fixed()."),
        (((2, -1), normal), "(shape=(2, -1)): expected a non-negative int or a tuple of them."),
        ((2.5, normal), "(shape=2.5): expected a non-negative int or a tuple of them."),
        (((2, None), normal), "(shape=(2, None)): expected a non-negative int"),
        ((None, normal), "(shape=None): expected a non-negative int"),
        (("ab", normal), "(shape='ab'): expected a non-negative int"),
        (((2,), normal, "floaty"), "(dtype='floaty'): expected a dtype such as jnp.float32."),
    ],
)
def test_what_cannot_be_meant(declare: Callable[..., Any], arguments: Any, text: str) -> None:
    with pytest.raises(fp.DefinitionTypeError) as caught:
        declare(*arguments)
    assert text in str(caught.value)
    assert str(caught.value).startswith(declare.__name__)


def test_axes_name_every_axis() -> None:
    text = r"param\(axes=\('a',\)\): expected 2 names.*shape \(2, 3\), got 1\. Use None"
    with pytest.raises(fp.DefinitionTypeError, match=text):
        fp.param((2, 3), normal, axes=("a",))


# Nothing computes with one

WEIGHT: Any = Linear(3, 4).weight

BINARY = [
    *(operator.add, operator.sub, operator.mul, operator.matmul, operator.truediv),
    *(operator.floordiv, operator.mod, divmod, operator.pow, operator.lshift, operator.rshift),
    *(operator.and_, operator.xor, operator.or_),
]
UNARY = [
    *(
        operator.neg,
        operator.pos,
        abs,
        operator.invert,
        bool,
        int,
        float,
        complex,
        round,
        len,
        iter,
    ),
    *(operator.index, math.floor, math.ceil, math.trunc, reversed),
]
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge]
OTHERS = [1, 1.5, np.ones(3), jnp.ones(3)]


def refused(compute: Callable[[], Any]) -> None:
    """It raises our error, which names the parameter and says where to compute."""
    with pytest.raises(fp.DeclarationUseError) as caught:
        compute()
    assert isinstance(caught.value, ValueError)
    text = str(caught.value)
    assert text.startswith("Linear.weight is declared as param((4, 3), ")
    assert "holds no numbers" in text
    assert "Compute with it in __call__" in text
    assert "init.array(...)" in text


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: type(other).__name__)
@pytest.mark.parametrize("function", [*BINARY, *COMPARISONS], ids=lambda f: f.__name__)
def test_operators_are_refused_on_both_sides(function: Callable[..., Any], other: Any) -> None:
    refused(lambda: function(WEIGHT, other))
    refused(lambda: function(other, WEIGHT))


@pytest.mark.parametrize("function", UNARY, ids=lambda f: f.__name__)
def test_conversions_are_refused(function: Callable[..., Any]) -> None:
    refused(lambda: function(WEIGHT))


def test_containers_protocols_are_refused() -> None:
    refused(lambda: WEIGHT[0])
    refused(lambda: 3 in WEIGHT)
    refused(lambda: list(WEIGHT))
    refused(lambda: np.add(WEIGHT, 1))
    refused(lambda: "yes" if WEIGHT else "no")

    def put() -> None:
        WEIGHT[0] = 1

    refused(put)


@pytest.mark.parametrize(
    "name", ["T", "at", "sum", "mean", "reshape", "astype", "real", "sharding"]
)
def test_attributes_of_arrays_are_refused(name: str) -> None:
    refused(lambda: getattr(WEIGHT, name))
    assert not hasattr(WEIGHT, name)
    with pytest.raises(fp.DeclarationUseError, match=rf"`\.{name}` needs an array"):
        getattr(WEIGHT, name)


def test_an_attribute_of_nothing_is_pythons_own_error() -> None:
    with pytest.raises(AttributeError, match="'Param' object has no attribute 'weigth'"):
        WEIGHT.weigth  # noqa: B018


@pytest.mark.parametrize(
    "function",
    [
        *(np.asarray, np.array, np.sum, np.sqrt, np.linalg.norm),
        *(jnp.asarray, jnp.array, jnp.sum, jnp.sqrt, jnp.transpose, jnp.linalg.norm),
        *(jax.jit(jnp.exp), jax.nn.gelu, jax.nn.softmax),
        lambda w: jnp.dot(jnp.ones(4), w),
        lambda w: jnp.where(True, w, 0),
        lambda w: jnp.concatenate([w, w]),
        lambda w: jnp.einsum("ij->ji", w),
        lambda w: jax.lax.stop_gradient(jnp.asarray(w)),
    ],
)
def test_functions_of_arrays_are_refused(function: Callable[..., Any]) -> None:
    refused(lambda: function(WEIGHT))


# Python 3.13 reports what a C function's question for an attribute has swallowed: our error.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("function", [jax.lax.exp, jax.nn.relu])
def test_primitives_name_the_class_at_least(function: Callable[..., Any]) -> None:
    """Where JAX does not ask, its own error has to do; older versions ask."""
    with pytest.raises((TypeError, ValueError), match=r"declarations\.Param|Linear\.weight"):
        function(WEIGHT)


def test_shape_and_dtype_may_be_used() -> None:
    assert jnp.zeros_like(WEIGHT).shape == (4, 3)
    assert jnp.result_type(WEIGHT.dtype, jnp.bfloat16) == np.float32
