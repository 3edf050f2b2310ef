"""Normalisations."""

from __future__ import annotations

from tests.layer_cases.case import Case


def _batchnorm(n: int, shape: tuple[int, ...]) -> list[Case]:
    layer, both = f"BatchNorm{n}d", (False, True)
    moved = (shape[0], *shape[2:], shape[1])
    return [
        Case(layer, (shape[1],), (shape,), modes=both),
        Case(layer, (shape[1],), (moved,), {"channels_last": True}, modes=both),
        Case(layer, (shape[1],), (shape,), {"momentum": None, "eps": 1e-3}, modes=both),
    ]


def _instancenorm(n: int, shape: tuple[int, ...]) -> list[Case]:
    layer, both = f"InstanceNorm{n}d", (False, True)
    moved = (shape[0], *shape[2:], shape[1])
    tracked = {"affine": True, "track_running_stats": True}
    return [
        Case(layer, (shape[1],), (shape,), modes=both),
        Case(layer, (shape[1],), (shape,), tracked, modes=both),
        Case(layer, (shape[1],), (shape[1:],), tracked, modes=both),
        Case(layer, (shape[1],), (moved,), {**tracked, "channels_last": True}, modes=both),
        Case(layer, (shape[1],), (moved[1:],), {**tracked, "channels_last": True}, modes=both),
    ]


NORM = [
    *_batchnorm(1, (4, 3)),
    *_batchnorm(1, (4, 3, 5)),
    *_batchnorm(2, (4, 3, 2, 5)),
    *_batchnorm(3, (2, 3, 2, 2, 3)),
    Case("BatchNorm2d", (3,), ((4, 3, 2, 5),), {"affine": False}, modes=(False, True)),
    Case("BatchNorm2d", (3,), ((4, 3, 2, 5),), {"bias": False}, modes=(False, True)),
    Case("BatchNorm1d", (3,), ((4, 3),), {"track_running_stats": False}, modes=(False, True)),
    *_instancenorm(1, (4, 3, 5)),
    *_instancenorm(2, (4, 3, 2, 5)),
    *_instancenorm(3, (2, 3, 2, 2, 3)),
    Case("InstanceNorm1d", (3,), ((4, 3, 5),), {"affine": True, "bias": False, "eps": 1e-3}),
    Case(
        "InstanceNorm1d",
        (3,),
        ((4, 3, 5),),
        {"momentum": None, "track_running_stats": True},
        modes=(False, True),
    ),
    Case(
        "InstanceNorm2d",
        (3,),
        ((4, 3, 2, 5),),
        {"momentum": 0.3, "track_running_stats": True},
        modes=(False, True),
    ),
    Case("SyncBatchNorm", (3,), ((4, 3),), modes=(False, True)),
    Case("SyncBatchNorm", (3,), ((4, 3, 2, 5),), {"momentum": None}, modes=(False, True)),
    Case("SyncBatchNorm", (3,), ((4, 2, 5, 3),), {"channels_last": True}, modes=(False, True)),
    Case("SyncBatchNorm", (3,), ((2, 3, 2, 2, 3),), {"bias": False}, modes=(False, True)),
    Case(
        "SyncBatchNorm",
        (3,),
        ((4, 3, 5),),
        {"affine": False, "track_running_stats": False},
        modes=(False, True),
    ),
    Case("LocalResponseNorm", (2,), ((2, 5, 4),)),
    Case("LocalResponseNorm", (3, 0.5, 0.6, 2.0), ((2, 5, 3, 4),)),
    Case("LocalResponseNorm", (3, 0.5), ((2, 3, 4, 5),), {"channels_last": True}),
    Case("LocalResponseNorm", (4, 0.5), ((2, 6, 2, 2, 3),)),
    Case("LocalResponseNorm", (12, 0.5), ((2, 7, 3),)),
    Case("LocalResponseNorm", (1, 0.5), ((2, 3, 4),)),
    # Of more channels PyTorch's gradients are wrong; tests/parity/test_norms.py has these.
    Case("CrossMapLRN2d", (5,), ((2, 2, 3, 4),)),
    Case("CrossMapLRN2d", (7, 0.5, 0.6, 2.0), ((2, 3, 3, 4),)),
    Case("CrossMapLRN2d", (5, 0.5), ((2, 3, 4, 2),), {"channels_last": True}),
    Case("LayerNorm", (6,), ((4, 6),)),
    Case("LayerNorm", ((3, 4),), ((2, 5, 3, 4),), {"eps": 1e-3}),
    Case("LayerNorm", (6,), ((6,),), {"bias": False}),
    Case("LayerNorm", (6,), ((4, 6),), {"elementwise_affine": False}),
    Case("RMSNorm", (6,), ((4, 6),)),
    Case("RMSNorm", ((3, 4),), ((2, 3, 4),), {"eps": 1e-3}),
    Case("RMSNorm", (6,), ((4, 6),), {"elementwise_affine": False}),
    Case("GroupNorm", (2, 4), ((3, 4, 5),)),
    Case("GroupNorm", (2, 4), ((3, 5, 5, 4),), {"channels_last": True}),
    Case("GroupNorm", (2, 6), ((3, 6),), {"eps": 1e-3}),
    Case("GroupNorm", (4, 4), ((2, 4, 3, 3),), {"affine": False}),
    Case("GroupNorm", (1, 4), ((2, 4, 3),), {"bias": False}),
]
