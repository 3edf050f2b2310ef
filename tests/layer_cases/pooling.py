"""Pools."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.layer_cases.case import Case, channels


def _unpooling(layer: str, args: tuple[Any, ...], shape: tuple[int, ...], **options: Any) -> Case:
    """Give a case of MaxUnpool, with the indices of each channel that a pool could have given."""
    n, size = int(layer[-2]), options.pop("output_size", None)
    last = options.get("channels_last", False)
    first = len(shape) - n - (1 if last else 0)
    places = np.prod(shape[first : first + n])
    # Every second place: all different, and inside of the output.
    indices = 2 * np.random.RandomState(0).permutation(places).reshape(shape[first : first + n])
    indices = np.broadcast_to(indices[..., None] if last else indices, shape).copy()

    def call(torch: Any, module: Any, tensors: Any) -> Any:
        given = torch.tensor(np.moveaxis(indices, -1, first) if last else indices)
        return module(*tensors, given, output_size=size)

    keywords = {"indices": indices} | ({} if size is None else {"output_size": size})
    return Case(layer, args, (shape,), options, keywords=keywords, torch_call=call)


def _fractional(layer: str, args: tuple[Any, ...], shape: tuple[int, ...], **options: Any) -> Case:
    """Give a case of FractionalMaxPool with given samples."""
    n, last = int(layer[-2]), options.get("channels_last", False)
    batch = shape[0] if len(shape) == n + 2 else 1
    samples = np.random.RandomState(1).rand(batch, shape[-1 if last else -n - 1], n)
    samples = samples.astype(np.float32)
    given = {key: value for key, value in options.items() if key != "channels_last"}

    def build(nn: Any) -> Any:
        return getattr(nn, layer)(*args, _random_samples=samples, **options)

    def build_torch(torch: Any) -> Any:
        return getattr(torch.nn, layer)(*args, _random_samples=torch.tensor(samples), **given)

    # PyTorch writes no arguments, so that its text cannot be that of channels_last.
    return Case(
        layer, args, (shape,), options, build=build, torch_build=build_torch, in_torch=not last
    )


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
    *(
        case
        for n, size in ((1, 7), (2, 6), (3, 4))
        for case in channels(
            f"MaxPool{n}d", 2, n=n, sizes=(2, size), values="ties", return_indices=True
        )
    ),
    *(
        Case("MaxPool2d", args, ((2, 2, 8, 9),), {**options, "return_indices": True}, "ties")
        for args, options in (
            (((3, 2), (1, 2), (1, 1)), {"dilation": (2, 1)}),
            ((3, 2, 1), {"ceil_mode": True}),
            ((7, 3), {"ceil_mode": True}),
            (((8, 9),), {}),
        )
    ),
    Case("MaxPool1d", (9, 1, 4, 2, True), ((2, 2, 21),), {}, "ties"),
    Case("MaxPool1d", (30, 30, 0, 1, True), ((2, 2, 61),), {}, "ties"),
    *(
        case
        for n, size, asked in ((1, 6, 2), (2, 7, 3), (3, 4, (1, None, 3)))
        for case in channels(
            f"AdaptiveMaxPool{n}d", asked, n=n, sizes=(2, size), values="ties", return_indices=True
        )
    ),
    Case("AdaptiveMaxPool2d", ((1, 5), True), ((2, 2, 11, 3),), values="ties"),
    *channels("LPPool1d", 2, 2, n=1, sizes=(3, 7)),
    *channels("LPPool2d", 2, 3, n=2, sizes=(3, 6)),
    *channels("LPPool3d", 2.0, 2, n=3, sizes=(2, 4)),
    Case("LPPool1d", (1, 3, 2, True), ((2, 2, 8),)),
    Case("LPPool2d", (4, (3, 2), (2, 1), True), ((2, 2, 8, 7),)),
    Case("LPPool2d", (float("inf"), 3, 2), ((2, 2, 8, 7),), {}, "ties"),
    Case("LPPool1d", (float("-inf"), 2), ((2, 2, 8),)),
    Case("LPPool1d", (2, 3), ((2, 2, 9),), {}, "ties"),
    _unpooling("MaxUnpool1d", (2,), (2, 3, 4)),
    _unpooling("MaxUnpool1d", (2,), (3, 4)),
    _unpooling("MaxUnpool1d", (2,), (2, 4, 3), channels_last=True),
    _unpooling("MaxUnpool2d", (2,), (2, 3, 3, 4)),
    _unpooling("MaxUnpool2d", ((3, 2), 2, (1, 0)), (2, 3, 4, 3), output_size=(8, 7)),
    _unpooling("MaxUnpool2d", (2,), (2, 3, 4, 3), channels_last=True),
    _unpooling("MaxUnpool3d", (2,), (2, 2, 2, 3, 2), output_size=(2, 2, 5, 6, 4)),
    _unpooling("MaxUnpool3d", (2,), (2, 3, 2, 2), channels_last=True),
    _fractional("FractionalMaxPool2d", (2, 3), (2, 3, 7, 8)),
    _fractional("FractionalMaxPool2d", ((3, 2), None, (0.5, 0.4)), (3, 9, 10)),
    _fractional("FractionalMaxPool2d", (2, (1, 4)), (2, 7, 8, 3), channels_last=True),
    _fractional("FractionalMaxPool2d", (2, 4), (2, 3, 7, 8), return_indices=True),
    _fractional("FractionalMaxPool3d", (2, (2, 3, 3)), (2, 2, 5, 6, 7), return_indices=True),
    _fractional("FractionalMaxPool3d", (2, None, 0.5), (6, 5, 7, 2), channels_last=True),
]
