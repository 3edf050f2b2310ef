"""Models of Hugging Face, of a few small layers and random weights: by name, with their ties."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import funcparams as fp
from tests.models.bert import MaskedLM
from tests.models.gpt2 import GPT2, TRANSPOSED

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def agree(ours: Any, theirs: Any) -> None:
    theirs = theirs.detach().numpy()
    assert np.abs(np.asarray(ours) - theirs).max() <= 1e-5 * np.abs(theirs).max()


def randomised(module: Any) -> Any:
    """Give every parameter random numbers; most biases would be zero, and most norms one."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(parameter + 0.1 * noise)
    return module.eval()


def test_gpt2() -> None:
    config = transformers.GPT2Config(
        vocab_size=17, n_positions=12, n_embd=8, n_layer=2, n_head=2, use_cache=False
    )
    theirs = randomised(transformers.GPT2LMHeadModel(config))
    model = GPT2(vocabulary=17, positions=12, width=8, layers=2, heads=2)
    flat = theirs.state_dict()
    assert {"transformer.wte.weight", "lm_head.weight"} <= flat.keys()
    params, _, report = fp.load_state_dict(model, flat, transform=TRANSPOSED)
    assert report.names("tied") == ["lm_head.weight"]
    assert isinstance(params["lm_head"]["weight"], fp.Ref)
    ids = np.random.RandomState(0).randint(0, 17, (3, 12))
    agree(jax.jit(model.apply)(params, ids), theirs(torch.tensor(ids)).logits)
    # And back: their model takes what we write.
    back = fp.state_dict(model, params)
    for name, value in back.items():
        wide = any(part in name for part in (".attn.c", ".mlp.c"))
        array = np.asarray(value)
        back[name] = torch.tensor(array.T if wide and array.ndim == 2 else array)
    theirs.load_state_dict(back, strict=True)


def test_gpt2_refuses_a_head_that_is_not_the_embedding() -> None:
    config = transformers.GPT2Config(vocab_size=17, n_positions=12, n_embd=8, n_layer=1, n_head=2)
    flat = dict(transformers.GPT2LMHeadModel(config).state_dict())
    flat["lm_head.weight"] = flat["lm_head.weight"] + 0.5
    model = GPT2(vocabulary=17, positions=12, width=8, layers=1, heads=2)
    with pytest.raises(fp.MismatchError) as caught:
        fp.load_state_dict(model, flat, transform=TRANSPOSED)
    assert (
        "lm_head.weight: shared with transformer.wte.weight, and the two differ by up to 0.5"
        in (str(caught.value))
    )


def test_bert() -> None:
    config = transformers.BertConfig(
        vocab_size=19,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=12,
    )
    theirs = randomised(transformers.BertForMaskedLM(config))
    model = MaskedLM(words=19, places=12, width=8, layers=2, heads=2, inner=16)
    params, _, report = fp.load_state_dict(model, theirs.state_dict())
    assert report.names("tied") == [
        "cls.predictions.decoder.weight",
        "cls.predictions.decoder.bias",
    ]
    rng = np.random.RandomState(0)
    ids, segments = rng.randint(0, 19, (3, 10)), rng.randint(0, 2, (3, 10))
    mask = np.arange(10) < np.array([[10], [7], [3]])
    ours = jax.jit(model.apply)(params, ids, segments, mask)
    wanted = theirs(
        input_ids=torch.tensor(ids),
        token_type_ids=torch.tensor(segments),
        attention_mask=torch.tensor(mask.astype(np.int64)),
    ).logits
    # What is masked is nobody's to compare.
    agree(np.asarray(ours)[mask], wanted[torch.tensor(mask)])
    theirs.load_state_dict(
        {
            name: torch.tensor(np.asarray(value))
            for name, value in fp.state_dict(model, params).items()
        },
        strict=True,
    )
