"""Linear maps: what they refuse, and how they are tied."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcparams as fp
from funcparams import nn

KEY = jax.random.key(0)


def test_values() -> None:
    params = {"weight": jnp.arange(6.0).reshape(2, 3), "bias": jnp.array([10.0, 20.0])}
    y = nn.Linear(3, 2).apply(params, jnp.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(y, [18, 46])


def test_a_head_tied_to_an_embedding_is_one_weight() -> None:
    class Language(fp.Module):
        def __init__(self) -> None:
            self.wte = nn.Embedding(7, 4)
            self.head = nn.Linear(4, 7, bias=False).replace(weight=self.wte.weight)

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.head(self.wte(x))

    model = Language()
    params = model.init(KEY)
    assert [name for name, _ in model.named_parameters()] == ["wte.weight"]
    table = params["wte"]["weight"]
    np.testing.assert_allclose(model.apply(params, jnp.array(3)), table @ table[3], rtol=1e-6)


def test_numpy_inputs_are_taken_in_the_precision_that_jax_has() -> None:
    model = nn.Linear(2, 2)
    assert model.apply(model.init(KEY), np.ones((3, 2))).dtype == jnp.float32


def test_no_inputs_give_the_bias_which_starts_at_zero() -> None:
    model = nn.Linear(0, 3)
    np.testing.assert_array_equal(model.apply(model.init(KEY), jnp.ones((2, 0))), np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.Linear(-1, 2), "Linear(in_features=-1): expected an integer >= 0."),
        (lambda: nn.Linear(2, 2.0), "Linear(out_features=2.0): expected an integer >= 0."),
        (lambda: nn.Linear(2, True), "Linear(out_features=True): expected an integer >= 0."),
        (lambda: nn.Bilinear(0, 2, 2), "Bilinear(in1_features=0): expected an integer >= 1."),
    ],
)
def test_arguments_that_are_refused(make, text) -> None:
    with pytest.raises(nn.ArgumentError) as error:
        make()
    assert str(error.value) == text


@pytest.mark.parametrize("shape", [(), (3,), (4, 3)])
def test_the_last_axis_is_checked(shape: tuple[int, ...]) -> None:
    model = nn.Linear(4, 2)
    with pytest.raises(nn.InputError) as error:
        model.apply(model.init(KEY), jnp.ones(shape))
    assert str(error.value) == (
        f"Linear: expected an input of shape (..., in_features=4), got shape {shape}."
    )


def test_an_error_inside_a_model_names_the_layer() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.Linear(4, 3)))
    with pytest.raises(nn.InputError, match=r"^1\.0 \(Linear\): expected .*=4\), got shape \(3,\)"):
        net.apply(net.init(KEY), jnp.ones(4))


def test_bilinear_checks_both_inputs() -> None:
    model = nn.Bilinear(2, 3, 4)
    params = model.init(KEY)
    with pytest.raises(nn.InputError, match=r"in1_features=2\), got shape \(5, 3\)"):
        model.apply(params, jnp.ones((5, 3)), jnp.ones((5, 3)))
    with pytest.raises(nn.InputError, match=r"in2_features=3\), got shape \(5, 2\)"):
        model.apply(params, jnp.ones((5, 2)), jnp.ones((5, 2)))
    with pytest.raises(nn.InputError, match=r"last axis only, got shapes \(5, 2\) and \(4, 3\)"):
        model.apply(params, jnp.ones((5, 2)), jnp.ones((4, 3)))


@pytest.mark.parametrize("mode", ["standard", "strict"])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.int32])
def test_another_dtype_is_refused_whatever_jax_would_promote(mode: str, dtype: type) -> None:
    model = nn.Linear(2, 2)
    x = jnp.ones((3, 2), dtype)
    with jax.numpy_dtype_promotion(mode), pytest.raises(nn.InputTypeError) as error:
        model.apply(model.init(KEY), x)
    assert str(error.value) == (
        f"Linear: the input is {x.dtype}[3, 2], and the parameters are float32; layers promote "
        "nothing silently.\n"
        "  Convert the input, x.astype(float32), or the parameters: model.astype(dtype) for new "
        "ones, fp.cast(params, dtype) for these."
    )


def test_bilinear_says_which_input_has_another_dtype() -> None:
    model = nn.Bilinear(2, 2, 1)
    with pytest.raises(nn.InputTypeError, match=r"the second input is float16\[2\]"):
        model.apply(model.init(KEY), jnp.ones(2), jnp.ones(2, jnp.float16))
