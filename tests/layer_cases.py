"""One table of cases: every layer, with the arguments and inputs that it is tested with.

tests/nn/test_contract.py puts each case through what holds for every layer, and
tests/parity/test_layers.py compares each with the class of the same name in torch.nn.
"""

from __future__ import annotations

import contextlib
import dataclasses
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import funcparams as fp
from funcparams import nn


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer with arguments, and the shapes of the inputs that it is called with."""

    layer: str
    args: tuple[Any, ...]
    shapes: tuple[tuple[int, ...], ...]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    # What the inputs are: normal numbers, small whole ones ("ties"), multiples of 3 ("kinks"), or
    # integers below a bound.
    values: str | int = "normal"
    # Whether training differs from inference.
    modes: tuple[bool, ...] = (False,)
    # Whether training draws random numbers, so that nothing can be compared with PyTorch then.
    random: bool = False
    # What makes it, where that is more than one class.
    build: Callable[[Any], Any] | None = None
    # The largest errors, relative to the largest number, in float32 and in float64.
    tolerances: tuple[float, float] = (1e-5, 1e-9)

    @property
    def name(self) -> str:
        """The case as one writes it: `Linear(4, 3, bias=False)`, and the inputs' shapes."""
        given = [getattr(each, "__name__", repr(each)) for each in self.args]
        given += [f"{key}={value!r}" for key, value in self.options.items()]
        shapes = " ".join("x".join(map(str, shape)) or "()" for shape in self.shapes)
        values = "" if self.values == "normal" else f" {self.values}"
        return f"{self.layer}({', '.join(given)}) {shapes}{values}".replace(" ", "_")

    def make(self) -> fp.Module:
        """Make the definition."""
        if self.build is not None:
            return self.build(nn)
        return getattr(nn, self.layer)(*self.args, **self.options)

    def make_torch(self, torch_nn: Any) -> Any:
        """Make PyTorch's module of the same arguments; `torch_nn` is torch.nn."""
        if self.build is not None:
            return self.build(torch_nn)
        options = {key: value for key, value in self.options.items() if key != "channels_last"}
        return getattr(torch_nn, self.layer)(*self.args, **options)

    @property
    def channels_last(self) -> bool:
        """Whether inputs and outputs have the channels on the last axis."""
        return bool(self.options.get("channels_last"))

    def inputs(self, dtype: Any = np.float32) -> list[np.ndarray[Any, Any]]:
        """Draw the inputs, the same at every call."""
        rng = np.random.RandomState(zlib.crc32(self.name.encode()))
        return [self._input(rng, shape, dtype) for shape in self.shapes]

    def _input(self, rng: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        if isinstance(self.values, int):
            return np.asarray(rng.randint(0, self.values, shape), np.int32)
        if self.values == "ties":
            return np.asarray(rng.randint(-2, 3, shape), dtype)
        if self.values == "kinks":
            return np.asarray(3 * rng.randint(-1, 3, shape), dtype)
        return np.asarray(rng.randn(*shape), dtype)

    def arrays(self, tree: Any, dtype: Any = np.float32) -> Any:
        """Draw an array for each abstract one in a tree, none of them near its default."""
        rng = np.random.RandomState(zlib.crc32(b"arrays" + self.name.encode()))

        def draw(path: Any, abstract: Any) -> Any:
            if not jnp.issubdtype(abstract.dtype, jnp.floating):
                return np.full(abstract.shape, 3, abstract.dtype)
            values = rng.randn(*abstract.shape)
            # A variance is positive.
            values = np.abs(values) + 0.5 if path[-1].key == "running_var" else values
            return np.asarray(values, dtype)

        return jax.tree_util.tree_map_with_path(draw, tree)


def x64() -> contextlib.AbstractContextManager[Any]:
    """Enable float64, by the name that this version of JAX has for it."""
    enable = getattr(jax, "enable_x64", None)
    if not callable(enable):  # before jax 0.8
        from jax.experimental import enable_x64 as enable
    return enable(True)


def _channels(layer: str, *args: Any, n: int, **options: Any) -> list[Case]:
    """Make cases of one layer in both layouts, batched and not; `shapes` is (channels, size)."""
    channels, size = options.pop("sizes")
    values = options.pop("values", "normal")
    place = (size,) * n
    last = {**options, "channels_last": True}
    return [
        Case(layer, args, ((2, channels, *place),), options, values),
        Case(layer, args, ((channels, *place),), options, values),
        Case(layer, args, ((2, *place, channels),), last, values),
    ]


def _batchnorm(n: int, shape: tuple[int, ...]) -> list[Case]:
    layer, both = f"BatchNorm{n}d", (False, True)
    moved = (shape[0], *shape[2:], shape[1])
    return [
        Case(layer, (shape[1],), (shape,), modes=both),
        Case(layer, (shape[1],), (moved,), {"channels_last": True}, modes=both),
        Case(layer, (shape[1],), (shape,), {"momentum": None, "eps": 1e-3}, modes=both),
    ]


def _dropout(layer: str, *shapes: tuple[int, ...]) -> list[Case]:
    return [Case(layer, (0.3,), (shape,), modes=(False, True), random=True) for shape in shapes]


def _net(module: Any) -> Any:
    """Build a small network of the classes of one of the two libraries."""
    return module.Sequential(
        module.Conv2d(1, 4, 3, padding=1, bias=False),  # a bias would have no gradient
        module.BatchNorm2d(4),
        module.ReLU(),
        module.MaxPool2d(2),
        module.Sequential(module.Flatten(), module.Linear(16, 5), module.LayerNorm(5)),
        module.Tanh(),
    )


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

CONV = [
    *_channels("Conv1d", 4, 6, 3, n=1, sizes=(4, 7)),
    *_channels("Conv2d", 4, 6, 3, n=2, sizes=(4, 7)),
    *_channels("Conv3d", 2, 3, 2, n=3, sizes=(2, 4)),
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

NORM = [
    *_batchnorm(1, (4, 3)),
    *_batchnorm(1, (4, 3, 5)),
    *_batchnorm(2, (4, 3, 2, 5)),
    *_batchnorm(3, (2, 3, 2, 2, 3)),
    Case("BatchNorm2d", (3,), ((4, 3, 2, 5),), {"affine": False}, modes=(False, True)),
    Case("BatchNorm2d", (3,), ((4, 3, 2, 5),), {"bias": False}, modes=(False, True)),
    Case("BatchNorm1d", (3,), ((4, 3),), {"track_running_stats": False}, modes=(False, True)),
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

EMBEDDING = [
    Case("Embedding", (5, 3), ((2, 4),), values=5),
    Case("Embedding", (5, 3), ((),), values=5),
    Case("Embedding", (5, 3), ((7,),), {"padding_idx": 1}, values=5),
    Case("Embedding", (5, 3), ((7,),), {"padding_idx": -2, "scale_grad_by_freq": True}, values=5),
    Case("Embedding", (5, 3), ((2, 3),), {"max_norm": 1.0}, values=5),
    Case("Embedding", (5, 3), ((6,),), {"max_norm": 1.5, "norm_type": 1.0}, values=5),
    Case("Embedding", (5, 3), ((6,),), {"max_norm": 0.5, "norm_type": float("inf")}, values=5),
]

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

POOLING = [
    *_channels("MaxPool1d", 2, n=1, sizes=(3, 7), values="ties"),
    *_channels("MaxPool2d", 2, n=2, sizes=(3, 6), values="ties"),
    *_channels("MaxPool3d", 2, n=3, sizes=(2, 4), values="ties"),
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
    *_channels("AvgPool1d", 2, n=1, sizes=(3, 7)),
    *_channels("AvgPool2d", 2, n=2, sizes=(3, 6)),
    *_channels("AvgPool3d", 2, n=3, sizes=(2, 4)),
    Case("AvgPool2d", (3, 2, 1, True, False), ((2, 2, 8, 7),)),
    Case("AvgPool2d", (3, 2, 1, True), ((2, 2, 8, 7),)),
    Case("AvgPool2d", ((3, 2), (1, 2), (1, 0)), ((2, 2, 8, 7),), {"divisor_override": 5}),
    Case("AvgPool1d", (3, 2), ((2, 2, 8),), {"ceil_mode": True, "padding": 1}),
    Case("AvgPool1d", (2, 3, 1), ((2, 2, 5),), {"ceil_mode": True}),
    Case("AvgPool1d", (10,), ((2, 2, 23),)),
    Case("AvgPool1d", (10, 3), ((2, 2, 23),), {"padding": 5}),
    Case("AvgPool3d", ((1, 2, 3), 1), ((2, 3, 4, 4),), {"padding": (0, 1, 1)}),
    *_channels("AdaptiveAvgPool1d", 2, n=1, sizes=(3, 6)),
    *_channels("AdaptiveAvgPool2d", 3, n=2, sizes=(3, 7)),
    *_channels("AdaptiveAvgPool3d", (1, None, 3), n=3, sizes=(2, 4)),
    Case("AdaptiveAvgPool2d", ((1, 5),), ((2, 2, 7, 3),)),
    Case("AdaptiveAvgPool2d", ((None, 2),), ((2, 2, 3, 5),)),
    *_channels("AdaptiveMaxPool1d", 2, n=1, sizes=(3, 6), values="ties"),
    *_channels("AdaptiveMaxPool2d", 3, n=2, sizes=(3, 7), values="ties"),
    *_channels("AdaptiveMaxPool3d", (1, None, 3), n=3, sizes=(2, 4), values="ties"),
    Case("AdaptiveMaxPool2d", ((1, 5),), ((2, 2, 7, 3),), values="ties"),
]

SHAPE = [
    Case("Flatten", (), ((2, 3, 4),)),
    Case("Flatten", (0, 1), ((2, 3, 4),)),
    Case("Flatten", (0,), ((),)),
    Case("Unflatten", (1, (2, 3)), ((2, 6),)),
    Case("Unflatten", (-1, (2, -1)), ((3, 6),)),
]

SMOOTH = [
    ("GELU", ()),
    ("GELU", ("tanh",)),
    ("SiLU", ()),
    ("Mish", ()),
    ("Sigmoid", ()),
    ("LogSigmoid", ()),
    ("Tanh", ()),
    ("Tanhshrink", ()),
    ("Softplus", ()),
    ("Softplus", (15.0, 10.0)),
    ("Softsign", ()),
    ("Softmax", (1,)),
    ("Softmax", (-2,)),
    ("LogSoftmax", (0,)),
    ("Softmin", (1,)),
    ("GLU", ()),
    ("GLU", (1,)),
]

KINKED = [
    ("ReLU", ()),
    ("LeakyReLU", (0.3,)),
    ("ELU", (0.5,)),
    ("CELU", (0.5,)),
    ("SELU", ()),
    ("Softshrink", (1.0,)),
    ("Hardshrink", (1.0,)),
    ("Hardtanh", (-2, 1.0)),
    ("Threshold", (0.0, 2.0)),
]

ACTIVATION = [
    *(Case(layer, args, ((3, 4),)) for layer, args in SMOOTH),
    # Whole numbers stand on the kinks, where PyTorch chose a derivative.
    *(
        Case(layer, args, ((3, 4),), {}, values)
        for layer, args in KINKED
        for values in ("normal", "ties")
    ),
    *(Case(layer, (), ((3, 4),)) for layer in ("LeakyReLU", "ELU", "CELU", "Hardtanh", "ReLU6")),
    *(Case(layer, (), ((3, 4),)) for layer in ("Softshrink", "Hardshrink", "Hardswish")),
    # PyTorch multiplies by a sixth that it rounds to float32.
    Case("Hardsigmoid", (), ((3, 4),), tolerances=(1e-5, 1e-7)),
    Case("Hardsigmoid", (), ((3, 4),), {}, "kinks", tolerances=(1e-5, 1e-7)),
    Case("Hardswish", (), ((3, 4),), {}, "kinks"),
    Case("Hardtanh", (-3, 3), ((3, 4),), {}, "kinks"),
    Case("ReLU6", (), ((3, 4),), {}, "kinks"),
    Case("Softmax2d", (), ((2, 3, 4, 4),)),
    Case("Softmax2d", (), ((4, 4, 3),), {"channels_last": True}),
    Case("PReLU", (), ((3, 4),)),
    Case("PReLU", (), ((),)),
    Case("PReLU", (3, 0.1), ((2, 3, 4),)),
    Case("PReLU", (3,), ((2, 4, 3),), {"channels_last": True}),
]

CONTAINERS = [
    Case("Sequential", (), ((2, 1, 4, 4),), modes=(False, True), build=_net),
]

CASES = [
    *LINEAR,
    *CONV,
    *NORM,
    *EMBEDDING,
    *DROPOUT,
    *POOLING,
    *SHAPE,
    *ACTIVATION,
    *CONTAINERS,
    Case("Function", (jnp.square,), ((3, 4),)),
]

IN_TORCH = [case for case in CASES if case.layer != "Function"]
"""The cases that torch.nn has too."""

ONE_EACH = list({case.layer: case for case in reversed(CASES)}.values())[::-1]
"""The first case of each layer."""
