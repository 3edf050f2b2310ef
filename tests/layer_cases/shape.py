"""Layers that move numbers, or interpolate."""

from __future__ import annotations

from tests.layer_cases.case import Case, channels, channels_last

SHAPE = [
    Case("Flatten", (), ((2, 3, 4),)),
    Case("Flatten", (0, 1), ((2, 3, 4),)),
    Case("Flatten", (0,), ((),)),
    Case("Unflatten", (1, (2, 3)), ((2, 6),)),
    Case("Unflatten", (-1, (2, -1)), ((3, 6),)),
    *(
        case
        for kind in ("ReflectionPad", "ReplicationPad", "CircularPad", "ZeroPad")
        for n in (1, 2, 3)
        for case in channels(f"{kind}{n}d", (2, 1, 0, 2, 1, 1)[: 2 * n], n=n, sizes=(2, 3))
    ),
    *(
        case
        for n in (1, 2, 3)
        for case in channels(
            f"ConstantPad{n}d", (2, 1, 0, 2, 1, 1)[: 2 * n], -1.5, n=n, sizes=(2, 3)
        )
    ),
    *(
        Case(kind, (padding,), ((2, 3, 5),))
        for kind in ("ReflectionPad1d", "ReplicationPad1d", "ZeroPad1d")
        for padding in (2, (-1, 3), (3, -2), (-2, -1), (-6, 3))
        if (kind, padding) != ("ZeroPad1d", (-6, 3))
    ),
    *(Case("CircularPad1d", (padding,), ((2, 3, 5),)) for padding in ((5, 0), (-2, 3), (1, -3))),
    Case("ConstantPad2d", ((-1, 2, 1, -2), 2), ((2, 3, 4, 5),)),
    Case("ReplicationPad2d", (1,), ((3, 4, 5),)),
    Case("ReflectionPad3d", ((1, -1, 2, 0, 0, 1),), ((2, 2, 3, 4),)),
    Case("PixelShuffle", (2,), ((2, 8, 3, 4),)),
    Case("PixelShuffle", (3,), ((9, 2, 1),)),
    channels_last("PixelShuffle", 2, shape=(2, 3, 4, 8)),
    Case("PixelUnshuffle", (2,), ((2, 3, 4, 6),)),
    Case("PixelUnshuffle", (3,), ((1, 3, 6),)),
    channels_last("PixelUnshuffle", 2, shape=(2, 4, 6, 3)),
    Case("ChannelShuffle", (3,), ((2, 6, 5),)),
    Case("ChannelShuffle", (2,), ((2, 6, 2, 3),)),
    channels_last("ChannelShuffle", 2, shape=(2, 3, 2, 6)),
    *(
        Case("Upsample", (), ((2, 2, *size),), {**given, "mode": mode})
        for mode, size in (("nearest", (6,)), ("nearest-exact", (5, 4)), ("nearest", (4, 2, 3)))
        for given in (
            {"scale_factor": 2},
            {"scale_factor": 1.7},
            {"scale_factor": 0.6},
            {"size": 9},
        )
    ),
    *(
        Case("Upsample", (), ((2, 2, *size),), {**given, "mode": mode})
        for mode, size in (("linear", (6,)), ("bilinear", (5, 4)), ("bicubic", (5, 4)))
        for given in (
            {"scale_factor": 2},
            {"scale_factor": 3, "align_corners": True},
            {"scale_factor": 1.7},
            {"scale_factor": 2.5, "recompute_scale_factor": True},
            {"size": 9},
            {"size": 3, "align_corners": True},
            {"size": 1, "align_corners": True},
        )
    ),
    Case("Upsample", (), ((2, 2, 2, 3, 4),), {"scale_factor": 2, "mode": "trilinear"}),
    Case("Upsample", ((3, 5, 4),), ((2, 2, 2, 3, 4),), {"mode": "trilinear"}),
    # An axis that keeps its size while the factor is another.
    Case("Upsample", (), ((2, 2, 3, 4),), {"scale_factor": (1.3, 2), "mode": "bilinear"}),
    channels_last("Upsample", None, 3, shape=(2, 4, 3, 2)),
    channels_last("Upsample", None, 2, "bilinear", shape=(2, 4, 3, 2)),
    channels_last("Upsample", 7, mode="bicubic", shape=(2, 4, 3, 2)),
    Case("UpsamplingNearest2d", (None, 2), ((2, 2, 3, 4),)),
    Case("UpsamplingNearest2d", ((5, 3),), ((2, 3, 4, 2),), {"channels_last": True}),
    Case("UpsamplingBilinear2d", (None, (2, 1.5)), ((2, 2, 3, 4),)),
    Case("UpsamplingBilinear2d", (5,), ((2, 3, 4, 2),), {"channels_last": True}),
]
