"""Layers that move numbers."""

from __future__ import annotations

from tests.layer_cases.case import Case

SHAPE = [
    Case("Flatten", (), ((2, 3, 4),)),
    Case("Flatten", (0, 1), ((2, 3, 4),)),
    Case("Flatten", (0,), ((),)),
    Case("Unflatten", (1, (2, 3)), ((2, 6),)),
    Case("Unflatten", (-1, (2, -1)), ((3, 6),)),
]
