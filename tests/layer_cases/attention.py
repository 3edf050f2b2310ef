"""Attention layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.layer_cases.case import Case

E, H, N, L, S = 4, 2, 2, 3, 5
QUERY, KEYS = (L, N, E), (S, N, E)
FIRST = ((N, L, E), (N, S, E), (N, S, E))  # batch_first
SINGLE = ((L, E), (S, E), (S, E))

# No row is hidden whole.
PADDING = np.array([[0, 0, 0, 0, 1], [0, 1, 0, 0, 1]], bool)
HIDDEN = np.array([[0, 0, 1, 1, 1], [0, 0, 0, 1, 1], [1, 0, 1, 0, 0]], bool)
EACH = np.stack([np.roll(HIDDEN, shift, 1) for shift in range(N * H)])
EACH[:, :, 0] = False
ADDED = np.random.RandomState(0).randn(N * H, L, S).astype(np.float32)
BOTH = (False, True)
AHEAD = np.triu(np.ones((L, L), bool), 1)
SQUARE = np.random.RandomState(1).randn(S, S).astype(np.float32)


def _given(keywords: dict[str, Any]) -> Callable[[Any, Any, Any], Any]:
    """Call PyTorch's module with masks of numbers in the dtype of its inputs, which it wants."""

    def call(torch: Any, module: Any, tensors: Any) -> Any:
        masks = {
            name: torch.tensor(value) if isinstance(value, np.ndarray) else value
            for name, value in keywords.items()
        }
        return module(
            *tensors,
            **{
                name: value.to(tensors[0].dtype)
                if isinstance(value, torch.Tensor) and value.is_floating_point()
                else value
                for name, value in masks.items()
            },
        )

    return call


def _attention(
    *shapes: tuple[int, ...], options: dict[str, Any] | None = None, note: str = "", **keywords: Any
) -> Case:
    return Case(
        "MultiheadAttention",
        (E, H),
        shapes or (QUERY, KEYS, KEYS),
        options or {},
        keywords=keywords,
        torch_call=_given(keywords),
        note=note,
    )


MULTIHEAD = [
    _attention(),
    _attention(*SINGLE),
    _attention(*FIRST, options={"batch_first": True}),
    _attention(*SINGLE, options={"batch_first": True}, need_weights=False),
    _attention(need_weights=False),
    _attention(*FIRST, options={"batch_first": True}, need_weights=False),
    _attention(average_attn_weights=False),
    _attention(*SINGLE, average_attn_weights=False),
    _attention(options={"bias": False}),
    _attention(QUERY, (S, N, 3), (S, N, 6), options={"kdim": 3, "vdim": 6}),
    _attention(QUERY, (S, N, 3), KEYS, options={"kdim": 3, "bias": False}),
    *(
        _attention(note=note, need_weights=weights, **masks)
        for weights in (True, False)
        for note, masks in (
            ("bool", {"key_padding_mask": PADDING}),
            ("bool", {"attn_mask": HIDDEN}),
            ("bool", {"attn_mask": EACH}),
            ("bool", {"attn_mask": EACH, "key_padding_mask": PADDING}),
            ("float", {"attn_mask": ADDED[0]}),
            ("float", {"attn_mask": ADDED}),
            ("float", {"attn_mask": ADDED, "key_padding_mask": ADDED[0, :N]}),
            ("float", {"key_padding_mask": ADDED[0, :N]}),
        )
    ),
    _attention(*SINGLE, key_padding_mask=PADDING[0], attn_mask=HIDDEN),
    _attention(*SINGLE, attn_mask=EACH[:H], need_weights=False),
    *(
        _attention(
            options={"add_bias_kv": kv, "add_zero_attn": zero},
            attn_mask=EACH,
            key_padding_mask=PADDING,
            need_weights=zero,
        )
        for kv, zero in ((True, False), (False, True), (True, True))
    ),
    _attention(*SINGLE, options={"add_bias_kv": True, "add_zero_attn": True}),
    *(
        _attention(QUERY, QUERY, QUERY, attn_mask=AHEAD, is_causal=True, need_weights=weights)
        for weights in (True, False)
    ),
]


_MASKED = {
    "TransformerEncoderLayer": {"src_mask": AHEAD, "src_key_padding_mask": PADDING[:, :L]},
    "TransformerDecoderLayer": {
        "tgt_mask": AHEAD,
        "tgt_is_causal": True,
        "memory_mask": EACH,
        "memory_key_padding_mask": PADDING,
    },
}


def _layers(layer: str, shapes: tuple[tuple[int, ...], ...]) -> list[Case]:
    first = tuple((shape[1], shape[0], shape[2]) for shape in shapes)
    single = tuple((shape[0], shape[2]) for shape in shapes)
    gelu = {"activation": "gelu", "layer_norm_eps": 1e-3, "norm_first": True}
    return [
        Case(layer, (E, H, 8, 0.0), shapes),
        Case(layer, (E, H, 8, 0.0), first, {"batch_first": True, "bias": False}),
        # The note chooses numbers that float32 can compute these gradients of.
        Case(layer, (E, H, 8, 0.0), single, gelu, note="unbatched"),
        Case(layer, (E, H, 8, 0.2), shapes, {"norm_first": True}, keywords=_MASKED[layer]),
    ]


def _encoder(module: Any) -> Any:
    layer = module.TransformerEncoderLayer(E, H, 8, 0.0, norm_first=True)
    return module.TransformerEncoder(layer, 2, module.LayerNorm(E))


def _decoder(module: Any) -> Any:
    return module.TransformerDecoder(module.TransformerDecoderLayer(E, H, 8, 0.0), 2)


_STACKS = {"src_is_causal": False, "tgt_is_causal": True}
# In training they need a key, at any dropout; tests/parity/test_attention.py compares them.
STACKS = [
    Case("TransformerEncoder", (), (QUERY,), build=_encoder, modes=BOTH, in_torch=False),
    Case(
        "TransformerEncoder",
        (),
        (QUERY,),
        build=_encoder,
        keywords={"mask": AHEAD, "src_key_padding_mask": PADDING[:, :L]},
        modes=BOTH,
        in_torch=False,
    ),
    Case(
        "TransformerDecoder",
        (),
        (QUERY, KEYS),
        build=_decoder,
        tolerances=(5e-5, 1e-9),  # gradients of 1e-4 behind six norms
        modes=BOTH,
        in_torch=False,
    ),
    Case(
        "TransformerDecoder",
        (),
        (QUERY, KEYS),
        build=_decoder,
        keywords={"tgt_mask": AHEAD, "memory_key_padding_mask": PADDING, "memory_mask": HIDDEN},
        modes=BOTH,
        in_torch=False,
    ),
    Case("Transformer", (E, H, 2, 1, 8, 0.0), (KEYS, QUERY), modes=BOTH, in_torch=False),
    Case(
        "Transformer",
        (E, H, 1, 2, 8, 0.0, "gelu"),
        ((N, S, E), (N, L, E)),
        {"batch_first": True, "norm_first": True, "bias": False},
        keywords={
            "tgt_mask": AHEAD,
            "src_key_padding_mask": PADDING,
            "memory_key_padding_mask": PADDING,
            **_STACKS,
        },
        modes=BOTH,
        in_torch=False,
    ),
]

GROUPED = [
    Case("GroupedQueryAttention", (8, 4, 2), ((2, 5, 8),), in_torch=False),
    Case(
        "GroupedQueryAttention",
        (8, 4, 1, 6),
        ((2, 5, 8),),
        {"bias": True, "rotary_base": 10000.0, "window": 3},
        keywords={"key_padding_mask": PADDING, "positions": np.arange(10).reshape(2, 5)},
        in_torch=False,
    ),
    Case(
        "GroupedQueryAttention",
        (8, 4, 2),
        ((5, 8),),
        {"causal": False, "out_bias": True, "rotary_base": 100.0, "rotary_interleaved": True},
        keywords={"attn_mask": SQUARE},
        in_torch=False,
    ),
    Case(
        "GroupedQueryAttention", (6, 3), ((2, 5, 6),), {"dropout": 0.1}, modes=BOTH, in_torch=False
    ),
    Case("SwiGLU", (4, 6), ((2, 3, 4),), in_torch=False),
    Case("SwiGLU", (4, 6, 3), ((4,),), {"bias": True}, in_torch=False),
]

ATTENTION = [
    *MULTIHEAD,
    *_layers("TransformerEncoderLayer", (QUERY,)),
    *_layers("TransformerDecoderLayer", (QUERY, KEYS)),
    *STACKS,
    *GROUPED,
]
