"""Tables that are looked up."""

from __future__ import annotations

from tests.layer_cases.case import Case

EMBEDDING = [
    Case("Embedding", (5, 3), ((2, 4),), values=5),
    Case("Embedding", (5, 3), ((),), values=5),
    Case("Embedding", (5, 3), ((7,),), {"padding_idx": 1}, values=5),
    Case("Embedding", (5, 3), ((7,),), {"padding_idx": -2, "scale_grad_by_freq": True}, values=5),
    Case("Embedding", (5, 3), ((2, 3),), {"max_norm": 1.0}, values=5),
    Case("Embedding", (5, 3), ((6,),), {"max_norm": 1.5, "norm_type": 1.0}, values=5),
    Case("Embedding", (5, 3), ((6,),), {"max_norm": 0.5, "norm_type": float("inf")}, values=5),
]
