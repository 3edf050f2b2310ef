"""Broken, hostile and foreign files: a clear error about all that is wrong, or a right result."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

import funcparams as fp
from funcparams import nn
from tests.checkpoint import fuzz
from tests.models import Language, filled

WEIGHT = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def file_of(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    """Write a file with a header of JSON, or of text that is meant to be."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def refusal(path: Path) -> str:
    """The text of the error, without the path that it begins with."""
    with pytest.raises(fp.CheckpointError) as caught:
        fp.load(path)
    text = str(caught.value)
    text.encode()  # can be printed anywhere
    assert text.startswith(f"{path}: ")
    return text[len(f"{path}: ") :]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


# Headers


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "not a safetensors file: it is empty"),
        (b"1234567", "not a safetensors file: it is 7 bytes"),
        (b"12345678", "not a safetensors file: it is 8 bytes"),
        (bytes(16), f"not a safetensors file: it begins with {bytes(16)!r}"),
        (b"GGUF" + bytes(60), "not a safetensors file: it begins with b'GGUF"),
        (
            struct.pack("<Q", 100) + b"{}",
            "cut off: its header has 100 bytes, and the whole file 10\n"
            "To mend: copy or download the file again.",
        ),
        (
            struct.pack("<Q", 2**64 - 1) + b"{}",
            f"a header of {2**64 - 1} bytes, and no reader takes over 100000000",
        ),
    ],
)
def test_beginnings(raw: bytes, text: str, path: Path) -> None:
    path.write_bytes(raw)
    assert refusal(path).startswith(text)


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (b"{", "the header is no JSON: Expecting property name"),
        (b"{} {}", "the header is no JSON: Extra data"),
        (b'{"a": ' + b"[" * 100_000, "the header is no JSON: "),
        (b'{"a": ' + b"9" * 5000 + b"}", "the header is no JSON: Exceeds the limit"),
        (b'{"\xff": 1}', "the header is no JSON: 'utf-8' codec can't decode byte 0xff"),
        (b"{'a': 1}", "the header is no JSON: "),
        (b'{"a": {"more": -Infinity}}', "the header is no JSON: -Infinity is no number of JSON"),
        (b'{"a": 1, "a": 2, "b": 3, "b": 4}', "2 problems\n  a: stands twice in the header\n  b: "),
        (b'{"a": {"dtype": "F32", "dtype": "F16"}}', "dtype: stands twice in the header"),
        ({"__metadata__": {"a": 1}}, "__metadata__: expected text by name"),
        ({"__metadata__": []}, "__metadata__: expected text by name"),
        (b'{"__metadata__": {"a": "1", "a": "2"}}', "a: stands twice in the header"),
    ],
)
def test_headers(header: Any, text: str, path: Path) -> None:
    assert refusal(file_of(path, header)).startswith(text)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ([], "expected dtype, shape and data_offsets, got []"),
        ({"shape": []}, "no dtype and no data_offsets"),
        (WEIGHT | {"dtype": "F4"}, "unknown dtype 'F4'; known are BOOL, I8, "),
        (WEIGHT | {"dtype": ["F32"]}, "unknown dtype ['F32']; known are"),
        (WEIGHT | {"dtype": 32}, "unknown dtype 32; known are"),
        (WEIGHT | {"shape": 2}, "shape 2 is no list of sizes"),
        (WEIGHT | {"shape": [-2]}, "shape [-2] is no list of sizes"),
        (WEIGHT | {"shape": [2.0]}, "shape [2.0] is no list of sizes"),
        (WEIGHT | {"shape": [True, 2]}, "shape [True, 2] is no list of sizes"),
        (WEIGHT | {"shape": [None]}, "shape [None] is no list of sizes"),
        (WEIGHT | {"shape": [2**63]}, "shape [9223372036854775808] is no list of sizes"),
        (WEIGHT | {"shape": [1] * 33}, "has 33 dimensions, and 32 are the most"),
        (WEIGHT | {"shape": [2**62, 2**62]}, "is larger than any memory"),
        (WEIGHT | {"shape": [0, 2**62], "data_offsets": [0, 0]}, "is larger than any memory"),
        (WEIGHT | {"shape": [2**40]}, "takes 4398046511104 bytes, and its place has 8"),
        (WEIGHT | {"data_offsets": [0, 4]}, "float32[2] takes 8 bytes, and its place has 4"),
        (WEIGHT | {"data_offsets": [8, 0]}, "data_offsets [8, 0] are not two numbers of bytes"),
        (WEIGHT | {"data_offsets": [-8, 0]}, "data_offsets [-8, 0] are not two numbers"),
        (WEIGHT | {"data_offsets": [0, 8, 8]}, "data_offsets [0, 8, 8] are not two numbers"),
        (WEIGHT | {"data_offsets": [0.0, 8]}, "data_offsets [0.0, 8] are not two numbers"),
        (WEIGHT | {"data_offsets": "08"}, "data_offsets '08' are not two numbers"),
        (WEIGHT | {"data_offsets": [8, 16]}, "cut off: bytes 87 to 95 of a file of 87"),
    ],
)
def test_tensors(entry: Any, text: str, path: Path) -> None:
    got = refusal(file_of(path, {"wte.weight": entry}, bytes(8)))
    assert text in got
    assert got.startswith("wte.weight: ")


def tensor(start: int, stop: int) -> dict[str, Any]:
    return {"dtype": "U8", "shape": [stop - start], "data_offsets": [start, stop]}


@pytest.mark.parametrize(
    ("places", "size", "lines"),
    [
        (
            {"a": (0, 4), "b": (2, 8)},
            8,
            ["b: bytes {2} to {8} overlap those of a, which end at {4}"],
        ),
        ({"a": (0, 4), "b": (0, 4)}, 4, ["b: bytes {0} to {4} overlap those of a"]),
        ({"a": (0, 8), "b": (4, 4)}, 8, ["b: bytes {4} to {4} overlap those of a"]),
        (
            {"a": (0, 4), "b": (6, 8)},
            8,
            ["b: bytes {6} to {8}, and those from {4} on belong"],
        ),
        ({"a": (2, 4)}, 4, ["a: bytes {2} to {4}, and those from {0} on belong to no tensor"]),
        ({"a": (0, 4)}, 8, ["4 bytes after the last tensor"]),
        ({}, 8, ["8 bytes after the last tensor"]),
        ({"a": (0, 4), "b": (4, 8)}, 6, ["b: cut off: bytes {4} to {8} of a file of {6}"]),
        (
            {"a": (0, 4), "b": (2, 6), "c": (8, 12), "d": (12, 16)},
            14,
            ["3 problems", "  b: bytes {2}", "  c: bytes {8}", "  d: cut off: bytes {12}"],
        ),
    ],
)
def test_places(places: Any, size: int, lines: list[str], path: Path) -> None:
    file_of(path, {name: tensor(*place) for name, place in places.items()}, bytes(size))
    begin = path.stat().st_size - size
    got = refusal(path).splitlines()
    for line, expected in zip(got, lines, strict=False):
        assert line.startswith(expected.format(*range(begin, begin + 20)))
    assert len(got) == len(lines)


def test_all_that_is_wrong_is_in_one_error_of_bounded_length(path: Path) -> None:
    header = {f"layer.{i}": {"dtype": "F3"} for i in range(100)}
    text = refusal(file_of(path, header))
    assert text.startswith("100 problems\n  layer.0: no shape and no data_offsets\n  layer.1: ")
    assert text.endswith("\n  and 80 more")
    file_of(
        path, {"x" * 100_000: {}, "y": {"dtype": "z" * 100_000, "shape": [], "data_offsets": []}}
    )
    assert len(refusal(path)) < 1000


def test_names_are_shown_so_that_they_can_be_read(path: Path) -> None:
    file_of(path, {"": {}, "a\nb": {}, "\x1b[31m": {}, "naïve": {}, "\ud800": WEIGHT})
    text = refusal(path)
    for line in ["  '': no", r"  'a\nb': no", r"  '\x1b[31m': no", "  naïve: no"]:
        assert line in text
    assert r"  '\ud800': the name is no Unicode text" in text


@pytest.mark.parametrize("shape", [[2**62], [2**31, 2**31], [10**18], [2**40, 0], [3] * 32])
def test_huge_shapes_take_no_memory(shape: list[int], path: Path) -> None:
    file_of(path, {"a": {"dtype": "U8", "shape": shape, "data_offsets": [0, 8]}}, bytes(8))
    tracemalloc.start()
    refusal(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


def test_bytes_that_are_no_bools(path: Path) -> None:
    file_of(path, {"mask": {"dtype": "BOOL", "shape": [2], "data_offsets": [0, 2]}}, b"\x01\x02")
    file = fp.load(path)
    with pytest.raises(fp.CheckpointError) as caught:
        file["mask"]
    assert str(caught.value) == f"{path}: mask: bytes that are neither true nor false"


def test_a_file_that_shrinks(path: Path) -> None:
    safetensors.numpy.save_file({"a": np.ones(100_000)}, path)
    file = fp.load(path)
    os.truncate(path, 1000)
    with pytest.raises(fp.CheckpointError, match="has become shorter since it was opened"):
        file["a"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a kind of file that Windows lacks")
def test_what_is_no_file(path: Path) -> None:
    os.mkfifo(path)
    assert refusal(path) == "not a file"
    assert refusal_of(Path("/dev/zero")) == "/dev/zero: not a file"


def refusal_of(path: Path) -> str:
    with pytest.raises(fp.CheckpointError) as caught:
        fp.load(path)
    return str(caught.value)


# Our own metadata


@pytest.mark.parametrize(
    ("ties", "text"),
    [
        ("{", "the table of ties is no JSON: "),
        ("[]", "the table of ties is no JSON object, but list"),
        ('{"b": 1}', "the table of ties does not give an owner's name for each name"),
        ('{"b": "c"}', "b: shared with c, which is no tensor of the file"),
        ('{"b": "b"}', "b: shared with b, which is no tensor of the file"),
        ('{"a": "a"}', "a: shared with a, and a tensor of its own"),
        ('{"b": "c", "c": "a"}', "b: shared with c, which is no tensor of the file"),
        ('{"b": "a", "b": "a"}', "b: stands twice in the table of ties"),
        ('{"__metadata__": "__metadata__"}', "which is no tensor of the file"),
    ],
)
def test_ties(ties: str, text: str, path: Path) -> None:
    metadata = {"funcparams.format": "1", "funcparams.ties": ties}
    assert text in refusal(file_of(path, {"__metadata__": metadata, "a": WEIGHT}, bytes(8)))


def test_a_format_of_the_future(path: Path) -> None:
    metadata = {"funcparams.format": "2", "funcparams.library": "funcparams 9.0"}
    assert refusal(file_of(path, {"__metadata__": metadata})) == (
        "written by funcparams 9.0 in its format 2; formats that can be read here: 1\n"
        "To mend: install a newer funcparams."
    )
    text = refusal(file_of(path, {"__metadata__": {"funcparams.format": "x\n"}}))
    assert text.startswith(r"written by an unknown version of funcparams in its format 'x\n'")


def test_a_file_that_says_it_is_ours_and_lies_elsewhere(path: Path) -> None:
    metadata = {"funcparams.format": "1"}
    header = json.dumps({"__metadata__": metadata, "a": WEIGHT}).encode()
    header += b" " * (-len(header) % 8 + 3)  # the data begin where no number does
    file_of(path, header, struct.pack("<2f", 1, 2))
    assert fp.load(path)["a"].tolist() == [1, 2]
    assert fp.load(path, Holder()).params["a"].tolist() == [1, 2]


class Holder(fp.Module):
    def __init__(self) -> None:
        self.a = fp.param((2,), lambda key, shape, dtype: jnp.zeros(shape, dtype))


# Indices


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors.index.json"


@pytest.mark.parametrize(
    "name",
    ["../a.safetensors", "/etc/passwd", "sub/a.safetensors", "..", ".", "", "a\\b", "C:a", "a\0b",
     "a\n", "x" * 256, "\ud800"],
)  # fmt: skip
def test_an_index_leads_nowhere_else(name: str, index: Path) -> None:
    index.write_text(json.dumps({"weight_map": {"w": name}}))
    text = refusal(index)
    assert text.endswith(": not the name of a file beside the index")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "the index is no JSON: "),
        ("[]", "the index is no JSON object, but list"),
        ("{}", "weight_map: expected the name of a file for the name of each tensor"),
        ('{"weight_map": []}', "weight_map: expected the name of a file"),
        ('{"weight_map": {"a": 1}}', "weight_map: expected the name of a file"),
        ('{"weight_map": {"a": "b", "a": "c"}}', "a: stands twice in the index"),
    ],
)
def test_an_index_that_is_none(content: str, text: str, index: Path) -> None:
    index.write_text(content)
    assert refusal(index).startswith(text)


def test_an_index_without_end(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("funcparams.checkpoint.opening.MAX_HEADER", 10)
    index.write_text('{"weight_map": {}}')
    assert refusal(index) == "an index of more than 10 bytes"


def test_an_index_of_nothing(index: Path) -> None:
    index.write_text('{"weight_map": {}}')
    assert len(fp.load(index)) == 0


def test_missing_shards(index: Path) -> None:
    index.write_text('{"weight_map": {"a": "x.safetensors", "b": "y.safetensors"}}')
    with pytest.raises(fp.CheckpointNotFoundError) as caught:
        fp.load(index)
    assert str(caught.value) == (
        f"{index}: 2 problems\n  x.safetensors: missing\n  y.safetensors: missing"
    )


def test_shards_that_say_something_else(index: Path) -> None:
    one = {"a": np.ones(1), "both": np.ones(1), "extra": np.ones(1)}
    two = {"both": np.ones(1), "swapped": np.ones(1)}
    safetensors.numpy.save_file(one, index.parent / "1.safetensors")
    safetensors.numpy.save_file(two, index.parent / "2.safetensors")
    where = {"a": "1", "both": "1", "swapped": "1", "absent": "2"}
    content = {"weight_map": {name: f"{shard}.safetensors" for name, shard in where.items()}}
    index.write_text(json.dumps(content))
    assert sorted(refusal(index).splitlines()) == sorted([
        "5 problems",
        "  extra: in 1.safetensors, and not in the index",
        "  both: in 2.safetensors, and the index has it in 1.safetensors",
        "  swapped: in 2.safetensors, and the index has it in 1.safetensors",
        "  swapped: not in 1.safetensors, where the index has it",
        "  absent: not in 2.safetensors, where the index has it",
    ])  # fmt: skip


def test_shards_of_two_saves(tmp_path: Path) -> None:
    model = Language()
    for folder in ("a", "b"):
        place = f"{tmp_path}/{folder}/"
        fp.save(place, model, filled(model), metadata={"from": folder}, max_shard_bytes=64)
    where = json.loads((tmp_path / "a" / "model.safetensors.index.json").read_text())["weight_map"]
    ours = sorted(set(where.values()))
    theirs = sorted((tmp_path / "b").glob("*.safetensors"))
    theirs[1].replace(tmp_path / "a" / ours[1])
    index = tmp_path / "a" / "model.safetensors.index.json"
    assert refusal_of(tmp_path / "a") == (
        f"{index}: {ours[1]}: its metadata differ from those of {ours[0]}: of another save"
    )


def test_a_broken_shard_is_named(index: Path) -> None:
    (index.parent / "a.safetensors").write_text("nothing")
    index.write_text('{"weight_map": {"a": "a.safetensors"}}')
    assert "a.safetensors: not a safetensors file: it is 7 bytes" in refusal_of(index)


def test_links_are_followed(tmp_path: Path) -> None:
    blob = tmp_path / "blobs" / "0123"  # as Hugging Face's cache keeps its files
    blob.parent.mkdir()
    safetensors.numpy.save_file({"a": np.ones(2)}, blob)
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "model.safetensors").symlink_to("../blobs/0123")
    assert fp.load(tmp_path / "snapshot")["a"].tolist() == [1, 1]
    fp.save(tmp_path / "snapshot", nn.ReLU(), {})  # replaces the link, not what it leads to
    assert safetensors.numpy.load_file(blob)["a"].tolist() == [1, 1]


# Other formats


def torch_file(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb()))


class Bomb:
    """What runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("write", [torch_file, lambda path: path.write_bytes(pickle.dumps(Bomb()))])
@pytest.mark.parametrize("name", ["a.pt", "pytorch_model.bin", "model.safetensors"])
def test_files_of_pytorch(
    write: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    write(path)
    target = path.with_suffix(".safetensors")
    assert refusal(path) == (
        "a file of PyTorch's, of pickled objects. Unpickling runs any code that a file brings, so\n"
        "  this library never does it.\n"
        "To mend: convert it once, where PyTorch is installed; weights_only=True runs no code of "
        "the file:\n"
        f"  tensors = torch.load({str(path)!r}, weights_only=True)\n"
        "  safetensors.torch.save_file({n: t.contiguous().clone() for n, t in tensors.items()}, "
        f"{str(target)!r})"
    )
    assert not Path("exploded").exists()


def test_archives_of_numpy(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, a=np.ones(2))
    text = refusal(path)
    assert text.startswith("an archive of numpy's, which can hold pickled objects, so it is not")
    first, second = text.splitlines()[-2:]
    import numpy
    import safetensors.numpy

    names: dict[str, Any] = {"numpy": numpy, "safetensors": safetensors}
    exec(f"{first.strip()}\n{second.strip()}", names)
    assert fp.load(path.with_suffix(".safetensors"))["a"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("name", "raw", "text"),
    [
        ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(8), "an HDF5 file, whose names and layout every"),
        ("a.msgpack", b"\x81\xa1a\xc0" + bytes(16), "a msgpack file, as flax writes it"),
        ("a.npy", None, 'not a safetensors file: it begins with b"\\x93NUMPY'),
    ],
)
def test_other_formats(name: str, raw: bytes | None, text: str, tmp_path: Path) -> None:
    if raw is None:
        stream = io.BytesIO()
        np.save(stream, np.ones(2))
        raw = stream.getvalue()
    (tmp_path / name).write_bytes(raw)
    got = refusal(tmp_path / name)
    assert got.startswith(text)
    assert "\nTo mend: " in got


def test_a_header_that_begins_as_a_pickle_does(path: Path) -> None:
    header = b"{}" + b" " * (0x280 - 2)
    assert struct.pack("<Q", len(header))[:2] == b"\x80\x02"
    assert len(fp.load(file_of(path, header))) == 0


# Anything at all


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_broken_files(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    fuzz.try_file(tmp_path_factory.getbasetemp() / "fuzz.safetensors", data.draw(fuzz.FILES))


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_broken_indices(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    fuzz.try_index(tmp_path_factory.getbasetemp() / "fuzz", data.draw(fuzz.INDICES))
