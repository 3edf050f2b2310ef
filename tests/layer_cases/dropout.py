"""Layers that draw random numbers."""

from __future__ import annotations

from tests.layer_cases.case import Case


def _dropout(layer: str, *shapes: tuple[int, ...]) -> list[Case]:
    return [Case(layer, (0.3,), (shape,), modes=(False, True), random=True) for shape in shapes]


DROPOUT = [
    *_dropout("Dropout", (4, 5)),
    *_dropout("Dropout1d", (4, 3, 5), (3, 5)),
    *_dropout("Dropout2d", (4, 3, 2, 5)),
    *_dropout("Dropout3d", (2, 3, 2, 2, 3), (3, 2, 2, 3)),
    *_dropout("AlphaDropout", (4, 5)),
    *_dropout("FeatureAlphaDropout", (4, 3, 5)),
    Case("RReLU", (), ((4, 5),), modes=(False, True), random=True),
    Case("RReLU", (0.1, 0.4), ((3,),)),
]
