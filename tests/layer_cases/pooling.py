"""Pools."""

from __future__ import annotations

from tests.layer_cases.case import Case, channels

POOLING = [
    *channels("MaxPool1d", 2, n=1, sizes=(3, 7), values="ties"),
    *channels("MaxPool2d", 2, n=2, sizes=(3, 6), values="ties"),
    *channels("MaxPool3d", 2, n=3, sizes=(2, 4), values="ties"),
    Case("MaxPool2d", (3, 2, 1), ((2, 3, 7, 7),), {}, "ties"),
    *(
        Case("MaxPool2d", args, ((2, 2, 8, 9),), options, "ties")
        for args, options in (
            (((3, 2), (1, 2), (1, 1)), {"dilation": (2, 1)}),
            ((3, 2, 1), {"ceil_mode": True}),
            ((5, 1, 2), {}),
            ((7, 3), {"ceil_mode": True}),
            ((1, 3), {}),
            (((8, 9),), {}),
        )
    ),
    Case("MaxPool1d", (3, 2, 1), ((2, 3, 8),), {"ceil_mode": True, "dilation": 2}, "ties"),
    Case("MaxPool1d", (2, 3, 1), ((2, 2, 5),), {"ceil_mode": True}, "ties"),
    Case("MaxPool1d", (10,), ((2, 2, 23),), {}, "ties"),
    Case("MaxPool1d", (9, 1), ((2, 2, 21),), {"dilation": 2, "padding": 4}, "ties"),
    Case("MaxPool3d", ((1, 2, 3), 1), ((2, 3, 4, 4),), {"padding": (0, 1, 1)}, "ties"),
    *channels("AvgPool1d", 2, n=1, sizes=(3, 7)),
    *channels("AvgPool2d", 2, n=2, sizes=(3, 6)),
    *channels("AvgPool3d", 2, n=3, sizes=(2, 4)),
    Case("AvgPool2d", (3, 2, 1, True, False), ((2, 2, 8, 7),)),
    Case("AvgPool2d", (3, 2, 1, True), ((2, 2, 8, 7),)),
    Case("AvgPool2d", ((3, 2), (1, 2), (1, 0)), ((2, 2, 8, 7),), {"divisor_override": 5}),
    Case("AvgPool1d", (3, 2), ((2, 2, 8),), {"ceil_mode": True, "padding": 1}),
    Case("AvgPool1d", (2, 3, 1), ((2, 2, 5),), {"ceil_mode": True}),
    Case("AvgPool1d", (10,), ((2, 2, 23),)),
    Case("AvgPool1d", (10, 3), ((2, 2, 23),), {"padding": 5}),
    Case("AvgPool3d", ((1, 2, 3), 1), ((2, 3, 4, 4),), {"padding": (0, 1, 1)}),
    *channels("AdaptiveAvgPool1d", 2, n=1, sizes=(3, 6)),
    *channels("AdaptiveAvgPool2d", 3, n=2, sizes=(3, 7)),
    *channels("AdaptiveAvgPool3d", (1, None, 3), n=3, sizes=(2, 4)),
    Case("AdaptiveAvgPool2d", ((1, 5),), ((2, 2, 7, 3),)),
    Case("AdaptiveAvgPool2d", ((None, 2),), ((2, 2, 3, 5),)),
    *channels("AdaptiveMaxPool1d", 2, n=1, sizes=(3, 6), values="ties"),
    *channels("AdaptiveMaxPool2d", 3, n=2, sizes=(3, 7), values="ties"),
    *channels("AdaptiveMaxPool3d", (1, None, 3), n=3, sizes=(2, 4), values="ties"),
    Case("AdaptiveMaxPool2d", ((1, 5),), ((2, 2, 7, 3),), values="ties"),
]
