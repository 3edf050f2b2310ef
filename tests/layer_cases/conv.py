"""Convolutions."""

from __future__ import annotations

from tests.layer_cases.case import Case, channels, channels_last

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
    *channels("ConvTranspose1d", 4, 6, 3, n=1, sizes=(4, 5)),
    *channels("ConvTranspose2d", 4, 6, 3, n=2, sizes=(4, 4)),
    *channels("ConvTranspose3d", 2, 3, 2, n=3, sizes=(2, 3)),
    Case("ConvTranspose1d", (4, 6, 3, 2, 1, 1, 2, False, 2), ((2, 4, 5),)),
    # More padding than the kernel reaches: the output is cut.
    Case("ConvTranspose1d", (2, 3, 2, 3, 4), ((2, 2, 6),)),
    Case("ConvTranspose2d", (4, 6, (3, 2), (2, 3), (1, 0), (1, 2)), ((2, 4, 4, 3),)),
    Case("ConvTranspose2d", (4, 4, 3, 2, 1, 1, 4), ((2, 4, 4, 3),)),
    Case("ConvTranspose2d", (2, 3, 3, 1, 0, 1, 1, True, (2, 3)), ((2, 2, 3, 3),)),
    Case(
        "ConvTranspose2d",
        (4, 6, 3, (2, 3), 1),
        ((2, 3, 4, 4),),
        {"groups": 2, "dilation": 2, "channels_last": True},
    ),
    Case("ConvTranspose3d", (2, 4, (1, 2, 3), 2, (0, 1, 1), 1, 2), ((2, 2, 3, 3, 2),)),
    *(
        Case("ConvTranspose2d", (2, 3, 3, 2, 1), ((2, 2, 4, 3),), keywords={"output_size": size})
        for size in ((8, 5), (2, 3, 7, 6))
    ),
    Case("Unfold", (3,), ((2, 3, 7, 6),)),
    Case("Unfold", ((2, 3), (2, 1), (0, 1), (1, 2)), ((2, 3, 7, 6),)),
    Case("Unfold", (2, 1, 0, 2), ((3, 7, 6),)),
    channels_last("Unfold", (3, 2), 1, 1, 2, shape=(2, 7, 6, 3)),
    Case("Fold", ((5, 4), 2), ((2, 12, 12),)),
    Case("Fold", ((7, 6), (2, 3), (2, 1), (0, 1), (1, 2)), ((2, 12, 15),)),
    Case("Fold", ((7, 6), 2, 1, 0, 2), ((8, 9),)),
    Case("Fold", (6, 2, 1, 1, 2), ((2, 8, 16),)),
    channels_last("Fold", 5, 3, 1, 1, 2, shape=(2, 9, 18)),
]
