"""`save` and `load`: the files that are written, and params that come back from them."""

from __future__ import annotations

import ctypes
import errno
import gc
import itertools
import json
import os
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings

import funcparams as fp
from funcparams import init, nn
from funcparams.checkpoint import drafts, writer
from funcparams.checkpoint.source import Source
from tests.models import GPT, Language, filled, nested, same_arrays, twice, zeros
from tests.recipes import build, recipes

KEY = jax.random.key(0)
DTYPES = (
    "bool int8 int16 int32 uint8 uint16 uint32 float16 float32 bfloat16 complex64 "
    "float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu"
).split()


class Holder(fp.Module):
    """Arrays of given shapes and dtypes, as buffers, since these may be of any dtype."""

    def __init__(self, **arrays: tuple[tuple[int, ...], Any]):
        for name, (shape, dtype) in arrays.items():
            setattr(self, name, fp.buffer(shape, zeros, dtype))


def header(path: Path) -> tuple[int, dict[str, Any]]:
    """Where the data of a file begin, and its header."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    return 8 + length, json.loads(raw[8 : 8 + length])


def refusal(error: type[Exception], *arguments: Any, **options: Any) -> str:
    with pytest.raises(error) as caught:
        fp.save(*arguments, **options)
    assert isinstance(caught.value, fp.FuncparamsError)
    return str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


# Out and in


@pytest.mark.parametrize("model", [Language(), twice(), nested(), GPT(), nn.ReLU()], ids=repr)
@pytest.mark.parametrize("shards", [None, 64])
def test_what_is_saved_is_loaded(model: fp.Module, shards: int | None, path: Path) -> None:
    params = filled(model)
    fp.save(path, model, params, max_shard_bytes=shards)
    loaded = fp.load(path, model)
    assert same_arrays(loaded.params, params)
    assert loaded.state == {}
    again = fp.load(path)
    assert not fp.diff(again, params)
    assert list(again) == [*dict.fromkeys([*(n for n in again if n not in again.ties), *again])]


@given(recipes())
@settings(max_examples=15, deadline=None)
def test_every_structure_comes_back(tmp_path_factory: Any, recipe: Any) -> None:
    model = build(recipe)
    path = tmp_path_factory.mktemp("any") / "a.safetensors"
    params = filled(model)
    fp.save(path, model, params, model.init_state(KEY))
    loaded = fp.load(path, model)
    assert same_arrays(loaded.params, params)
    assert same_arrays(loaded.state, model.init_state(KEY))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_comes_back(dtype: str, path: Path) -> None:
    model = Holder(a=((3, 5), dtype), scalar=((), dtype), none=((0, 4), dtype))
    bits = np.arange(15, dtype=np.uint8) % (2 if dtype == "bool" else 100)
    wide = np.dtype(dtype).itemsize
    array = np.repeat(bits, wide).view(dtype).reshape(3, 5)
    state = {
        "a": jnp.asarray(array),
        "scalar": jnp.asarray(array[1, 1]),
        "none": jnp.zeros((0, 4), dtype),
    }
    fp.save(path, model, {}, state)
    loaded = fp.load(path, model)
    for name, value in state.items():
        got = loaded.state[name]
        assert (got.dtype, got.shape) == (value.dtype, value.shape)
        assert np.asarray(got).tobytes() == np.asarray(value).tobytes()
    assert fp.load(path).dtypes["a"] == np.dtype(dtype)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "float64"])
def test_wide_dtypes_come_back(dtype: str, path: Path) -> None:
    with jax.enable_x64(True):
        model = Holder(a=((3,), dtype))
        fp.save(path, model, {}, {"a": jnp.arange(3, dtype=dtype)})
        assert fp.load(path, model).state["a"].dtype == dtype


def test_numpy_and_other_byte_orders_can_be_saved(path: Path) -> None:
    model = nn.Linear(2, 1)
    params = {"weight": np.array([[1, 2]], ">f4"), "bias": np.ones(4, np.float32)[::4]}
    fp.save(path, model, params)
    assert fp.load(path)["weight"].tolist() == [[1, 2]]
    assert fp.load(path)["bias"].tolist() == [1]
    columns = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    fp.save(path, nn.Linear(3, 2, bias=False), {"weight": columns})
    np.testing.assert_array_equal(fp.load(path)["weight"], columns)


def test_metadata_and_what_wrote_it(path: Path) -> None:
    model = nn.Linear(1, 1)
    fp.save(path, model, filled(model), metadata={"step": "12", "näme": "täxt\n"})
    file = fp.load(path)
    assert file.metadata == {"step": "12", "näme": "täxt\n"}
    assert file.library == f"funcparams {fp.__version__}"
    written = header(path)[1]["__metadata__"]
    assert written["format"] == "pt"  # Hugging Face's tools ask for it
    assert written["funcparams.format"] == "1"


def test_what_is_shared_is_written_once(path: Path) -> None:
    model = nested()
    fp.save(path, model, filled(model))
    names = set(header(path)[1]) - {"__metadata__"}
    assert names == {"0.wte.weight", "0.body.weight", "0.body.bias", "1.body.weight", "1.body.bias"}
    file = fp.load(path)
    assert file.ties["1.head.weight"] == "0.wte.weight"
    assert set(file) == set(fp.state_dict(model, filled(model)))


def test_a_shared_array_loads_into_a_definition_that_does_not_share(path: Path) -> None:
    tied, params = twice(), filled(twice())
    fp.save(path, tied, params)
    untied = nn.Sequential(nn.Linear(2, 2), nn.Identity(), nn.Linear(2, 2))
    loaded = fp.load(path, untied).params
    step = jax.jit(lambda p: jax.tree.map(lambda x: x + 1, p), donate_argnums=0)
    stepped = step(loaded)  # would fail if both were one buffer
    np.testing.assert_array_equal(stepped["2"]["weight"], params["0"]["weight"] + 1)


# The format


def test_data_begin_where_memory_can_be_used_as_it_is(path: Path) -> None:
    model = GPT()
    fp.save(path, model, filled(model))
    begin, entries = header(path)
    assert begin % 64 == 0
    del entries["__metadata__"]
    ordered = sorted((entry["data_offsets"], name) for name, entry in entries.items())
    assert ordered[0][0][0] == 0
    for (before, _), (after, _) in itertools.pairwise(ordered):
        assert before[1] == after[0]  # no holes
    for (start, stop), _ in ordered:
        power = (stop - start) & -(stop - start)
        assert start % min(power, 64) == 0
    assert list(entries) == list(fp.state_dict(model, filled(model), ties="once"))


@pytest.mark.parametrize("model", [Language(), nested(), GPT()], ids=lambda m: type(m).__name__)
def test_safetensors_reads_it(model: fp.Module, path: Path) -> None:
    params = filled(model)
    fp.save(path, model, params, metadata={"a": "b"})
    read = safetensors.numpy.load_file(path)
    expected = fp.state_dict(model, params, ties="once")
    assert read.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(read[name], array)
    with safetensors.safe_open(path, framework="np") as file:
        assert file.metadata()["a"] == "b"


def test_files_of_safetensors_are_read(path: Path) -> None:
    arrays = {
        "weight": np.arange(6, dtype=np.float32).reshape(3, 2),
        "bias": np.zeros(3, np.float32),
    }
    safetensors.numpy.save_file(arrays, path, metadata={"format": "pt", "who": "them"})
    file = fp.load(path)
    assert file.metadata == {"format": "pt", "who": "them"}
    assert file.library == ""
    params = fp.load(path, nn.Linear(2, 3)).params
    np.testing.assert_array_equal(params["weight"], arrays["weight"])


def test_an_index_is_as_hugging_face_writes_it(tmp_path: Path) -> None:
    model = GPT()
    fp.save(tmp_path, model, filled(model), max_shard_bytes="1KB")
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    arrays = fp.state_dict(model, filled(model), ties="once")
    assert index["metadata"] == {"total_size": sum(a.nbytes for a in arrays.values())}
    assert index["weight_map"].keys() == arrays.keys()
    shards = sorted(set(index["weight_map"].values()))
    assert shards[0].endswith(f"-00001-of-{len(shards):05}.safetensors")
    sizes: list[int] = []
    for shard in shards:
        read = safetensors.numpy.load_file(tmp_path / shard)
        assert sorted(read) == sorted(n for n, s in index["weight_map"].items() if s == shard)
        sizes.append(sum(array.nbytes for array in read.values()))
        for name, array in read.items():
            np.testing.assert_array_equal(array, arrays[name])
    assert max(sizes) <= 1024  # the largest array, which is more than 1 KB, has one to itself
    assert sorted(sizes)[-3] <= 1000


def test_an_index_of_hugging_face_is_read(tmp_path: Path) -> None:
    arrays = {"weight": np.ones((3, 2), np.float32), "bias": np.zeros(3, np.float32)}
    where: dict[str, str] = {}
    for number, (name, array) in enumerate(arrays.items(), 1):
        shard = f"model-{number:05}-of-00002.safetensors"
        safetensors.numpy.save_file({name: array}, tmp_path / shard, {"format": "pt"})
        where[name] = shard
    index = {"metadata": {"total_size": 36}, "weight_map": where}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    for place in ("", "model.safetensors", "model.safetensors.index.json"):
        assert same_arrays(fp.load(tmp_path / place, nn.Linear(2, 3)).params, arrays)


# Where it is written


def test_folders_are_made(tmp_path: Path) -> None:
    model = nn.Linear(1, 1)
    fp.save(tmp_path / "a" / "b" / "c.safetensors", model, filled(model))
    fp.save(str(tmp_path / "a"), model, filled(model))
    assert (tmp_path / "a" / "model.safetensors").is_file()
    assert len(fp.load(str(tmp_path / "a"))) == 2


def test_a_new_checkpoint_takes_the_place_of_the_old(tmp_path: Path) -> None:
    model, path = GPT(), tmp_path / "model.safetensors"
    (tmp_path / "model-notes.safetensors").write_text("keep")
    for number, shards in enumerate([None, "1KB", "2KB", None, "1KB", None]):
        fp.save(tmp_path, model, filled(model, number), max_shard_bytes=shards)
        names = {each.name for each in tmp_path.iterdir()} - {"model-notes.safetensors"}
        if shards is None:
            assert names == {"model.safetensors"}
        else:
            index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
            assert names == {"model.safetensors.index.json", *index["weight_map"].values()}
        assert same_arrays(fp.load(path, model).params, filled(model, number))


def test_shards_of_others_are_replaced_and_nothing_else(tmp_path: Path) -> None:
    model = nn.Linear(2, 3)
    index = {
        "weight_map": {
            "a": "model-00001-of-00002.safetensors",
            "b": "important.safetensors",
            "c": "other-00001-of-00002.safetensors",
        }
    }
    for name in index["weight_map"].values():
        (tmp_path / name).write_text("")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    fp.save(tmp_path, model, filled(model))
    left = sorted(each.name for each in tmp_path.iterdir())
    assert left == [
        "important.safetensors",
        "model.safetensors",
        "other-00001-of-00002.safetensors",
    ]


def test_a_broken_index_is_replaced(tmp_path: Path) -> None:
    model = nn.Linear(2, 3)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text("{")
    fp.save(tmp_path, model, filled(model))
    assert not index.exists()


def test_what_dead_savers_left_is_removed_and_what_living_ones_write_is_not(tmp_path: Path) -> None:
    model, token = nn.Linear(2, 3), "0123456789abcdef"
    left = [
        f".model.safetensors.{token}.tmp",
        f".model.safetensors.index.json.{token}.tmp",
        f"model-{token}-00001-of-00002.safetensors",
    ]
    others = [f".other.safetensors.{token}.tmp", f"other-{token}-00001-of-00002.safetensors"]
    for name in [*left, *others]:
        (tmp_path / name).write_text("")
    with drafts.drafting(tmp_path) as new:
        living = Path(new(f".model.safetensors.{drafts.token()}.tmp").name).name
        fp.save(tmp_path, model, filled(model))
        assert {each.name for each in tmp_path.iterdir()} == {*others, living, "model.safetensors"}
    assert {each.name for each in tmp_path.iterdir()} == {*others, "model.safetensors"}


def test_files_have_the_permissions_of_any_other(path: Path) -> None:
    model = nn.Linear(1, 1)
    fp.save(path, model, filled(model))
    path.with_name("other").touch()
    assert path.stat().st_mode == path.with_name("other").stat().st_mode


def test_all_is_on_the_disk_before_it_is_put_in_place(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    names = {"fsync": "sync", "replace": "replace", "unlink": "unlink"}

    def record(operation: str, real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            shown = arguments[0]
            if isinstance(shown, int):
                shown = os.readlink(f"/proc/self/fd/{shown}")
            kind = "folder" if Path(shown).is_dir() else Path(shown).name.split(".")[-1]
            done.append(f"{names[operation]} {kind}")
            return real(*arguments, **options)

        return call

    model = GPT()
    for operation in names:
        monkeypatch.setattr(os, operation, record(operation, getattr(os, operation)))
    fp.save(path, model, filled(model))
    assert done[:3] == ["sync tmp", "replace tmp", "sync folder"]
    done.clear()
    fp.save(path, model, filled(model), max_shard_bytes="2KB")
    first = done.index("sync tmp")
    assert set(done[:first]) == {"sync safetensors"}
    assert done[first : first + 3] == ["sync tmp", "replace tmp", "sync folder"]
    assert set(done[first + 3 :]) == {"unlink safetensors"}


@pytest.mark.parametrize("shards", [None, 64])
@pytest.mark.parametrize("operation", ["fsync", "replace"])
def test_a_failure_leaves_the_old_and_nothing_else(
    shards: int | None, operation: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, old = Language(), filled(Language())
    fp.save(path, model, old)
    monkeypatch.setattr(os, operation, lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        fp.save(path, model, filled(model, 9), max_shard_bytes=shards)
    monkeypatch.undo()
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert same_arrays(fp.load(path, model).params, old)


@pytest.mark.parametrize("shards", [None, 64])
def test_an_interrupt_just_after_takes_nothing_away(
    shards: int | None, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, model = os.replace, Language()

    def interrupted(*arguments: Any) -> None:
        real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fp.save(path, model, filled(model), max_shard_bytes=shards)
    assert same_arrays(fp.load(path, model).params, filled(model))


def test_without_locks_it_works_and_leaves_what_may_be_somebodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, old = Language(), f".model.safetensors.{'0' * 16}.tmp"
    (tmp_path / old).touch()
    monkeypatch.setattr(drafts, "locks", None)
    fp.save(tmp_path, model, filled(model), max_shard_bytes=64)
    fp.save(tmp_path, model, filled(model))
    assert {each.name for each in tmp_path.iterdir()} == {old, "model.safetensors"}


def test_where_locks_fail_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        LOCK_EX = LOCK_NB = 0

        @staticmethod
        def flock(*_: Any) -> None:
            raise OSError("no locks here")

    monkeypatch.setattr(drafts, "locks", Broken)
    fp.save(tmp_path, Language(), filled(Language()))
    assert len(fp.load(tmp_path)) == 4


def test_a_full_disk_is_told_of_before_anything_is_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def fallocate(self, *_: Any) -> int:
            ctypes.set_errno(errno.ENOSPC)
            return -1

    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: Full())
    with pytest.raises(OSError, match="No space left on device") as caught:
        fp.save(path, Language(), filled(Language()))
    assert caught.value.errno == errno.ENOSPC
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("missing", ["platform", "function", "file system"])
def test_room_is_not_set_aside_where_that_cannot_be_done(
    missing: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Library:
        def fallocate(self, *_: Any) -> int:
            ctypes.set_errno(errno.EOPNOTSUPP)
            return -1

    if missing == "platform":
        monkeypatch.setattr("sys.platform", "darwin")
    else:
        library = Library() if missing == "file system" else object()
        monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: library)
    fp.save(path, Language(), filled(Language()))
    assert len(fp.load(path)) == 4


# What cannot be saved


def test_what_does_not_fit_is_refused(path: Path) -> None:
    model = nn.Linear(2, 3)
    assert "bias: missing" in refusal(fp.MismatchError, path, model, {"weight": jnp.ones((3, 2))})
    text = refusal(fp.MismatchError, path, nn.BatchNorm1d(2), filled(nn.BatchNorm1d(2)))
    assert "has buffers, and no state was given" in text
    assert not path.exists()


def test_abstract_params_are_refused(path: Path) -> None:
    text = refusal(fp.DefinitionTypeError, path, nn.Linear(2, 3), nn.Linear(2, 3).abstract())
    assert "weight: expected an array of numpy, JAX or PyTorch, got ShapeDtypeStruct" in text


def test_what_cannot_be_written_is_one_error(path: Path) -> None:
    model = Holder(a=((2,), jnp.int4), b=((2,), jnp.int8), c=((2,), jnp.float32))
    gone = jnp.ones(2)
    gone.delete()
    state = {"a": jnp.zeros(2, jnp.int4), "b": jnp.zeros(2, jnp.int8), "c": gone}
    assert refusal(fp.CheckpointError, path, model, {}, state) == (
        f"{path}: 2 problems\n"
        "  a: the format has no dtype int4\n"
        "  c: deleted, or donated to a step: save what the step returned"
    )
    assert list(path.parent.iterdir()) == []


def test_keys_of_random_numbers_are_refused(path: Path) -> None:
    model = Holder(a=((), jnp.uint32))
    text = refusal(fp.CheckpointError, path, model, {}, {"a": KEY})
    assert text == f"{path}: a: the format has no dtype key<fry>"


def test_traced_params_are_refused(path: Path) -> None:
    model = nn.Linear(1, 1, bias=False)

    @jax.jit
    def step(params: Any) -> Any:
        fp.save(path, model, params)
        return params

    with pytest.raises(fp.CheckpointError, match=r"weight: traced: save outside of jax\.jit"):
        step(filled(model))


@pytest.mark.parametrize("name", ["__metadata__", "half\ud800"])
def test_names_that_the_format_does_not_have_are_refused(name: str, path: Path) -> None:
    model = Holder(**{name: ((1,), jnp.float32)})
    text = refusal(fp.CheckpointError, path, model, {}, {name: jnp.ones(1)})
    assert "the format cannot hold this name" in text
    text.encode()  # can be printed


@pytest.mark.parametrize("name", ['"', "a\nb", "naïve", "\U0001f600", "\x00", " ", "\\"])
def test_odd_names_come_back(name: str, path: Path) -> None:
    model = Holder(**{name: ((1,), jnp.float32)})
    fp.save(path, model, {}, {name: jnp.ones(1)}, max_shard_bytes=1)
    assert list(fp.load(path)) == [name] == list(safetensors.numpy.load_file(path))
    assert "\x00" not in str(fp.load(path))


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"step": 3}, "expected text by name, and 'step' is 3.\n  json.dumps(...) makes text"),
        ({1: "a"}, "expected text by name, and 1 is 'a'"),
        ({"format": "tf"}, "the name 'format' is taken: save writes it itself."),
        ({"funcparams.ties": "{}"}, "the name 'funcparams.ties' is taken"),
    ],
)
def test_metadata_are_text_by_name(metadata: Any, text: str, path: Path) -> None:
    model = nn.Linear(1, 1)
    got = refusal(fp.DefinitionTypeError, path, model, filled(model), metadata=metadata)
    assert text in got


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "5", "5 pounds", "GB", ""])
def test_a_limit_is_a_number_of_bytes(limit: Any, path: Path) -> None:
    model = nn.Linear(1, 1)
    text = refusal(fp.DefinitionTypeError, path, model, filled(model), max_shard_bytes=limit)
    assert text == (
        f"save(max_shard_bytes={limit!r}): expected a number of bytes from 1 on, or text such as "
        '"500MB", "5GB" or "4GiB".'
    )


@pytest.mark.parametrize(
    ("limit", "shards"), [("4B", 2), ("7B", 2), ("8B", 1), ("0.007KB", 2), ("1KiB", 1), ("1 TB", 1)]
)
def test_limits_as_text(limit: str, shards: int, tmp_path: Path) -> None:
    model = nn.Linear(1, 1)
    fp.save(tmp_path, model, filled(model), max_shard_bytes=limit)
    assert len(list(tmp_path.glob("*.safetensors"))) == shards


@pytest.mark.parametrize("name", ["model.pt", "model", "a.npz"])
def test_names_of_other_formats_are_refused(name: str, tmp_path: Path) -> None:
    model = nn.Linear(1, 1)
    text = refusal(fp.CheckpointError, tmp_path / name, model, filled(model))
    assert f"{name}: what save writes is a safetensors file\nTo mend: name it" in text
    assert list(tmp_path.iterdir()) == []


def test_a_header_that_no_reader_takes_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("funcparams.checkpoint.writer.MAX_HEADER", 100)
    text = refusal(fp.CheckpointError, path, nn.Linear(1, 1), filled(nn.Linear(1, 1)))
    assert "bytes, and no reader takes over 100\nTo mend: max_shard_bytes=..." in text
    assert list(path.parent.iterdir()) == []


# Memory


BIG = nn.Linear(1024, 1024, bias=False)


@pytest.fixture
def big(path: Path) -> Path:
    fp.save(path, BIG, {"weight": np.full((1024, 1024), 2, np.float32)})
    return path


def test_on_cpu_the_file_is_used_without_a_copy(big: Path) -> None:
    file = fp.load(big)
    loaded = fp.load_state_dict(BIG, file).params["weight"]
    assert loaded.unsafe_buffer_pointer() != file["weight"].ctypes.data  # a copy: numpy's memory
    tracemalloc.start()
    weight = fp.load(big, BIG).params["weight"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
    maps = Path("/proc/self/maps").read_text().splitlines()
    address = weight.unsafe_buffer_pointer()
    (line,) = [
        line
        for line in maps
        if int(line.split("-")[0], 16) <= address < int(line.split()[0].split("-")[1], 16)
    ]
    assert line.endswith(str(big))
    assert line.split()[1] == "rw-p"  # private


def test_mapped_arrays_survive_whatever_happens_to_the_file(big: Path) -> None:
    weight = fp.load(big, BIG).params["weight"]
    fp.save(big, BIG, {"weight": np.zeros((1024, 1024), np.float32)})
    assert float(weight.sum()) == 2 << 20
    second = fp.load(big, BIG).params["weight"]
    big.unlink()
    assert float(second.sum()) == 0
    gc.collect()
    assert float(weight.sum()) == 2 << 20


def test_mapped_arrays_survive_donation(big: Path) -> None:
    params = fp.load(big, BIG).params
    others = fp.load(big, BIG).params
    step = jax.jit(lambda p: jax.tree.map(lambda x: x + 1, p), donate_argnums=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a JAX that cannot donate this buffer may say so
        for _ in range(3):
            params = step(params)
    assert float(params["weight"][0, 0]) == 5
    assert float(others["weight"][0, 0]) == 2
    assert fp.load(big)["weight"][0, 0] == 2


def test_copy_reads_into_memory_of_its_own(big: Path) -> None:
    weight = fp.load(big, BIG, copy=True).params["weight"]
    array = fp.load(big, copy=True)["weight"]
    with big.open("r+b") as file:  # as other programs write: in place
        file.truncate(100)
    assert float(weight.sum()) == 2 << 20
    assert array.sum() == 2 << 20


@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
def test_a_foreign_file_is_copied_once(dtype: Any, path: Path) -> None:
    safetensors.numpy.save_file({"weight": np.full((1024, 1024), 2, np.float32)}, path)
    gc.collect()
    tracemalloc.start()
    params = fp.load(path, BIG, dtype=dtype).params
    size, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # numpy's memory is traced, and JAX goes on with it: what is held is the result alone.
    result = params["weight"].nbytes
    assert result <= size < result + (1 << 20)
    assert peak < result + (4 << 20) * (dtype is not None) + (1 << 20)


def test_at_most_one_tensor_more_than_the_result_is_in_memory(path: Path) -> None:
    layers = nn.Sequential(*(nn.Linear(512, 512, bias=False) for _ in range(8)))
    arrays = {f"{i}.weight": np.zeros((512, 512), np.float32) for i in range(8)}
    safetensors.numpy.save_file(arrays, path)
    del arrays
    for options in ({"dtype": jnp.bfloat16}, {"transform": {"**": np.transpose}}):
        gc.collect()
        tracemalloc.start()
        loaded = fp.load(path, layers, **options)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        result = sum(leaf.nbytes for leaf in jax.tree.leaves(loaded.params))
        assert peak < result + (1 << 20) + (1 << 19)


def test_only_what_is_asked_for_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    safetensors.numpy.save_file(
        {name: np.asarray(a) for name, a in fp.state_dict(model, filled(model)).items()}, path
    )
    read: list[str] = []
    real = Source.numbers
    monkeypatch.setattr(
        Source, "numbers", lambda self, name, tensor: read.append(name) or real(self, name, tensor)
    )
    file = fp.load(path)
    assert (file.shapes["0.bias"], len(file), "0.bias" in file) == ((4,), 4, True)
    str(file)
    with pytest.raises(fp.MismatchError):
        fp.load(path, nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 5)))
    assert read == []
    fp.load(path, model, where="1.*", params=filled(model))
    assert sorted(read) == ["1.bias", "1.weight"]


def test_saving_copies_nothing(path: Path) -> None:
    params = {"weight": jnp.ones((1024, 1024))}
    tracemalloc.start()
    fp.save(path, BIG, params)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


# Sharding

SHARDED = """
import numpy as np, jax, sys
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import funcparams as fp
from funcparams import init, nn

path = sys.argv[1]
mesh = Mesh(np.array(jax.devices()), ("x",))
split, whole = NamedSharding(mesh, P("x")), NamedSharding(mesh, P())
one = jax.sharding.SingleDeviceSharding(jax.devices()[2])
shared = nn.Linear(8, 8)
model = nn.Sequential(shared, nn.BatchNorm1d(8), shared)
params, state = model.init(jax.random.key(0)), model.init_state()
fp.save(path, model, params, state)

def placed(sharding, **options):
    loaded = fp.load(path, model, sharding=sharding, **options)
    assert not fp.diff(loaded.params, params), fp.diff(loaded.params, params)
    return {**fp.flatten(loaded.params), **fp.flatten(loaded.state)}

assert {each.sharding for each in placed(whole).values()} == {whole}
by_name = placed({"0.*": split, "**.weight": one, "1.running_mean": split})
assert by_name["0.weight"].sharding == by_name["0.bias"].sharding == split
assert by_name["1.weight"].sharding == one
assert by_name["1.running_mean"].sharding == split
assert by_name["1.bias"].sharding.device_set == {jax.devices()[0]}
tree = jax.tree.map(lambda _: whole, params)
assert placed(tree)["0.weight"].sharding == whole
assert placed({"0": {"weight": split, "bias": None}})["0.weight"].sharding == split
drawn = fp.load(path, nn.Linear(8, 8), rename=lambda n: n[2:] if n == "0.weight" else None,
                missing="init", key=jax.random.key(0), sharding=split).params
assert drawn["bias"].sharding == drawn["weight"].sharding == split

# What is spread is saved without being kept whole.
spread = jax.device_put(params, split)
fp.save(path, model, spread, state)
assert not fp.diff(fp.load(path, model).params, params)
assert all(getattr(leaf, "_npy_value", None) is None for leaf in jax.tree.leaves(spread))
"""


def test_sharding(path: Path) -> None:
    flags = "--xla_force_host_platform_device_count=4"
    result = subprocess.run(
        [sys.executable, "-c", SHARDED, str(path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "XLA_FLAGS": flags},
    )
    assert result.returncode == 0, result.stderr


def test_sharding_that_is_none(big: Path) -> None:
    with pytest.raises(fp.DefinitionTypeError) as caught:
        fp.load(big, BIG, sharding="x")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "load(sharding=...): expected a jax.sharding.Sharding, got str 'x'"
    )
    with pytest.raises(fp.DefinitionTypeError, match="weight: expected a jax"):
        fp.load(big, BIG, sharding={"weight": 3})
    single = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with pytest.raises(fp.MismatchError) as missing:
        fp.load(big, nn.Sequential(BIG), sharding={"0": {"wieght": single}})
    assert str(missing.value) == (
        "load(sharding=...): names that the definition does not have\n"
        "  0.wieght; did you mean '0.weight'?"
    )
    with pytest.raises(fp.SelectionError, match="selects nothing"):
        fp.load(big, BIG, sharding={"bias": single})


# The options of load_state_dict


def test_options_are_those_of_load_state_dict(path: Path) -> None:
    arrays = {"fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "more": np.ones(1)}
    safetensors.numpy.save_file(arrays, path)
    loaded = fp.load(
        path,
        nn.Linear(2, 3),
        rename={r"^fc\.": ""},
        transform={"weight": np.transpose},
        missing="init",
        unexpected="ignore",
        key=KEY,
        dtype=jnp.bfloat16,
    )
    assert loaded.params["weight"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(loaded.params["weight"], arrays["fc.weight"].T)
    assert loaded.report.names("drawn") == ["bias"]
    assert loaded.report.names("ignored") == ["more"]


def test_arrays_of_the_user_are_not_the_params_memory(path: Path) -> None:
    fp.save(path, BIG, {"weight": np.zeros((1024, 1024), np.float32)})
    mine = np.zeros((1024, 1024), np.float32)
    loaded = fp.load(path, BIG, transform={"weight": lambda _: mine}).params
    mine[:] = 1
    assert float(loaded["weight"].sum()) == 0


def test_what_does_not_fit_names_the_file(path: Path) -> None:
    fp.save(path, nn.Linear(2, 3), filled(nn.Linear(2, 3)))
    with pytest.raises(fp.MismatchError) as caught:
        fp.load(path, nn.Linear(2, 4, bias=False))
    assert str(caught.value).splitlines()[:3] == [
        f"load: 2 problems with Linear in {path}",
        "  weight: expected float32[4,2], got float32[3,2]",
        "  bias: unexpected float32[3]",
    ]
    with pytest.raises(fp.DefinitionTypeError, match=r"load\(missing='draw'\): expected one of"):
        fp.load(path, nn.Linear(2, 3), missing="draw")  # type: ignore[call-overload]


def test_options_without_a_model(path: Path) -> None:
    with pytest.raises(fp.DefinitionTypeError) as caught:
        fp.load(path, dtype=jnp.bfloat16, sharding={}, missing="init")  # type: ignore[call-overload]
    assert str(caught.value) == (
        "load: missing, dtype, sharding given without a model.\n"
        "  fp.load(path, model, ...) makes params; fp.load(path) gives the tensors of the file."
    )


def test_initialisers_can_hold_what_a_file_gives(path: Path) -> None:
    fp.save(path, nn.Linear(1, 1, bias=False), {"weight": jnp.full((1, 1), 5.0)})
    model = nn.Linear(1, 1, bias=False).with_init({"weight": init.array(fp.load(path)["weight"])})
    assert float(model.init(KEY)["weight"][0, 0]) == 5.0


# What this machine does not have


def test_where_nothing_can_be_mapped_it_is_read(big: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError("no such device")

    monkeypatch.setattr("mmap.mmap", broken)
    assert float(fp.load(big, BIG).params["weight"].sum()) == 2 << 20


def test_a_file_that_shrinks_before_it_is_mapped(
    big: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Source, "_mapped", lambda self: np.zeros(100, np.uint8))
    with pytest.raises(fp.CheckpointError, match="has become shorter since it was opened"):
        fp.load(big, BIG)


class Elsewhere:
    """An array on another device, or on those of several processes."""

    dtype, shape = np.dtype(np.float32), (2,)
    platform = "elsewhere"
    is_fully_addressable = False

    def devices(self) -> set[Any]:
        return {self}

    def is_deleted(self) -> bool:
        return False


def test_arrays_of_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jax.Array", Elsewhere)
    with pytest.raises(fp.CheckpointError) as caught:
        writer.write(Path("nowhere.safetensors"), {"w": Elsewhere()}, {}, None)
    assert str(caught.value) == (
        "nowhere.safetensors: w: spread over several processes; Orbax writes such arrays"
    )


def test_arrays_of_other_devices_go_through_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    array: Any = Elsewhere()
    moved: list[Any] = []
    monkeypatch.setattr("jax.device_put", lambda value, device: moved.append((value, device)))
    writer._on_cpu(array)
    assert moved == [(array, jax.local_devices(backend="cpu")[0])]

    def absent(**_: Any) -> None:
        raise RuntimeError("Unknown backend cpu")

    monkeypatch.setattr("jax.local_devices", absent)
    assert writer._on_cpu(array) is array
