"""Linear layers."""

from __future__ import annotations

from typing import Any

from tests.layer_cases.case import Case


def _classifying(shapes: tuple[tuple[int, ...], ...], **options: Any) -> Case:
    """Make a case with a target of classes, which PyTorch wants as int64."""
    return Case(
        "LinearCrossEntropyLoss",
        (4, 5),
        shapes,
        options,
        values=("normal", 5),
        torch_call=lambda torch, module, tensors: module(tensors[0], tensors[1].long()),
    )


LINEAR = [
    Case("Linear", (4, 3), ((5, 4),)),
    Case("Linear", (4, 3), ((4,),)),
    Case("Linear", (4, 3), ((2, 3, 4),), {"bias": False}),
    Case("Linear", (4, 0), ((2, 4),)),
    Case("Bilinear", (3, 4, 2), ((5, 3), (5, 4))),
    Case("Bilinear", (3, 4, 2), ((2, 5, 3), (2, 5, 4)), {"bias": False}),
    Case("Bilinear", (3, 4, 2), ((3,), (4,))),
    Case("Identity", (1, 2), ((2, 3),)),
    Case("CosineSimilarity", (), ((5, 4), (5, 4))),
    Case("CosineSimilarity", (), ((3, 4, 2), (3, 4, 2))),
    Case("CosineSimilarity", (-1, 2.0), ((2, 3, 4), (3, 1))),
    Case("CosineSimilarity", (2,), ((3, 1, 4), (1, 5, 4))),
    *(
        Case("PairwiseDistance", (p,), ((5, 4), (5, 4)))
        for p in (2.0, 1.0, 3, 1.5, 0.5, -1.0, 0.0, float("inf"), -float("inf"))
    ),
    Case("PairwiseDistance", (), ((4,), (4,)), {"keepdim": True}),
    Case("PairwiseDistance", (), ((3, 1, 4), (5, 4)), {"eps": 0.1}),
    Case("AdaptiveLogSoftmaxWithLoss", (8, 12, [4, 7]), ((6, 8), (6,)), values=("normal", 12)),
    Case(
        "AdaptiveLogSoftmaxWithLoss",
        (8, 12, (3,)),
        ((6, 8), (6,)),
        {"div_value": 2.0, "head_bias": True},
        values=("normal", 12),
    ),
    Case("AdaptiveLogSoftmaxWithLoss", (8, 12, [4, 7]), ((8,), ()), values=("normal", 12)),
    # The last cluster's space has no numbers, so all its classes are equally likely.
    Case("AdaptiveLogSoftmaxWithLoss", (6, 12, [4, 7]), ((9, 6), (9,)), values=("normal", 12)),
    _classifying(((6, 4), (6,))),
    _classifying(((4,), ()), bias=True),
    _classifying(((6, 4), (6,)), ignore_index=1),
    _classifying(
        ((6, 4), (6, 2, 3)),
        out_features=(2, 3),
        bias=True,
        reduction="none",
        label_smoothing=0.1,
    ),
    # Probabilities.
    Case("LinearCrossEntropyLoss", (4, 5), ((6, 4), (6, 5)), {"reduction": "sum"}),
]
