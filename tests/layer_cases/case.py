"""What a case is: a layer with the arguments and the inputs that it is tested with."""

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
    # integers below a bound. One kind for all inputs, or one for each.
    values: str | int | tuple[str | int, ...] = "normal"
    # Whether training differs from inference.
    modes: tuple[bool, ...] = (False,)
    # Whether training draws random numbers, so that nothing can be compared with PyTorch then.
    random: bool = False
    # What makes it, where that is more than one class.
    build: Callable[[Any], Any] | None = None
    # The largest errors, relative to the largest number, in float32 and in float64.
    tolerances: tuple[float, float] = (1e-5, 1e-9)
    # What the call is given beside the inputs: numbers, words, arrays of integers and masks.
    keywords: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    # How PyTorch's module is called, where not in the same way: (torch, module, tensors) -> output.
    torch_call: Callable[[Any, Any, Any], Any] | None = None
    # How PyTorch's module is made, where not by the same arguments: torch -> module.
    torch_build: Callable[[Any], Any] | None = None
    # Whether torch.nn has it too.
    in_torch: bool = True
    # What tells cases apart that are equal in all that is written in a name.
    note: str = ""

    @property
    def name(self) -> str:
        """The case as one writes it: `Linear(4, 3, bias=False)`, and the inputs' shapes."""
        given = [getattr(each, "__name__", repr(each)) for each in self.args]
        given += [f"{key}={value!r}" for key, value in self.options.items()]
        shapes = " ".join("x".join(map(str, shape)) or "()" for shape in self.shapes)
        values = "" if self.values == "normal" else f" {self.values}"
        called = "".join(
            f" {key}={list(value.shape) if isinstance(value, np.ndarray) else value}"
            for key, value in self.keywords.items()
        )
        note = f" {self.note}" if self.note else ""
        text = f"{self.layer}({', '.join(given)}) {shapes}{values}{called}{note}"
        return text.replace(" ", "_")

    def make(self) -> fp.Module:
        """Make the definition."""
        if self.build is not None:
            return self.build(nn)
        return getattr(nn, self.layer)(*self.args, **self.options)

    def make_torch(self, torch: Any) -> Any:
        """Make PyTorch's module of the same arguments."""
        if self.torch_build is not None:
            return self.torch_build(torch)
        if self.build is not None:
            return self.build(torch.nn)
        options = {key: value for key, value in self.options.items() if key != "channels_last"}
        return getattr(torch.nn, self.layer)(*self.args, **options)

    def call_torch(self, torch: Any, module: Any, tensors: Any) -> Any:
        """Call PyTorch's module on the inputs."""
        if self.torch_call is not None:
            return self.torch_call(torch, module, tensors)
        given = {
            key: torch.tensor(value) if isinstance(value, np.ndarray) else value
            for key, value in self.keywords.items()
        }
        return module(*tensors, **given)

    @property
    def channels_last(self) -> bool:
        """Whether inputs and outputs have the channels on the last axis."""
        return bool(self.options.get("channels_last"))

    @property
    def kinds(self) -> tuple[str | int, ...]:
        """What each of the inputs is."""
        return self.values if isinstance(self.values, tuple) else (self.values,) * len(self.shapes)

    @property
    def integers(self) -> tuple[bool, ...]:
        """Which of the inputs are integers, by which nothing is differentiated."""
        return tuple(isinstance(kind, int) for kind in self.kinds)

    def inputs(self, dtype: Any = np.float32) -> list[np.ndarray[Any, Any]]:
        """Draw the inputs, the same at every call."""
        rng = np.random.RandomState(zlib.crc32(self.name.encode()))
        pairs = zip(self.shapes, self.kinds, strict=True)
        return [_input(rng, shape, kind, dtype) for shape, kind in pairs]

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


def _input(rng: Any, shape: tuple[int, ...], kind: str | int, dtype: Any) -> Any:
    if isinstance(kind, int):
        return np.asarray(rng.randint(0, kind, shape), np.int32)
    if kind == "ties":
        return np.asarray(rng.randint(-2, 3, shape), dtype)
    if kind == "kinks":
        return np.asarray(3 * rng.randint(-1, 3, shape), dtype)
    return np.asarray(rng.randn(*shape), dtype)


def x64() -> contextlib.AbstractContextManager[Any]:
    """Enable float64, by the name that this version of JAX has for it."""
    enable = getattr(jax, "enable_x64", None)
    if not callable(enable):  # before jax 0.8
        from jax.experimental import enable_x64 as enable
    return enable(True)


def channels(layer: str, *args: Any, n: int, **options: Any) -> list[Case]:
    """Make cases of one layer in both layouts, batched and not; `sizes` is (channels, size)."""
    count, size = options.pop("sizes")
    values = options.pop("values", "normal")
    place = (size,) * n
    last = {**options, "channels_last": True}
    return [
        Case(layer, args, ((2, count, *place),), options, values),
        Case(layer, args, ((count, *place),), options, values),
        Case(layer, args, ((2, *place, count),), last, values),
    ]


def channels_last(layer: str, *args: Any, shape: tuple[int, ...], **options: Any) -> Case:
    """Make a case with channels on the last axis, of a layer whose name says no number of axes."""
    given = {**options, "channels_last": True}
    return Case(
        layer,
        args,
        (shape,),
        options,
        build=lambda nn: getattr(nn, layer)(*args, **given),
        torch_build=lambda torch: getattr(torch.nn, layer)(*args, **options),
        torch_call=lambda torch, module, tensors: module(tensors[0].movedim(-1, 1)).movedim(1, -1),
        note="channels_last",
    )
