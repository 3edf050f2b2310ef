"""Convolutions."""

from __future__ import annotations

from tests.layer_cases.case import Case, channels

CONV = [
    *channels("Conv1d", 4, 6, 3, n=1, sizes=(4, 7)),
    *channels("Conv2d", 4, 6, 3, n=2, sizes=(4, 7)),
    *channels("Conv3d", 2, 3, 2, n=3, sizes=(2, 4)),
    Case("Conv1d", (4, 6, 3, 2, 1, 2, 2, False, "circular"), ((2, 4, 9),)),
    Case("Conv2d", (4, 6, (3, 2), (2, 1), (2, 1), (1, 2), 2), ((2, 4, 7, 7),)),
    Case("Conv3d", (2, 2, (1, 2, 3)), ((1, 2, 3, 4, 5),), {"groups": 2, "padding": (0, 1, 1)}),
    *(
        Case(
            "Conv2d",
            (2, 3, (4, 3)),
            ((2, 2, 6, 5),),
            {"padding": padding, "dilation": (1, 2), "padding_mode": mode},
        )
        for padding, mode in (
            ("same", "zeros"),
            ("valid", "zeros"),
            ("same", "reflect"),
            ((2, 3), "replicate"),
            ((3, 4), "circular"),
        )
    ),
    Case("Conv1d", (2, 3, 4), ((2, 2, 6),), {"padding": "same", "padding_mode": "replicate"}),
    Case(
        "Conv2d",
        (2, 3, 3),
        ((2, 5, 6, 2),),
        {"padding": 1, "padding_mode": "reflect", "channels_last": True},
    ),
]
