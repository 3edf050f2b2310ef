"""The gated feed-forward layer."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcparams import nn

KEY = jax.random.key(0)


def test_formula() -> None:
    model = nn.SwiGLU(3, 5, 2, bias=True)
    params = model.init(KEY)
    x = np.random.RandomState(0).randn(4, 3).astype(np.float32)

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return x @ np.asarray(params[name]["weight"]).T + np.asarray(params[name]["bias"])

    gate = linear("gate_proj", x)
    hidden = gate / (1 + np.exp(-gate)) * linear("up_proj", x)
    wanted = linear("down_proj", hidden)
    np.testing.assert_allclose(model.apply(params, x), wanted, rtol=1e-5, atol=1e-6)


def test_what_is_refused() -> None:
    with pytest.raises(nn.ArgumentError) as error:
        nn.SwiGLU(3, 1.5)
    assert str(error.value) == "SwiGLU(hidden_features=1.5): expected an integer >= 0."
    model = nn.SwiGLU(3, 5)
    params = model.init(KEY)
    with pytest.raises(nn.InputError) as error:
        model.apply(params, jnp.ones((2, 4)))
    assert str(error.value) == (
        "SwiGLU: expected an input of shape (..., in_features=3), got shape (2, 4)."
    )
    with pytest.raises(nn.InputTypeError, match=r"^gate_proj \(Linear\): the input is bfloat16"):
        model.apply(params, jnp.ones((2, 3), jnp.bfloat16))
