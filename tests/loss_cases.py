"""The table of cases of the losses: each with several arguments, shapes and kinds of targets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from funcparams.nn import functional as F

RNG = np.random.RandomState(0)


@dataclasses.dataclass(frozen=True)
class Loss:
    """A loss with its arrays and its keywords; the reduction is added by the tests."""

    name: str
    arrays: Mapping[str, np.ndarray[Any, Any]]
    keywords: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    # The arrays by which PyTorch differentiates.
    by: tuple[str, ...] = ("input",)
    reductions: tuple[str, ...] = ("none", "mean", "sum")

    @property
    def id(self) -> str:
        """The case as one writes it."""
        shapes = [
            f"{key}{list(value.shape)}{'' if value.dtype.kind == 'f' else value.dtype.kind}"
            for key, value in self.arrays.items()
        ]
        given = [f"{key}={getattr(v, '__name__', v)}" for key, v in self.keywords.items()]
        return f"{self.name}({','.join([*shapes, *given])})".replace(" ", "")

    @property
    def channels_last(self) -> bool:
        """Whether the classes of the arrays are on the last axis."""
        return bool(self.keywords.get("channels_last"))

    def given(self, dtype: Any) -> dict[str, Any]:
        """The arrays, those of floating-point numbers in a dtype."""
        return {
            key: jnp.asarray(value, dtype if value.dtype.kind == "f" else None)
            for key, value in self.arrays.items()
        }

    def __call__(self, given: Mapping[str, Any], reduction: str) -> Any:
        """Compute it of arrays by name."""
        return getattr(F, self.name)(**given, **self.keywords, reduction=reduction)


def normal(*shape: int) -> Any:
    return RNG.randn(*shape)


def unit(*shape: int) -> Any:
    return RNG.uniform(0.02, 0.98, shape)


def positive(*shape: int) -> Any:
    return RNG.uniform(0.3, 2, shape)


def labels(count: int, *shape: int) -> Any:
    return RNG.randint(0, count, shape).astype(np.int32)


def signs(*shape: int) -> Any:
    return RNG.choice([-1, 1], shape).astype(np.int32)


def logs(*shape: int, axis: int = -1) -> Any:
    x = RNG.randn(*shape)
    return x - np.log(np.exp(x).sum(axis, keepdims=True))


def shares(*shape: int, axis: int = -1) -> Any:
    return np.exp(logs(*shape, axis=axis))


def ignoring(target: Any, index: int) -> Any:
    """Put an index to ignore at two places of a target."""
    target = target.copy()
    target.flat[:2] = index
    return target


def _classes() -> list[Loss]:
    cases: list[Loss] = []
    for name in ("cross_entropy", "nll_loss"):

        def add(x: Any, y: Any, w: Any = None, name: str = name, **keywords: Any) -> None:
            arrays = {"input": x, "target": y} | ({} if w is None else {"weight": w})
            cases.append(Loss(name, arrays, keywords))

        make = normal if name == "cross_entropy" else logs
        add(make(4, 5), labels(5, 4))
        add(make(5), labels(5))
        add(make(5), labels(5), positive(5))
        add(make(6, 5), ignoring(labels(5, 6), -100), positive(5))
        add(make(6, 5), ignoring(labels(5, 6), 3), ignore_index=3)
        add(make(2, 5, 3), ignoring(labels(5, 2, 3), -100), positive(5))
        add(make(2, 5, 3, 2), labels(5, 2, 3, 2))
        add(make(2, 3, 5), labels(5, 2, 3), channels_last=True)
        add(make(2, 3, 2, 5), labels(5, 2, 3, 2), positive(5), channels_last=True)
        add(make(2, 2, 1, 3, 5), labels(5, 2, 2, 1, 3).astype(np.uint8), channels_last=True)
    name = "cross_entropy"
    both = ("input", "target")
    for shape, axis in (((5,), 0), ((4, 5), 1), ((2, 5, 3), 1), ((2, 5, 2, 2), 1)):
        arrays = {"input": normal(*shape), "target": shares(*shape, axis=axis)}
        weighted = {**arrays, "weight": positive(5)}
        cases += [
            Loss(name, arrays, by=both),
            Loss(name, weighted, {"label_smoothing": 0.2}, by=both),
        ]
        target = labels(5, *shape[:axis], *shape[axis + 1 :])
        arrays = {"input": normal(*shape), "target": target}
        cases += [
            Loss(name, arrays, {"label_smoothing": 0.1}),
            Loss(name, {**arrays, "weight": positive(5)}, {"label_smoothing": 0.3}),
        ]
    arrays = {"input": normal(6, 5), "target": ignoring(labels(5, 6), -100)}
    last = {"input": normal(2, 3, 5), "target": shares(2, 3, 5), "weight": positive(5)}
    return [
        *cases,
        Loss(name, {**arrays, "weight": positive(5)}, {"label_smoothing": 0.3}),
        Loss(name, arrays, {"label_smoothing": 0.3}),
        Loss(name, arrays, {"label_smoothing": 1.0}),
        Loss(name, last, {"label_smoothing": 0.1, "channels_last": True}, by=both),
        Loss(
            name,
            {"input": normal(2, 3, 5), "target": labels(5, 2, 3), "weight": positive(5)},
            {"label_smoothing": 0.1, "channels_last": True},
        ),
    ]


def _linear() -> list[Loss]:
    name, by = "linear_cross_entropy", ("input", "linear_weight")
    batch = {"input": normal(5, 3), "linear_weight": normal(4, 3)}
    deep = {"input": normal(5, 3), "linear_weight": normal(4, 2, 2, 3)}
    biased = (*by, "linear_bias")
    bias, chunks = {"linear_bias": normal(4)}, {"batch_chunk_size": 2}
    smooth = {**chunks, "label_smoothing": 0.1}
    ignored = {"target": ignoring(labels(4, 5), 1), "weight": positive(4)}
    return [
        Loss(name, {**batch, "target": labels(4, 5)}, by=by),
        Loss(name, {**batch, "target": labels(4, 5)}, chunks, by=by),
        Loss(name, {**batch, **bias, "target": shares(5, 4)}, smooth, by=(*biased, "target")),
        Loss(name, {**batch, **bias, **ignored}, {"ignore_index": 1, **smooth}, by=biased),
        Loss(name, {**deep, "target": labels(4, 5, 2, 2)}, by=by),
        Loss(
            name,
            {**deep, "linear_bias": normal(4, 2, 2), "target": labels(4, 5, 2, 2)},
            {"batch_chunk_size": 3},
            by=biased,
        ),
        Loss(name, {**batch, "input": normal(3), "target": labels(4)}, chunks, by=by),
    ]


def _regression() -> list[Loss]:
    both, all_three = ("input", "target"), ("input", "target", "weight")
    cases: list[Loss] = []
    for shape in ((), (4,), (3, 2, 2)):
        pair = {"input": 2 * normal(*shape), "target": 2 * normal(*shape)}
        pair = {key: np.asarray(value) for key, value in pair.items()}
        weighted = {**pair, "weight": np.asarray(positive(*shape))}
        # The mean of one number does not depend on its weight, but for rounding.
        exact = ("none", "mean", "sum") if shape else ("none", "sum")
        cases += [
            Loss("l1_loss", pair, by=both),
            Loss("l1_loss", weighted, by=all_three, reductions=exact),
            Loss("mse_loss", pair, by=both),
            Loss("mse_loss", weighted, by=all_three, reductions=exact),
            Loss("smooth_l1_loss", pair, by=both),
            Loss("smooth_l1_loss", pair, {"beta": 0.5}, by=both),
            Loss("smooth_l1_loss", pair, {"beta": 0}, by=both),
            Loss("huber_loss", pair, by=both),
            Loss("huber_loss", weighted, {"delta": 0.5}, by=all_three),
        ]
    # At the edges: no difference, and one that is just at the joint.
    edges = {"input": np.array([0.0, 1.0, 3.0]), "target": np.array([0.0, 2.0, 2.0])}
    names = ("l1_loss", "mse_loss", "smooth_l1_loss", "huber_loss")
    return [*cases, *(Loss(name, edges, by=both) for name in names)]


def _binary() -> list[Loss]:
    cases: list[Loss] = []
    both = ("input", "target")
    for shape in ((4,), (3, 4)):
        probable = {"input": unit(*shape), "target": unit(*shape)}
        scores = {"input": 3 * normal(*shape), "target": unit(*shape)}
        name = "binary_cross_entropy"
        cases += [
            Loss(name, probable, by=both),
            Loss(name, {**probable, "weight": positive(4)}, by=both),
            Loss(name, {**probable, "weight": positive(*shape)}),
        ]
        name = "binary_cross_entropy_with_logits"
        cases += [
            Loss(name, scores, by=both),
            Loss(name, {**scores, "weight": positive(4)}, by=both),
            Loss(name, {**scores, "pos_weight": positive(4)}, by=both),
            Loss(name, {**scores, "weight": positive(4), "pos_weight": positive(*shape)}),
        ]
        cases += [
            Loss("soft_margin_loss", {"input": normal(*shape), "target": signs(*shape)}),
            Loss(
                "soft_margin_loss",
                {"input": normal(*shape), "target": signs(*shape).astype(float)},
            ),
        ]
        name = "multilabel_soft_margin_loss"
        cases += [
            Loss(name, {"input": normal(*shape), "target": labels(2, *shape)}),
            Loss(name, {**scores, "weight": positive(4)}, by=(*both, "weight")),
        ]
    edges = {"input": np.array([0.0, 0.0, 1.0, 1.0]), "target": np.array([0.0, 1.0, 0.0, 1.0])}
    # By the target PyTorch gives infinities there.
    return [*cases, Loss("binary_cross_entropy", edges)]


def _likelihood() -> list[Loss]:
    both, name = ("input", "target"), "kl_div"
    four = ("none", "mean", "sum", "batchmean")
    logarithms = {"input": logs(3, 4), "target": logs(3, 4)}
    cases = [
        Loss(name, {"input": logs(3, 4), "target": shares(3, 4)}, by=both, reductions=four),
        Loss(name, logarithms, {"log_target": True}, by=both, reductions=four),
        Loss(name, {"input": logs(2, 4), "target": np.eye(4)[:2]}, reductions=four),
    ]
    name = "poisson_nll_loss"
    counts = RNG.poisson(2, (3, 4)).astype(np.int32)
    # Of integers PyTorch takes the logarithm in float32.
    rates = {"input": positive(3, 4), "target": counts.astype(float)}
    cases += [
        Loss(name, {"input": normal(3, 4), "target": counts}),
        Loss(name, {"input": normal(3, 4), "target": positive(3, 4)}, {"full": True}, by=both),
        Loss(name, rates, {"log_input": False, "full": True}),
        Loss(name, rates, {"log_input": False, "eps": 0.1}),
    ]
    name, three = "gaussian_nll_loss", (*both, "var")
    means = {"input": normal(3, 4), "target": normal(3, 4)}
    small = np.where(unit(3, 4) > 0.5, positive(3, 4), 0.01)
    return [
        *cases,
        Loss(name, {**means, "var": positive(3, 4)}, by=three),
        Loss(name, {**means, "var": positive(3, 1)}, {"full": True}, by=three),
        Loss(name, {**means, "var": positive(1, 4)}, by=three),
        Loss(name, {**means, "var": positive(3)}, by=three),
        Loss(name, {**means, "target": normal(3, 1), "var": positive(3, 4)}, by=three),
        Loss(name, {**means, "var": small}, {"eps": 0.1}, by=three),
        Loss(name, means, {"var": 0.7, "full": True}, by=both),
    ]


def _margins() -> list[Loss]:
    name = "hinge_embedding_loss"
    distances = {"input": 2 * positive(3, 4), "target": signs(3, 4)}
    odd = {"input": normal(4), "target": np.array([1.0, -1.0, 0.0, 2.0])}
    cases = [
        Loss(name, distances),
        Loss(name, odd, {"margin": 0.5}),
        Loss(name, {"input": np.array([1.0, 2.0]), "target": np.array([-1, -1])}),
    ]
    name, two = "margin_ranking_loss", ("input1", "input2")
    pair = {"input1": normal(6), "input2": normal(6)}
    same = {"input1": np.ones(2), "input2": np.ones(2), "target": np.array([1, -1])}
    cases += [
        Loss(name, {**pair, "target": signs(6)}, by=two),
        Loss(name, {**pair, "target": signs(6).astype(float)}, {"margin": 0.5}, by=two),
        Loss(name, same, by=two),
    ]
    name = "cosine_embedding_loss"
    pair = {"input1": normal(6, 3), "input2": normal(6, 3)}
    cases += [
        Loss(name, {**pair, "target": signs(6)}, by=two),
        Loss(name, {**pair, "target": signs(6).astype(float)}, {"margin": 0.3}, by=two),
        Loss(name, {"input1": normal(3), "input2": normal(3), "target": signs()}, by=two),
    ]
    three = ("anchor", "positive", "negative")
    for shape in ((3,), (5, 3)):
        triplet = {key: normal(*shape) for key in three}
        name = "triplet_margin_loss"
        cases += [
            Loss(name, triplet, by=three),
            Loss(name, triplet, {"margin": 2.0, "swap": True}, by=three),
            *(Loss(name, triplet, {"p": p, "eps": 0.01}, by=three) for p in (1, 3, 0.5, np.inf)),
        ]
        name = "triplet_margin_with_distance_loss"
        cases += [
            Loss(name, triplet, by=three),
            Loss(name, triplet, {"distance_function": apart, "swap": True}, by=three),
        ]
    name = "multi_margin_loss"
    for shape in ((5,), (4, 5)):
        scores = {"input": normal(*shape), "target": labels(5, *shape[:-1])}
        cases += [
            Loss(name, scores),
            Loss(name, {**scores, "weight": positive(5)}, {"p": 2, "margin": 0.5}),
            Loss(name, {**scores, "weight": positive(5)}),
        ]
    name = "multilabel_margin_loss"
    lists = np.array([[3, 0, -1, 1], [-1, 2, 2, 2], [1, 1, 2, -1], [0, 1, 2, 3]])
    return [
        *cases,
        Loss("multi_margin_loss", {"input": np.eye(3), "target": np.array([0, 1, 2])}),
        Loss(name, {"input": normal(4, 4), "target": lists}),
        Loss(name, {"input": normal(4), "target": lists[0]}),
        Loss(name, {"input": np.array([1.0, 0.0]), "target": np.array([0, -1])}),
    ]


def apart(x: Any, y: Any) -> Any:
    """A distance that arrays of both libraries can be given to."""
    return ((x - y) ** 2).sum(-1)


def _ctc() -> list[Loss]:
    name, by = "ctc_loss", ("log_probs",)
    targets = np.array([[1, 2, 2, 3], [3, 3, 3, 1], [2, 0, 0, 0], [1, 1, 1, 1]], np.int32)
    lengths = np.array([4, 3, 1, 0], np.int32)
    batch = {
        "log_probs": logs(9, 4, 5),
        "targets": targets,
        "input_lengths": np.array([9, 7, 1, 5], np.int32),
        "target_lengths": lengths,
    }
    short = {**batch, "input_lengths": np.array([5, 4, 0, 0], np.int32)}
    last = {**batch, "targets": np.minimum(targets, 3)}
    single = {
        "log_probs": logs(6, 4),
        "targets": np.array([1, 2, 2], np.int32),
        "input_lengths": np.array(6),
        "target_lengths": np.array(3),
    }
    return [
        Loss(name, batch, by=by),
        Loss(name, last, {"blank": 4}, by=by),
        Loss(name, short, {"zero_infinity": True}, by=by),
        Loss(name, single, by=by),
    ]


CASES = [*_classes(), *_linear(), *_regression(), *_binary(), *_likelihood(), *_margins(), *_ctc()]
