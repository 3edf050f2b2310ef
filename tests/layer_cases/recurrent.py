"""Recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from funcparams import nn
from tests.layer_cases.case import Case

Shapes = tuple[tuple[int, ...], ...]


class LSTM(nn.LSTM):
    """Takes the two states as inputs of their own, as cases have them."""

    def __call__(self, x: jax.Array, h: jax.Array, c: jax.Array, **options: Any) -> Any:
        return super().__call__(x, (h, c), **options)


class LSTMCell(nn.LSTMCell):
    """Takes the two states as inputs of their own, as cases have them."""

    def __call__(self, x: jax.Array, h: jax.Array, c: jax.Array) -> Any:
        return super().__call__(x, (h, c))


def _stateful(layer: str, args: tuple[Any, ...], shapes: Shapes, **options: Any) -> Case:
    """Give a case of an LSTM with initial states."""
    lengths = options.pop("lengths", None)
    ours = {"LSTM": LSTM, "LSTMCell": LSTMCell}[layer]
    return Case(
        layer,
        args,
        shapes,
        options,
        build=lambda _: ours(*args, **options),
        torch_build=lambda torch: getattr(torch.nn, layer)(*args, **options),
        torch_call=_packing(lengths, options) if lengths else _call_with_pair,
        keywords={"lengths": np.array(lengths)} if lengths else {},
    )


def _call_with_pair(torch: Any, module: Any, tensors: Any) -> Any:
    x, h, c = tensors
    return module(x, (h, c))


def _packed(
    layer: str, args: tuple[Any, ...], shapes: Shapes, lengths: Sequence[int], **options: Any
) -> Case:
    """Give a case with lengths, for which PyTorch has packed sequences."""
    keywords = {"lengths": np.array(lengths)}
    packing = _packing(lengths, options)
    return Case(layer, args, shapes, options, keywords=keywords, torch_call=packing)


def _packing(lengths: Sequence[int], options: Any) -> Any:
    first = bool(options.get("batch_first"))

    def call(torch: Any, module: Any, tensors: Any) -> Any:
        x, *states = tensors
        hx = tuple(states) if len(states) > 1 else next(iter(states), None)
        tools = torch.nn.utils.rnn
        packed = tools.pack_padded_sequence(x, torch.tensor(lengths), first, enforce_sorted=False)
        y, final = module(packed, hx)
        size = x.shape[1 if first else 0]
        return tools.pad_packed_sequence(y, first, total_length=size)[0], final

    return call


def _cells(layer: str, *args: Any) -> list[Case]:
    return [
        Case(layer, (4, 3), ((2, 4),)),
        Case(layer, (4, 3), ((4,),)),
        Case(layer, (4, 3, False, *args), ((2, 4),)),
    ]


def _both(layer: str, *args: Any) -> list[Case]:
    """Give the cases of a layer that has one state."""
    deep = {"num_layers": 2, "bidirectional": True}
    return [
        Case(layer, (4, 3), ((5, 2, 4),)),
        Case(layer, (4, 3), ((5, 4),)),
        Case(layer, (4, 3, 2, *args), ((5, 2, 4), (2, 2, 3))),
        Case(layer, (4, 3), ((5, 4), (2, 3)), {"bidirectional": True, "batch_first": True}),
        Case(layer, (4, 3), ((2, 5, 4), (4, 2, 3)), {**deep, "bias": False, "batch_first": True}),
        Case(layer, (4, 3, 3), ((1, 2, 4),), {"dropout": 0.5}),
        Case(layer, (4, 3), ((9, 2, 4),), {"bidirectional": True}),
        _packed(layer, (4, 3), ((5, 3, 4),), (2, 5, 1)),
        _packed(layer, (4, 3), ((3, 5, 4), (4, 3, 3)), (3, 1, 4), **deep, batch_first=True),
    ]


RECURRENT = [
    *_both("RNN", "relu"),
    *_both("GRU"),
    Case("LSTM", (4, 3), ((5, 2, 4),)),
    Case("LSTM", (4, 3), ((5, 4),)),
    Case("LSTM", (4, 3, 2, False, True, 0.3, True), ((2, 5, 4),)),
    Case("LSTM", (4, 3), ((5, 2, 4),), {"proj_size": 2}),
    Case("LSTM", (4, 3, 2), ((5, 2, 4),), {"proj_size": 2, "bidirectional": True, "bias": False}),
    _stateful("LSTM", (4, 3), ((5, 4), (1, 3), (1, 3))),
    _stateful("LSTM", (4, 3, 2), ((5, 2, 4), (4, 2, 3), (4, 2, 3)), bidirectional=True),
    _stateful("LSTM", (4, 3), ((2, 5, 4), (1, 2, 2), (1, 2, 3)), proj_size=2, batch_first=True),
    _packed("LSTM", (4, 3), ((5, 3, 4),), (2, 5, 1)),
    _packed("LSTM", (4, 3), ((9, 3, 4),), (2, 9, 4), bidirectional=True, proj_size=2),
    _packed("LSTM", (4, 3, 2), ((3, 5, 4),), (1, 4, 2), batch_first=True, bidirectional=True),
    _stateful(
        "LSTM",
        (4, 3, 2),
        ((5, 3, 4), (4, 3, 2), (4, 3, 3)),
        bidirectional=True,
        proj_size=2,
        lengths=(4, 1, 3),
    ),
    *_cells("RNNCell", "relu"),
    Case("RNNCell", (4, 3), ((2, 4), (2, 3))),
    Case("RNNCell", (4, 3), ((4,), (3,)), {"nonlinearity": "relu"}),
    *_cells("GRUCell"),
    Case("GRUCell", (4, 3), ((2, 4), (2, 3))),
    Case("GRUCell", (4, 3, False), ((4,), (3,))),
    *_cells("LSTMCell"),
    _stateful("LSTMCell", (4, 3), ((2, 4), (2, 3), (2, 3))),
    _stateful("LSTMCell", (4, 3), ((4,), (3,), (3,)), bias=False),
]
