"""`File`: a mapping over one file or several; `diff` over these and over params in memory."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import funcparams as fp
from funcparams import nn
from funcparams.checkpoint.opening import open_file
from tests.models import GPT, Language, filled, nested, twice

TABLE = """\
{path}: 3 tensors, 108 bytes, by funcparams {version}
step: 3
name         shape   dtype    bytes  shared with
wte.weight   (5, 3)  float32  60
body.weight  (3, 3)  float32  36
body.bias    (3,)    float32  12
head.weight  (5, 3)  float32         = wte.weight"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


@pytest.fixture
def language(path: Path) -> fp.File:
    fp.save(path, Language(), filled(Language()), metadata={"step": "3"})
    return fp.load(path)


def test_a_file_is_a_mapping(language: fp.File) -> None:
    names = ["wte.weight", "body.weight", "body.bias", "head.weight"]
    assert list(language) == names == list(language.shapes) == list(language.dtypes)
    assert len(language) == 4
    assert "body.bias" in language
    assert "nothing" not in language
    assert language.get("nothing") is None
    assert language.nbytes == 108
    assert language.ties == {"head.weight": "wte.weight"}
    assert language.dtypes["wte.weight"] == np.float32
    expected = fp.state_dict(Language(), filled(Language()))
    for name, array in language.items():
        np.testing.assert_array_equal(array, expected[name])


def test_it_shows_a_table(language: fp.File) -> None:
    text = TABLE.format(path=language.path, version=fp.__version__)
    assert str(language) == repr(language) == text


def test_an_empty_file_shows_a_line(path: Path) -> None:
    fp.save(path, nn.ReLU(), {})
    assert str(fp.load(path)) == f"{path}: 0 tensors, 0 bytes, by funcparams {fp.__version__}"


def test_a_name_that_it_does_not_have(language: fp.File) -> None:
    with pytest.raises(fp.SelectionError) as caught:
        language["body.wieght"]
    assert str(caught.value) == (
        f"{language.path}: no tensor 'body.wieght'; did you mean 'body.weight'?"
    )


def test_arrays_cannot_be_written_to(language: fp.File, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        language["body.bias"][0] = 1
    safetensors.numpy.save_file({"a": np.ones(3)}, tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="read-only"):
        fp.load(tmp_path / "b.safetensors")["a"][0] = 1


def test_a_tensor_unread(language: fp.File) -> None:
    stored = language.stored("body.weight")
    assert (stored.name, stored.shape, stored.dtype) == ("body.weight", (3, 3), np.float32)
    half = stored.astype(jnp.bfloat16)
    assert half.dtype == jnp.bfloat16
    assert np.asarray(half).dtype == jnp.bfloat16
    assert np.asarray(half, np.float64).dtype == np.float64
    copy = np.array(stored)
    copy[:] = 0
    assert language["body.weight"].all()


def test_a_file_is_given_to_load_state_dict(language: fp.File) -> None:
    loaded = fp.load_state_dict(Language(), language)
    assert not fp.diff(loaded.params, filled(Language()))
    assert loaded.report.names("tied") == ["head.weight"]


@pytest.mark.parametrize("shards", [None, 200])
def test_it_stays_readable_when_the_file_is_replaced(path: Path, shards: int | None) -> None:
    model = GPT()
    fp.save(path, model, filled(model), max_shard_bytes=shards)
    file = fp.load(path)
    fp.save(path, model, filled(model, 5))
    path.unlink()
    assert not fp.diff(file, filled(model))


def test_many_threads_read_one_foreign_file(path: Path) -> None:
    arrays = {str(i): np.full(10_000, i, np.float32) for i in range(20)}
    safetensors.numpy.save_file(arrays, path)
    file = fp.load(path)
    wrong: list[str] = []

    def read() -> None:
        wrong.extend(name for name in file for _ in range(5) if (file[name] != int(name)).any())

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_checkpoint_that_is_replaced_while_it_is_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Language()
    fp.save(path, model, filled(model), max_shard_bytes=64)
    from funcparams.checkpoint import opening

    real, saves = opening.read_index, iter([1])

    def read(index: Path) -> dict[str, str]:
        found = real(index)
        for number in saves:
            fp.save(path, model, filled(model, number), max_shard_bytes=64)
        return found

    monkeypatch.setattr(opening, "read_index", read)
    assert not fp.diff(open_file(path), filled(model, 1))


# Files that are not there


def test_no_such_file(path: Path) -> None:
    path.with_name("modle.safetensors").touch()
    with pytest.raises(fp.CheckpointNotFoundError) as caught:
        fp.load(path)
    assert isinstance(caught.value, FileNotFoundError)
    assert isinstance(caught.value, fp.CheckpointError)
    assert str(caught.value) == f"{path}: no such file; did you mean 'modle.safetensors'?"
    with pytest.raises(fp.CheckpointNotFoundError) as caught:
        fp.load(path.parent / "nowhere" / "a.safetensors")
    assert str(caught.value).endswith("a.safetensors: no such file")


def test_a_folder_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(fp.CheckpointNotFoundError) as caught:
        fp.load(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: no model.safetensors in it, and no model.safetensors.index.json"
    )


# diff


def test_equal_params_do_not_differ() -> None:
    for model in (Language(), nested(), twice()):
        found = fp.diff(filled(model), filled(model))
        assert not found
        assert (len(found), found.same) == (0, len(fp.state_dict(model, filled(model))))
    assert str(fp.diff({}, {})) == "0 names, no difference"
    assert str(fp.diff({"a": 1.0}, {"a": 1.0})) == "1 name, no difference"


def test_every_difference_is_named() -> None:
    a = {
        "same": jnp.ones(2),
        "gone": jnp.ones(2),
        "shape": jnp.ones((2, 3)),
        "dtype": jnp.ones(2),
        "numbers": jnp.arange(4.0),
        "tied": fp.Ref(".same"),
    }
    b = {
        "same": np.ones(2, np.float32),
        "shape": jnp.ones((3, 2)),
        "dtype": jnp.ones(2, jnp.bfloat16),
        "numbers": jnp.array([0.0, 1.5, 2.0, 2.0]),
        "tied": jnp.zeros(2),
        "new": jnp.ones((), jnp.int32),
    }
    found = fp.diff(a, b)
    assert str(found) == (
        "6 of 7 names differ\n"
        "name     what       a             b             how much\n"
        "dtype    dtype      float32[2]    bfloat16[2]   equal numbers\n"
        "gone     only in a  float32[2]\n"
        "numbers  values     float32[4]    float32[4]    by up to 1 in 2 of 4\n"
        "shape    shape      float32[2,3]  float32[3,2]\n"
        "tied     sharing    = same        float32[2]    by up to 1 in 2 of 2\n"
        "new      only in b                int32[]"
    )
    assert [each.name for each in fp.diff(b, a)][-1] == "gone"


@pytest.mark.parametrize(
    ("a", "b", "largest", "count"),
    [
        ([np.nan, 1], [np.nan, 1], None, 0),
        ([0.0], [-0.0], None, 0),
        ([np.inf], [np.inf], None, 0),
        ([np.inf, 0], [-np.inf, 0], np.inf, 1),
        ([np.nan, 0], [1, 0], np.nan, 1),
        ([1, 2, np.nan], [1.5, 2, 3], np.nan, 2),
        ([3j], [4j + 3], np.sqrt(10), 1),
        ([True, False], [True, True], 1, 1),
        ([250, 3], [3, 250], 247, 2),
    ],
)
def test_how_much_numbers_differ(a: Any, b: Any, largest: float | None, count: int) -> None:
    kind = np.uint8 if a[0] == 250 else None
    found = fp.diff({"x": np.array(a, kind)}, {"x": np.array(b, kind)})
    assert [each.count for each in found] == [count] * bool(count)
    if largest is not None:
        np.testing.assert_equal(found.differences[0].largest, float(largest))


def test_large_arrays_are_compared_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("funcparams.checkpoint.arrays._BLOCK", 3)
    a = np.zeros((3, 5), np.float32)
    b = a.copy()
    b[0, 1], b[2, 4] = 1, -2
    (only,) = fp.diff({"x": a}, {"x": b})
    assert (only.largest, only.count, only.size) == (2, 2, 15)
    (only,) = fp.diff({"x": a.T}, {"x": b.T})
    assert (only.largest, only.count) == (2, 2)


def test_shared_modules_have_all_their_names() -> None:
    model, params = twice(), filled(twice())
    untied = fp.untie(model, params, "2.**")[1]
    assert [(each.name, each.what, each.detail) for each in fp.diff(params, untied)] == [
        ("2.bias", "sharing", "equal numbers"),
        ("2.weight", "sharing", "equal numbers"),
    ]


def test_parametrizations_are_compared_by_their_fields() -> None:
    from tests.select.test_trees import Scaled

    a = {"w": Scaled(jnp.ones(2), jnp.ones(())), "v": fp.Ref(".w")}
    b = {"w": Scaled(jnp.ones(2), jnp.zeros(())), "v": fp.Ref(".w")}
    assert [each.name for each in fp.diff(a, b)] == ["w.factor"]
    assert fp.diff(a, b).same == 3


def test_flat_dicts_files_and_trees(language: fp.File) -> None:
    params = filled(Language())
    assert not fp.diff(language, params)
    flat = fp.flatten(params)
    assert [each.name for each in fp.diff(flat, params)] == ["head.weight"]
    assert [each.what for each in fp.diff(params, flat)] == ["only in a"]


def test_what_has_no_numbers_is_compared_by_shape_and_dtype() -> None:
    model = nn.Linear(2, 3)
    assert not fp.diff(model.abstract(), filled(model))
    half = fp.cast(model.abstract(), jnp.bfloat16)
    assert [each.what for each in fp.diff(half, filled(model))] == ["dtype", "dtype"]
    assert fp.diff(half, filled(model)).differences[0].detail == ""


def test_keys_are_compared() -> None:
    a, b = jax.random.key(0), jax.random.key(1)
    assert not fp.diff({"k": a}, {"k": a})
    assert [each.what for each in fp.diff({"k": a}, {"k": b})] == ["values"]


def test_what_is_no_params_is_refused() -> None:
    with pytest.raises(fp.DefinitionTypeError, match="diff: expected a nested dict of arrays, got"):
        fp.diff(nn.Linear(1, 1), {})  # type: ignore[arg-type]
    with pytest.raises(fp.DefinitionTypeError, match=r"a\.b: expected an array of numpy"):
        fp.diff({"a.b": "text"}, {})

    @jax.jit
    def traced(x: Any) -> Any:
        fp.diff({"x": x}, {})
        return x

    with pytest.raises(fp.DefinitionTypeError) as caught:
        traced(jnp.ones(2))
    assert str(caught.value) == (
        "diff: x is traced, and has no numbers yet.\n  Call it outside of jax.jit."
    )
