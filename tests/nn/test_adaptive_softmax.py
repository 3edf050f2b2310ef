"""`AdaptiveLogSoftmaxWithLoss`: all classes together, one program, wrong targets, and refusals."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcparams import nn

MODEL = nn.AdaptiveLogSoftmaxWithLoss(8, 12, [4, 7], div_value=2.0)
PARAMS = MODEL.init(jax.random.key(0))
X = np.random.RandomState(0).randn(12, 8).astype(np.float32)
TARGET = np.arange(12)


def test_probabilities_of_all_classes_sum_to_1_and_are_those_of_the_targets() -> None:
    bound = MODEL.bind(PARAMS)
    every = bound.log_prob(X)
    assert every.shape == (12, 12)
    np.testing.assert_allclose(np.exp(every).sum(1), 1, rtol=1e-5)
    result = MODEL.apply(PARAMS, X, TARGET)
    np.testing.assert_allclose(result.output, np.diag(every), rtol=1e-5)
    np.testing.assert_allclose(result.loss, -np.diag(every).mean(), rtol=1e-5)
    np.testing.assert_array_equal(bound.predict(X), every.argmax(1))
    assert set(np.asarray(bound.predict(X * 3))) - set(range(4)), "no rare class is the likeliest"


def test_parameters_have_the_names_and_shapes_of_pytorch() -> None:
    assert {name: weight.shape for name, weight in MODEL.named_parameters()} == {
        "head.weight": (6, 8),
        "tail.0.0.weight": (4, 8),
        "tail.0.1.weight": (3, 4),
        "tail.1.0.weight": (2, 8),
        "tail.1.1.weight": (5, 2),
    }
    biased = nn.AdaptiveLogSoftmaxWithLoss(8, 12, [4], head_bias=True)
    assert [name for name, _ in biased.named_parameters()][:2] == ["head.weight", "head.bias"]
    assert MODEL.cutoffs == (4, 7, 12)


def test_one_example_needs_no_batch_axis() -> None:
    for index in (0, 5, 11):
        output, loss = MODEL.apply(PARAMS, X[index], TARGET[index])
        assert output.shape == loss.shape == ()
        np.testing.assert_allclose(output, MODEL.apply(PARAMS, X, TARGET).output[index], rtol=1e-5)
    bound = MODEL.bind(PARAMS)
    np.testing.assert_allclose(bound.log_prob(X[0]), bound.log_prob(X)[0], rtol=1e-5)
    assert bound.predict(X[0]) == bound.predict(X)[0]


def test_one_program_serves_all_targets() -> None:
    chex.clear_trace_counter()
    compiled = jax.jit(chex.assert_max_traces(lambda p, x, t: MODEL.apply(p, x, t), n=1))
    for target in (np.zeros(12, int), np.full(12, 11), TARGET):
        wanted = MODEL.apply(PARAMS, X, target)
        chex.assert_trees_all_close(compiled(PARAMS, X, target), wanted, rtol=1e-5)


def test_clusters_without_targets_get_no_gradient_and_nothing_is_nan() -> None:
    def loss(params: Any, x: Any, target: Any) -> Any:
        return MODEL.apply(params, x, target).loss

    gradients = jax.grad(loss)(PARAMS, X, np.zeros(12, int))
    assert gradients["head"]["weight"].any()
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradients["tail"]))
    # Scores far apart, whose exponentials under- and overflow.
    of_both = jax.grad(loss, (0, 1))(jax.tree.map(lambda a: 1e4 * a, PARAMS), 1e4 * X, TARGET)
    chex.assert_tree_all_finite(of_both)


@pytest.mark.parametrize("wrong", [12, -1, 100])
def test_a_target_that_is_no_class_is_nan_and_gets_no_gradient(wrong: int) -> None:
    target = np.where(np.arange(12) == 3, wrong, TARGET)
    output, loss = jax.jit(MODEL.apply)(PARAMS, X, target)
    np.testing.assert_array_equal(np.isnan(output), np.arange(12) == 3)
    assert np.isnan(loss)

    def total(x: Any) -> Any:
        return jnp.nansum(MODEL.apply(PARAMS, x, target).output)

    gradient = jax.grad(total)(X)
    assert np.isfinite(gradient).all()
    assert not gradient[3].any()


def test_a_cluster_may_have_no_space_of_its_own() -> None:
    model = nn.AdaptiveLogSoftmaxWithLoss(6, 12, [4, 7])  # 6 // 4 ** 2 is 0
    params = model.init(jax.random.key(1))
    assert params["tail"]["1"]["0"]["weight"].shape == (0, 6)
    every = model.bind(params).log_prob(X[:, :6])
    np.testing.assert_allclose(every[:, 7:], np.repeat(every[:, 7:8], 5, 1), rtol=1e-6)
    np.testing.assert_allclose(np.exp(every).sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 12, []),
            "AdaptiveLogSoftmaxWithLoss(cutoffs=[]): expected integers, one at least.",
        ),
        (
            lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 12, 4),
            "AdaptiveLogSoftmaxWithLoss(cutoffs=4): expected integers, one at least.",
        ),
        (
            lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 12, [4.0]),
            "AdaptiveLogSoftmaxWithLoss(cutoffs=4.0): expected an integer.",
        ),
        *(
            (
                lambda cutoffs=cutoffs: nn.AdaptiveLogSoftmaxWithLoss(8, 12, cutoffs),
                f"AdaptiveLogSoftmaxWithLoss(n_classes=12, cutoffs={cutoffs}): expected increasing "
                "integers from 1 to n_classes - 1.",
            )
            for cutoffs in ([7, 4], [0, 4], [4, 12], [4, 4])
        ),
        (
            lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 12, [4], div_value=0),
            "AdaptiveLogSoftmaxWithLoss(div_value=0): expected a number > 0.",
        ),
    ],
)
def test_arguments_that_are_refused(make, text) -> None:
    with pytest.raises(nn.ArgumentError) as error:
        make()
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("x", "target", "text"),
    [
        (
            (3, 8),
            (2,),
            "expected a target of shape (3,) beside this input, got shape (2,).",
        ),
        ((8,), (1,), "expected a target of shape () beside this input, got shape (1,)."),
        (
            (2, 3, 8),
            (2, 3),
            "expected an input of shape (N, in_features=8), or (in_features=8,) without a batch "
            "axis, got shape (2, 3, 8).",
        ),
        ((3, 7), (3,), "expected an input of shape (..., in_features=8), got shape (3, 7)."),
    ],
)
def test_inputs_that_are_refused(x, target, text) -> None:
    with pytest.raises(nn.InputError) as error:
        MODEL.apply(PARAMS, jnp.ones(x), jnp.zeros(target, int))
    assert str(error.value) == f"AdaptiveLogSoftmaxWithLoss: {text}"


def test_dtypes_that_are_refused() -> None:
    with pytest.raises(nn.InputTypeError, match=r"expected integers for target, got float32\[12\]"):
        MODEL.apply(PARAMS, X, jnp.ones(12))
    with pytest.raises(nn.InputTypeError, match=r"the input is float16\[12, 8\]"):
        MODEL.apply(PARAMS, X.astype(np.float16), TARGET)
