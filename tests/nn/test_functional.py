"""Losses as functions: what holds for all of them, their edges, and what they refuse."""

from __future__ import annotations

import itertools
import re
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcparams as fp
from funcparams import nn
from funcparams.nn import functional as F
from tests.loss_cases import CASES, Loss

EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
FEW = [case for name in F.__all__ for case in [c for c in CASES if c.name == name][:3]]
X = jnp.asarray(np.random.RandomState(0).randn(3, 5), jnp.float32)
LABELS = jnp.array([0, 4, 2])


def floats(given: dict[str, Any]) -> dict[str, Any]:
    return {key: x for key, x in given.items() if jnp.issubdtype(x.dtype, jnp.floating)}


# What holds for every loss


def test_every_loss_has_cases() -> None:
    assert {case.name for case in CASES} == set(F.__all__)
    assert nn.functional is F


@EVERY_CASE
def test_compiles_maps_and_has_finite_gradients_of_one_dtype(case: Loss) -> None:
    given = case.given(jnp.float32)
    chosen = floats(given)

    def total(chosen: Any) -> Any:
        loss = case({**given, **chosen}, "none")
        return jnp.sum(loss), loss

    stacked = jax.tree.map(lambda x: jnp.stack([0.9 * x, x]), chosen)
    with jax.numpy_dtype_promotion("strict"):
        eager = case(given, "none")
        (_, losses), gradients = jax.jit(jax.vmap(jax.value_and_grad(total, has_aux=True)))(stacked)
    chex.assert_trees_all_close(losses[1], eager, rtol=2e-5, atol=1e-6)
    chex.assert_tree_all_finite(gradients)
    chex.assert_trees_all_equal_shapes_and_dtypes(gradients, stacked)


@pytest.mark.parametrize("case", FEW, ids=lambda case: case.id)
def test_half_precision_is_returned_and_not_computed_in(case: Loss) -> None:
    halves = case.given(jnp.bfloat16)
    wide = {**halves, **{key: x.astype(jnp.float32) for key, x in floats(halves).items()}}

    @jax.jit
    def losses(given: Any) -> Any:
        return [case(given, reduction) for reduction in case.reductions]

    with jax.numpy_dtype_promotion("strict"):
        found = losses(halves)
    # A linear map is computed in the dtype of its arrays, as a layer's is.
    room = 0.1 if case.name == "linear_cross_entropy" else 0.005
    for loss, exact in zip(found, losses(wide), strict=True):
        assert loss.dtype == jnp.bfloat16
        np.testing.assert_allclose(np.asarray(loss, np.float32), exact, rtol=room, atol=1e-6)


@pytest.mark.parametrize("name", F.__all__)
def test_another_reduction_is_refused_with_the_nearest_word(name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    with pytest.raises(nn.ArgumentError) as error:
        case(case.given(jnp.float32), "means")
    known = ", ".join(map(repr, case.reductions))
    assert str(error.value) == (
        f"{name}(reduction='means'): expected one of {known}; did you mean 'mean'?."
    )


# Classes


def test_logits_that_are_all_large_lose_no_digits() -> None:
    loss = F.cross_entropy(X + 4096, LABELS)
    near = F.cross_entropy((X + 4096) - 4096, LABELS)
    assert float(loss) == pytest.approx(float(near), rel=1e-6)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
def test_what_is_no_class_is_nan_and_what_is_ignored_is_not(loss: Any, channels_last: bool) -> None:
    y = jnp.array([5, -1, -7, 1])
    x = jnp.ones((4, 5))
    weight = jnp.arange(1.0, 6)

    def of(x: Any, weight: Any, **options: Any) -> Any:
        return loss(x, y, weight, ignore_index=-7, channels_last=channels_last, **options)

    losses = of(x, weight, reduction="none")
    np.testing.assert_array_equal(np.isnan(losses), [True, True, False, False])
    assert losses[2] == 0
    assert np.isnan(of(x, weight))
    gradients = jax.grad(lambda x, w: of(x[2:], w, reduction="sum"), (0, 1))
    with pytest.raises(nn.InputError):
        gradients(x, weight)
    by_x, by_weight = jax.grad(lambda x, w: jnp.sum(of(x, w, reduction="none")[2:]), (0, 1))(
        x, weight
    )
    assert np.isfinite(by_x[2:]).all()
    assert not by_x[2].any()
    assert by_x[3].any()
    assert by_weight.shape == weight.shape


def test_a_mean_over_nothing_is_nan() -> None:
    assert np.isnan(F.cross_entropy(X, jnp.full(3, -100)))
    assert F.cross_entropy(X, jnp.full(3, -100), reduction="sum") == 0
    assert np.isnan(F.cross_entropy(X[:0], LABELS[:0]))
    gradient = jax.grad(lambda x: F.cross_entropy(x, jnp.full(3, -100), reduction="sum"))(X)
    assert not gradient.any()


def test_masked_logits_have_finite_gradients() -> None:
    masked = X.at[:, 1].set(-jnp.inf)
    loss, gradient = jax.value_and_grad(F.cross_entropy)(masked, LABELS)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()
    assert F.cross_entropy(masked, jnp.full(3, 1)) == jnp.inf


def test_targets_of_many_integer_types() -> None:
    wide = jnp.zeros((1, 300)).at[0, 7].set(50.0)
    for dtype in (jnp.uint8, jnp.int8, jnp.uint32, jnp.int16):
        assert F.cross_entropy(wide, jnp.array([7], dtype)) == pytest.approx(0, abs=1e-6)


def test_the_gradient_of_cross_entropy_neither_scatters_nor_transposes() -> None:
    def program(x: Any, y: Any, **options: Any) -> str:
        return jax.jit(jax.grad(lambda x: F.cross_entropy(x, y, **options))).lower(x).as_text()

    for text in (
        program(X, LABELS),
        program(jnp.ones((2, 5, 3)), jnp.ones((2, 3), int)),
        program(jnp.ones((2, 3, 5)), jnp.ones((2, 3), int), channels_last=True),
    ):
        assert "exponential" in text
        assert "scatter" not in text
        assert "transpose" not in text
        # The derivative needs no more of the loss than its exponentials.
        assert text.count("stablehlo.exponential") == 1


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_chunks_of_logits_take_the_memory_of_one(smoothing: float) -> None:
    x, table = jnp.ones((64, 4)), jnp.ones((1000, 4))
    y = jnp.arange(64)

    def temporary(size: int | None) -> int:
        def loss(x: Any, table: Any) -> Any:
            options: Any = {"batch_chunk_size": size, "label_smoothing": smoothing}
            return F.linear_cross_entropy(x, table, y, **options)

        compiled = jax.jit(jax.grad(loss, (0, 1))).lower(x, table).compile()
        analysis: Any = compiled.memory_analysis()
        return analysis.temp_size_in_bytes

    logits = 64 * 1000 * 4
    assert temporary(None) >= logits
    assert temporary(8) < logits / 2


def test_chunks_that_do_not_divide_the_rows() -> None:
    table = jnp.asarray(np.random.RandomState(1).randn(4, 5), jnp.float32)
    whole = F.linear_cross_entropy(X, table, LABELS % 4)
    for size in (1, 2, 3, 10):
        parts = F.linear_cross_entropy(X, table, LABELS % 4, batch_chunk_size=size)
        assert float(parts) == pytest.approx(float(whole), rel=1e-6)
    nothing = F.linear_cross_entropy(X[:0], table, LABELS[:0], batch_chunk_size=2, reduction="none")
    assert nothing.shape == (0,)


def test_a_list_of_right_classes_ends_at_the_first_negative_number() -> None:
    x = jnp.array([0.5, 0.0, 1.0, 0.0])
    wanted = F.multilabel_margin_loss(x, jnp.array([2, -1, -1, -1]))
    for rest in ([-1, 3, 0], [-5, 9, 9]):
        assert F.multilabel_margin_loss(x, jnp.array([2, *rest])) == wanted
    assert np.isnan(F.multilabel_margin_loss(x, jnp.array([2, 4, -1, -1])))
    assert F.multilabel_margin_loss(x, jnp.full(4, -1)) == 0


def test_a_margin_to_no_class_is_nan() -> None:
    losses = F.multi_margin_loss(X, jnp.array([5, -1, 0]), weight=jnp.ones(5), reduction="none")
    np.testing.assert_array_equal(np.isnan(losses), [True, True, False])


# Yes or no


def test_probabilities_of_0_and_1_are_clamped() -> None:
    p, t = jnp.array([0.0, 1.0, 0.0, 1.0]), jnp.array([1.0, 0.0, 0.0, 1.0])
    np.testing.assert_array_equal(F.binary_cross_entropy(p, t, reduction="none"), [100, 100, 0, 0])
    gradient = jax.grad(lambda p: jnp.sum(F.binary_cross_entropy(p, t, reduction="sum")))(p)
    np.testing.assert_allclose(gradient, [-1e12, 1e12, 0, 0], rtol=1e-6)
    outside = F.binary_cross_entropy(jnp.array([-0.1, 1.1]), jnp.ones(2) / 2, reduction="none")
    assert np.isnan(outside).all()


def test_logits_are_exact_far_out_and_at_0() -> None:
    x, t = jnp.array([0.0, 20.0, -20.0, 1e4, -1e4]), jnp.array([1.0, 1.0, 0.0, 0.0, 1.0])

    def loss(x: Any, **options: Any) -> Any:
        return F.binary_cross_entropy_with_logits(x, t, reduction="none", **options)

    wanted = [np.log(2), np.log1p(np.exp(-20)), np.log1p(np.exp(-20)), 1e4, 1e4]
    for options in ({}, {"pos_weight": jnp.ones(5)}):
        np.testing.assert_allclose(loss(x, **options), wanted, rtol=1e-6)
        slope = jax.grad(lambda x, o=options: jnp.sum(loss(x, **o)))(x)
        np.testing.assert_allclose(slope, [-0.5, -2.0611537e-9, 2.0611537e-9, 1, -1], rtol=1e-5)
    soft = jax.value_and_grad(lambda x: F.soft_margin_loss(x, jnp.array([-1])))(jnp.array([1e4]))
    chex.assert_trees_all_close(soft, (jnp.array(1e4), jnp.array([1.0])))
    slope = jax.grad(lambda x: F.soft_margin_loss(x, jnp.array([1])))(jnp.array([0.0]))
    assert slope == -0.5


# Distributions and distances


def test_a_target_of_probability_0_has_a_finite_derivative() -> None:
    gradient = jax.grad(lambda t: F.kl_div(jnp.log(jnp.full(2, 0.5)), t, reduction="sum"))
    np.testing.assert_allclose(
        gradient(jnp.array([0.0, 1.0])), [np.log(2), 1 + np.log(2)], rtol=1e-6
    )
    assert np.isnan(F.kl_div(jnp.zeros(1), jnp.array([-1.0])))


def test_batchmean_divides_by_the_first_axis() -> None:
    terms = F.kl_div(X, X, log_target=False, reduction="none")
    np.testing.assert_array_equal(F.kl_div(X, X, reduction="batchmean"), terms.sum() / 3)
    scalar = F.kl_div(jnp.array(-1.0), jnp.array(0.5), reduction="batchmean")
    assert scalar == F.kl_div(jnp.array(-1.0), jnp.array(0.5))


def test_a_negative_variance_is_nan() -> None:
    losses = F.gaussian_nll_loss(X[0], X[1], jnp.array([1.0, -1.0, 0.0, 2, 3]), reduction="none")
    np.testing.assert_array_equal(np.isnan(losses), [False, True, False, False, False])


@pytest.mark.parametrize("p", [0, 0.5, 1, 2, 3, np.inf])
def test_equal_points_have_finite_gradients(p: float) -> None:
    def loss(x: Any) -> Any:
        return F.triplet_margin_loss(x, jnp.zeros((2, 3)), jnp.ones((2, 3)), p=p, eps=0, margin=9)

    assert np.isfinite(jax.grad(loss)(jnp.zeros((2, 3)))).all()


def test_nan_is_passed_on_by_hinges() -> None:
    nan, one = jnp.array([jnp.nan]), jnp.array([1.0])
    assert np.isnan(F.margin_ranking_loss(nan, one, jnp.array([1])))
    assert np.isnan(F.hinge_embedding_loss(nan, jnp.array([-1])))
    assert np.isnan(F.multi_margin_loss(jnp.array([jnp.nan, 0]), jnp.array(0)))
    assert np.isnan(F.multilabel_margin_loss(jnp.array([jnp.nan, 0]), jnp.array([0, -1])))
    assert np.isnan(F.huber_loss(nan, one))


# Connectionist temporal classification


def merged(path: tuple[int, ...], blank: int) -> list[int]:
    return [label for label, _ in itertools.groupby(path) if label != blank]


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("frames", range(6))
def test_ctc_sums_over_all_paths(frames: int, blank: int) -> None:
    rng = np.random.RandomState(frames)
    logs = np.asarray(jax.nn.log_softmax(rng.randn(6, 3)))
    first, second = (label for label in range(3) if label != blank)
    for target in ([], [first], [first, first], [first, second], [second, first, second]):
        paths = itertools.product(range(3), repeat=frames)
        terms = [
            np.exp(sum(logs[t, label] for t, label in enumerate(path)))
            for path in paths
            if merged(path, blank) == target
        ]
        with np.errstate(divide="ignore"):
            wanted = -np.log(np.sum(terms))
        filled = jnp.array([*target, *[77] * (4 - len(target))])
        lengths = jnp.array(frames), jnp.array(len(target))
        loss = F.ctc_loss(logs, filled, *lengths, blank=blank, reduction="none")
        np.testing.assert_allclose(loss, wanted, rtol=1e-5, atol=1e-6)


def ctc(logs: Any, targets: Any, frames: Any, lengths: Any, **options: Any) -> Any:
    return F.ctc_loss(
        jax.nn.log_softmax(logs), *map(jnp.array, (targets, frames, lengths)), **options
    )


def test_a_target_that_no_path_fits_costs_infinity_or_nothing() -> None:
    logs = jnp.zeros((3, 2, 3))
    sequences = ([[1, 1], [1, 2]], [2, 2], [2, 2])
    np.testing.assert_allclose(
        ctc(logs, *sequences, reduction="none"), [np.inf, 2 * np.log(3)], rtol=1e-6
    )

    def total(logs: Any, zero: bool) -> Any:
        return ctc(logs, *sequences, reduction="sum", zero_infinity=zero)

    for zero in (False, True):
        gradient = jax.grad(total)(logs, zero)
        assert np.isfinite(gradient).all()
        assert not gradient[:, 0].any()
        assert gradient[:, 1].any()
    assert np.isfinite(total(logs, True))


def test_ctc_of_impossible_classes() -> None:
    # Class 2 cannot be: a target that holds it is impossible, any other is not touched.
    logs = jnp.log(jnp.array([0.5, 0.5, 0.0]))[None, None].repeat(4, 0).repeat(2, 1)
    targets, frames, lengths = jnp.array([[1, 2], [1, 1]]), jnp.array([4, 4]), jnp.array([2, 2])

    def total(logs: Any) -> Any:
        losses = F.ctc_loss(logs, targets, frames, lengths, reduction="none", zero_infinity=True)
        return losses.sum(), losses

    (_, losses), gradient = jax.value_and_grad(total, has_aux=True)(logs)
    # Of the 16 paths of 4 frames, 5 read as 1 twice: 101_, 1011, 1001, 1101, 0101.
    np.testing.assert_allclose(losses, [0, -np.log(5 / 16)], rtol=1e-6)
    assert np.isfinite(gradient).all()
    # In every frame, the chances of all classes sum up to 1.
    np.testing.assert_allclose(-gradient[:, 1].sum(-1), 1, rtol=1e-5)


def test_ctc_gives_nan_for_lengths_and_classes_that_cannot_be() -> None:
    logs = jnp.zeros((4, 6, 3))
    targets = [[1, 2]] * 4 + [[1, 3], [-1, 1]]
    losses = ctc(logs, targets, [5, -1, 4, 4, 4, 4], [2, 2, 3, -1, 2, 2], reduction="none")
    assert np.isnan(losses).all()
    # What stands behind the length is not read.
    fine = ctc(logs, targets, [4] * 6, [2, 2, 2, 2, 1, 0], reduction="none")
    assert np.isfinite(fine).all()
    gradient = jax.grad(lambda x: ctc(x, targets, [4] * 6, [2, 2, 2, 2, 1, 0]))(logs)
    assert np.isfinite(gradient).all()


def test_ctc_compiles_one_program_for_every_length() -> None:
    def size(frames: int) -> int:
        sequences = ([[1, 2]], [frames], [2])
        program = jax.make_jaxpr(jax.grad(lambda x: ctc(x, *sequences)))(jnp.zeros((frames, 1, 3)))
        return str(program).count(" = ")

    assert size(5) == size(50)


def test_ctc_over_many_frames_keeps_its_digits() -> None:
    frames = 2000
    loss = ctc(jnp.zeros((frames, 1, 2)), [[1]], [frames], [1])
    # Paths that read as one label: one run of it, anywhere.
    count = frames * (frames + 1) / 2
    assert float(loss) == pytest.approx(frames * np.log(2) - np.log(count), rel=1e-5)


# What is refused

Y = X[0]
REFUSED: list[tuple[Any, type[Exception], str]] = [
    (
        lambda: F.mse_loss(X, X[:, :1]),
        nn.InputError,
        "mse_loss: expected input and target of one shape, got (3, 5) and (3, 1).\n"
        "  Losses broadcast nothing: reshape one of them, or broadcast it yourself, "
        "jnp.broadcast_to(target, input.shape).",
    ),
    (
        lambda: F.l1_loss(X, X, weight=jnp.ones(5)),
        nn.InputError,
        "l1_loss: expected input and weight of one shape, got (3, 5) and (5,).\n"
        "  Losses broadcast nothing: reshape one of them, or broadcast it yourself, "
        "jnp.broadcast_to(weight, input.shape).",
    ),
    (
        lambda: F.mse_loss(LABELS, LABELS),
        nn.InputTypeError,
        "mse_loss: expected input of floating-point numbers, got int32[3].\n"
        "  Convert it first: input.astype(jnp.float32).",
    ),
    (
        lambda: F.huber_loss(X, LABELS),
        nn.InputTypeError,
        "huber_loss: expected target of floating-point numbers, got int32[3].\n"
        "  Convert it first: target.astype(float32).",
    ),
    (
        lambda: F.smooth_l1_loss(X, X.astype(jnp.bfloat16)),
        nn.InputTypeError,
        "smooth_l1_loss: the input is float32[3, 5], and the target is bfloat16[3, 5]; losses "
        "promote nothing silently.\n"
        "  Convert one of them: target.astype(float32).",
    ),
    (
        lambda: F.smooth_l1_loss(X, X, beta=-1),
        nn.ArgumentError,
        "smooth_l1_loss(beta=-1): expected a number >= 0.",
    ),
    (
        lambda: F.huber_loss(X, X, delta=0),
        nn.ArgumentError,
        "huber_loss(delta=0): expected a number > 0.",
    ),
    (
        lambda: F.cross_entropy(X, LABELS[:2]),
        nn.InputError,
        "cross_entropy: expected a target of shape (3,), classes for an input of shape (3, 5), got "
        "int32[2].",
    ),
    (
        lambda: F.cross_entropy(X, LABELS.astype(jnp.float32)),
        nn.InputError,
        "cross_entropy: expected a target of shape (3, 5), probabilities for an input of that "
        "shape, got float32[3]; classes are integers of shape (3,).",
    ),
    (
        lambda: F.cross_entropy(jnp.ones((2, 3, 5)), jnp.ones((2, 5), int), channels_last=True),
        nn.InputError,
        "cross_entropy: expected a target of shape (2, 3), classes for an input of shape "
        "(2, 3, 5), got int32[2, 5].",
    ),
    (
        lambda: F.cross_entropy(X, X.astype(jnp.float16)),
        nn.InputTypeError,
        "cross_entropy: the input is float32[3, 5], and the target is float16[3, 5]; losses "
        "promote nothing silently.\n"
        "  Convert one of them: target.astype(float32).",
    ),
    (
        lambda: F.nll_loss(X, LABELS == 1),
        nn.InputTypeError,
        "nll_loss: expected target of integers, got bool[3].",
    ),
    (
        lambda: F.nll_loss(X, LABELS, jnp.ones(3)),
        nn.InputError,
        "nll_loss: expected a weight of shape (5,), one for each class, got shape (3,).",
    ),
    (
        lambda: F.nll_loss(jnp.array(1.0), jnp.array(1)),
        nn.InputError,
        "nll_loss: expected an input of shape (C,) or (N, C, ...), got shape ().",
    ),
    (
        lambda: F.cross_entropy(jnp.array(1.0), jnp.array(1), channels_last=True),
        nn.InputError,
        "cross_entropy: expected an input of shape (C,) or (N, ..., C), got shape ().",
    ),
    (
        lambda: F.cross_entropy(X, LABELS, label_smoothing=1.5),
        nn.ArgumentError,
        "cross_entropy(label_smoothing=1.5): expected a probability, a number from 0 to 1.",
    ),
    (
        lambda: F.cross_entropy(X, X, ignore_index=0),
        nn.ArgumentError,
        "cross_entropy(ignore_index=0): a target of probabilities has no index to ignore.",
    ),
    (
        lambda: F.linear_cross_entropy(X, jnp.ones((4, 5)), jnp.ones((3, 4)), ignore_index=-100),
        nn.ArgumentError,
        "linear_cross_entropy(ignore_index=-100): a target of probabilities has no index to "
        "ignore.",
    ),
    (
        lambda: F.linear_cross_entropy(X[None], jnp.ones((4, 5)), LABELS),
        nn.InputError,
        "linear_cross_entropy: expected an input of shape (in_features,) or (N, in_features), got "
        "shape (1, 3, 5).",
    ),
    (
        lambda: F.linear_cross_entropy(X, jnp.ones((5, 4)), LABELS),
        nn.InputError,
        "linear_cross_entropy: expected a linear_weight of shape (C, ..., 5) for an input of shape "
        "(3, 5), got shape (5, 4).",
    ),
    (
        lambda: F.linear_cross_entropy(X[0], jnp.ones((4, 2, 5)), LABELS),
        nn.InputError,
        "linear_cross_entropy: expected an input of shape (N, 5) for a linear_weight of shape "
        "(4, 2, 5), got shape (5,).",
    ),
    (
        lambda: F.linear_cross_entropy(X, jnp.ones((4, 5)), LABELS, linear_bias=jnp.ones(5)),
        nn.InputError,
        "linear_cross_entropy: expected a linear_bias of shape (4,), got shape (5,).",
    ),
    (
        lambda: F.linear_cross_entropy(X, jnp.ones((4, 5)), LABELS, batch_chunk_size=0),
        nn.ArgumentError,
        "linear_cross_entropy(batch_chunk_size=0): expected an integer >= 1.",
    ),
    (
        lambda: F.binary_cross_entropy(X, X, jnp.ones((2, 3, 5))),
        nn.InputError,
        "binary_cross_entropy: expected a weight of a shape that broadcasts to the input's, "
        "(3, 5), got (2, 3, 5).",
    ),
    (
        lambda: F.binary_cross_entropy_with_logits(X, X, pos_weight=jnp.ones(3)),
        nn.InputError,
        "binary_cross_entropy_with_logits: expected a pos_weight of a shape that broadcasts to the "
        "input's, (3, 5), got (3,).",
    ),
    (
        lambda: F.multilabel_soft_margin_loss(jnp.array(1.0), jnp.array(1)),
        nn.InputError,
        "multilabel_soft_margin_loss: expected an input of shape (..., C), got shape ().",
    ),
    (
        lambda: F.soft_margin_loss(X, X > 0),
        nn.InputTypeError,
        "soft_margin_loss: expected a target of integers or of float32 as the input, got "
        "bool[3, 5].\n"
        "  Convert it: target.astype(float32).",
    ),
    (
        lambda: F.poisson_nll_loss(X, X, eps=-1e-8),
        nn.ArgumentError,
        "poisson_nll_loss(eps=-1e-08): expected a number >= 0.",
    ),
    (
        lambda: F.gaussian_nll_loss(X, X, jnp.ones(5)),
        nn.InputError,
        "gaussian_nll_loss: expected a var of the input's shape, (3, 5), of one axis of size 1, or "
        "without the last axis, got (5,).",
    ),
    (
        lambda: F.gaussian_nll_loss(X, X, -1.0),
        nn.ArgumentError,
        "gaussian_nll_loss(var=-1.0): expected a variance, a number >= 0.",
    ),
    (
        lambda: F.gaussian_nll_loss(X, X[:1, :1], 1.0),
        nn.InputError,
        "gaussian_nll_loss: expected input and target of one shape, got (3, 5) and (1, 1).\n"
        "  Losses broadcast nothing: reshape one of them, or broadcast it yourself, "
        "jnp.broadcast_to(target, input.shape).",
    ),
    (
        lambda: F.margin_ranking_loss(X, X, LABELS),
        nn.InputError,
        "margin_ranking_loss: expected input1 and target of one shape, got (3, 5) and (3,).\n"
        "  Losses broadcast nothing: reshape one of them, or broadcast it yourself, "
        "jnp.broadcast_to(target, input1.shape).",
    ),
    (
        lambda: F.margin_ranking_loss(X, X, X, margin="much"),  # pyright: ignore[reportArgumentType]
        nn.ArgumentError,
        "margin_ranking_loss(margin='much'): expected a number.",
    ),
    (
        lambda: F.cosine_embedding_loss(X, X, jnp.ones((3, 1))),
        nn.InputError,
        "cosine_embedding_loss: expected inputs of shape (N, D) and a target of shape (N,), or "
        "(D,) and (), got (3, 5) and float32[3, 1].",
    ),
    (
        lambda: F.triplet_margin_loss(X, X, X[0]),
        nn.InputError,
        "triplet_margin_loss: expected anchor and negative of one shape, got (3, 5) and (5,).\n"
        "  Losses broadcast nothing: reshape one of them, or broadcast it yourself, "
        "jnp.broadcast_to(negative, anchor.shape).",
    ),
    (
        lambda: F.triplet_margin_loss(*[jnp.array(1.0)] * 3),
        nn.InputError,
        "triplet_margin_loss: expected arrays of shape (N, D) or (D,), got shape ().",
    ),
    (
        lambda: F.triplet_margin_loss(X, X, X, margin=0),
        nn.ArgumentError,
        "triplet_margin_loss(margin=0): expected a number > 0.",
    ),
    (
        lambda: F.triplet_margin_loss(X, X, X, p=-1),
        nn.ArgumentError,
        "triplet_margin_loss(p=-1): expected a number >= 0.",
    ),
    (
        lambda: F.triplet_margin_with_distance_loss(X, X, X, margin=-1),
        nn.ArgumentError,
        "triplet_margin_with_distance_loss(margin=-1): expected a number > 0.",
    ),
    (
        lambda: F.multi_margin_loss(X, LABELS, p=3),
        nn.ArgumentError,
        "multi_margin_loss(p=3): expected 1 or 2.",
    ),
    (
        lambda: F.multi_margin_loss(X[None], LABELS),
        nn.InputError,
        "multi_margin_loss: expected an input of shape (N, C) or (C,), of at least one class, got "
        "shape (1, 3, 5).",
    ),
    (
        lambda: F.multilabel_margin_loss(X, LABELS),
        nn.InputError,
        "multilabel_margin_loss: expected a target of the input's shape, (3, 5), classes that end "
        "at the first -1, got int32[3].",
    ),
    (
        lambda: F.ctc_loss(X, LABELS, jnp.array(3), jnp.array(3), blank=5),
        nn.ArgumentError,
        "ctc_loss(blank=5): expected a class from 0 to 4.",
    ),
    (
        lambda: F.ctc_loss(X[0], LABELS, jnp.array(3), jnp.array(3)),
        nn.InputError,
        "ctc_loss: expected log_probs of shape (T, N, C) or (T, C), got shape (5,).",
    ),
    (
        lambda: F.ctc_loss(X[:, None], LABELS, jnp.array([3]), jnp.array([3])),
        nn.InputError,
        "ctc_loss: expected targets of shape (1, S) for log_probs of shape (3, 1, 5), got shape "
        "(3,).\n  Fill up joined targets to one length.",
    ),
    (
        lambda: F.ctc_loss(X, LABELS[None], jnp.array(3), jnp.array(3)),
        nn.InputError,
        "ctc_loss: expected targets of shape (S,) for log_probs of shape (3, 5), got shape (1, 3).",
    ),
    (
        lambda: F.ctc_loss(X, LABELS, jnp.array([3]), jnp.array(3)),
        nn.InputError,
        "ctc_loss: expected input_lengths of shape () for log_probs of shape (3, 5), got shape "
        "(1,).",
    ),
    (
        lambda: F.ctc_loss(X, LABELS, jnp.array(3), jnp.array(3.0)),
        nn.InputTypeError,
        "ctc_loss: expected target_lengths of integers, got float32[].",
    ),
]


@pytest.mark.parametrize(
    ("call", "kind", "text"), REFUSED, ids=[text[:50] for _, _, text in REFUSED]
)
def test_what_is_refused(call: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(fp.FuncparamsError) as error:
        call()
    assert type(error.value) is kind
    assert str(error.value) == text


def test_every_loss_refuses_something_here() -> None:
    named = {re.split(r"[(:]", text)[0] for _, _, text in REFUSED}
    # The checks of these are those of others; only the name differs.
    assert set(F.__all__) - named == {"kl_div", "hinge_embedding_loss"}
    with pytest.raises(nn.InputError, match="kl_div: expected input and target of one shape"):
        F.kl_div(X, X[0])
    with pytest.raises(nn.InputError, match="hinge_embedding_loss: expected input and target"):
        F.hinge_embedding_loss(X, X[0])
