"""Tables that are looked up."""

from __future__ import annotations

import dataclasses

import numpy as np

from tests.layer_cases.case import Case

OFFSETS = {"offsets": np.array([0, 2, 2, 7], np.int32)}  # the second bag is empty
ENDED = {"offsets": np.array([0, 3, 3, 7], np.int32)}


def _bag(options: dict[str, object]) -> list[Case]:
    """Make cases of bags of one length, and of several."""
    return [
        Case("EmbeddingBag", (5, 3), ((4, 3),), options, 5),
        Case("EmbeddingBag", (5, 3), ((7,),), options, 5, keywords=OFFSETS),
    ]


EMBEDDING = [
    Case("Embedding", (5, 3), ((2, 4),), values=5),
    Case("Embedding", (5, 3), ((),), values=5),
    Case("Embedding", (5, 3), ((7,),), {"padding_idx": 1}, values=5),
    Case("Embedding", (5, 3), ((7,),), {"padding_idx": -2, "scale_grad_by_freq": True}, values=5),
    Case("Embedding", (5, 3), ((2, 3),), {"max_norm": 1.0}, values=5),
    Case("Embedding", (5, 3), ((6,),), {"max_norm": 1.5, "norm_type": 1.0}, values=5),
    Case("Embedding", (5, 3), ((6,),), {"max_norm": 0.5, "norm_type": float("inf")}, values=5),
    *_bag({}),
    *_bag({"mode": "sum"}),
    *_bag({"mode": "max"}),
    *_bag({"padding_idx": 2}),
    *_bag({"mode": "sum", "padding_idx": -1}),
    *_bag({"mode": "max", "padding_idx": 1}),
    # PyTorch's CPU code divides by another row's count; tests/nn/test_embeddingbag.py has the rest.
    *(
        dataclasses.replace(case, in_torch=False)
        for case in _bag({"scale_grad_by_freq": True, "padding_idx": 0})
    ),
    *_bag({"max_norm": 1.0}),
    *_bag({"mode": "sum", "max_norm": 1.5, "norm_type": 1.0}),
    *_bag({"mode": "max", "max_norm": 1.0}),
    *(
        Case(
            "EmbeddingBag",
            (5, 3),
            ((7,),),
            {"mode": mode, "include_last_offset": True},
            5,
            keywords=ENDED,
        )
        for mode in ("sum", "mean", "max")
    ),
    # The factors are the third input, so the offsets are the second: zeros, all but one bag empty.
    Case("EmbeddingBag", (5, 3), ((6,), (2,), (6,)), {"mode": "sum"}, (5, 1, "normal")),
    Case(
        "EmbeddingBag",
        (5, 3),
        ((6,), (2,), (6,)),
        {"mode": "sum", "max_norm": 1.0, "padding_idx": 2},
        (5, 1, "normal"),
    ),
]
