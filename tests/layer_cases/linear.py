"""Linear layers."""

from __future__ import annotations

from tests.layer_cases.case import Case

LINEAR = [
    Case("Linear", (4, 3), ((5, 4),)),
    Case("Linear", (4, 3), ((4,),)),
    Case("Linear", (4, 3), ((2, 3, 4),), {"bias": False}),
    Case("Linear", (4, 0), ((2, 4),)),
    Case("Bilinear", (3, 4, 2), ((5, 3), (5, 4))),
    Case("Bilinear", (3, 4, 2), ((2, 5, 3), (2, 5, 4)), {"bias": False}),
    Case("Bilinear", (3, 4, 2), ((3,), (4,))),
    Case("Identity", (1, 2), ((2, 3),)),
]
