"""Llama and Mistral of Hugging Face, small and with random weights: by name, with a cache too."""

from __future__ import annotations

from typing import Any

import chex
import jax
import numpy as np
import pytest

import funcparams as fp
from tests.models.llama import Llama

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = {
    "vocab_size": 17,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 6,
    "attn_implementation": "eager",
}
LENGTH = 12


@pytest.mark.parametrize(("name", "window"), [("Llama", None), ("Mistral", 4)])
def test_logits_with_and_without_a_cache(name: str, window: int | None) -> None:
    options = {} if window is None else {"sliding_window": window}
    config = getattr(transformers, f"{name}Config")(**SIZES, **options)
    torch.manual_seed(0)
    theirs = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            # Else norms are 1 and scores so small that every key weighs the same.
            parameter.add_(0.3 * torch.randn_like(parameter))
    ids = np.random.RandomState(0).randint(0, 17, (2, LENGTH))
    wanted = theirs(torch.tensor(ids)).logits.detach().numpy()

    attention = {
        "num_heads": 4,
        "num_kv_heads": 2,
        "head_dim": 6,
        "window": window,
        "rotary_base": 10000.0,
    }
    model = Llama(17, 16, 24, 2, attention)
    arrays = {key: value.numpy() for key, value in theirs.state_dict().items()}
    params = fp.unflatten(model, arrays)

    def agree(ours: Any) -> None:
        assert np.abs(np.asarray(ours) - wanted).max() <= 1e-5 * np.abs(wanted).max()

    agree(jax.jit(model.apply)(params, ids)[0])
    chex.clear_trace_counter()
    step = jax.jit(chex.assert_max_traces(model.apply, n=2))  # for the prompt and for a word
    caches = model.init_caches(2, LENGTH + 3)
    first, caches = step(params, ids[:, :5], caches)
    parts = [first]
    for place in range(5, LENGTH):
        logits, caches = step(params, ids[:, place : place + 1], caches)
        parts.append(logits)
    agree(np.concatenate(parts, 1))
