"""LinearCrossEntropyLoss: what it refuses, and that chunks change nothing."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcparams import nn

X = np.random.RandomState(0).randn(7, 4).astype(np.float32)
TARGET = np.array([0, 1, 2, -1, 4, 3, 0])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_chunks_give_the_same_loss_and_gradients(reduction: str) -> None:
    def run(size: int | None) -> Any:
        model = nn.LinearCrossEntropyLoss(
            4, 5, bias=True, reduction=reduction, ignore_index=-1, batch_chunk_size=size
        )
        params = model.init(jax.random.key(0))
        return jax.value_and_grad(lambda p: model.apply(p, X, TARGET).sum())(params)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), run(None), run(3)
    )


def test_weights_are_a_buffer() -> None:
    model = nn.LinearCrossEntropyLoss(4, 5, weight=np.arange(5.0))
    assert model.abstract_state() == {"weight": jax.ShapeDtypeStruct((5,), jnp.float32)}
    assert model == nn.LinearCrossEntropyLoss(4, 5, weight=list(range(5)))
    assert model != nn.LinearCrossEntropyLoss(4, 5, weight=np.ones(5))
    assert nn.LinearCrossEntropyLoss(4, 5).init_state() == {}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"weight": np.ones(3)}, "(weight=...): expected a number for each of 5 classes, got "),
        ({"label_smoothing": 1.5}, "(label_smoothing=1.5): expected a probability"),
        ({"reduction": "men"}, "(reduction='men'): expected one of 'mean', 'sum', 'none'"),
        ({"out_features": (0,)}, "(out_features=0): expected an integer >= 1"),
        ({"batch_chunk_size": 0}, "(batch_chunk_size=0): expected an integer >= 1"),
        ({"ignore_index": 0.5}, "(ignore_index=0.5): expected an integer"),
    ],
    ids=str,
)
def test_arguments_that_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(nn.ArgumentError) as caught:
        nn.LinearCrossEntropyLoss(4, 5, **options)
    assert str(caught.value).startswith("LinearCrossEntropyLoss" + text)


def test_inputs_that_are_refused() -> None:
    model = nn.LinearCrossEntropyLoss(4, 5)
    params = model.init(jax.random.key(0))
    with pytest.raises(nn.InputError, match=r"LinearCrossEntropyLoss: .*in_features=4.*\(7, 3\)"):
        model.apply(params, X[:, :3], TARGET)
    with pytest.raises(nn.InputTypeError, match="LinearCrossEntropyLoss: the input is bfloat16"):
        model.apply(params, jnp.asarray(X, jnp.bfloat16), TARGET)
    with pytest.raises(nn.InputError, match=r"linear_cross_entropy: .*target"):
        model.apply(params, X, TARGET[:3])
