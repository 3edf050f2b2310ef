"""Break good files in every way, and see that they are refused clearly or read rightly.

    python -m tests.checkpoint.fuzz --minutes 10

What is right is what safetensors' own reader gives. Where it reads and this library refuses, it is
for one of the reasons in `STRICTER`.
"""

from __future__ import annotations

import argparse
import copy
import json
import struct
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import funcparams as fp

STRICTER = (
    "stands twice in",  # safetensors takes the last
    "neither true nor false",
    "unknown dtype",  # those of less than a byte
    "dimensions, and 32 are the most",
    "is larger than any memory",  # but for a zero in the shape
    "is no list of sizes",  # of a size that no array can have
    "ties",
    "which is no tensor of the file",
    "a tensor of its own",
    "in its format",
    "the header is no JSON",  # numbers of thousands of digits
    "expected text by name",
)


def encode(header: Any, data: bytes, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def good() -> tuple[dict[str, Any], bytes]:
    """A header of one tensor of each kind, and its data."""
    arrays = {
        "wte.weight": ("F32", np.arange(6, dtype=np.float32).reshape(2, 3)),
        "mask": ("BOOL", np.array([True, False, True])),
        "half": ("BF16", np.arange(4, dtype=np.uint16)),
        "count": ("I64", np.array(7)),
        "none": ("F64", np.zeros((0, 4))),
    }
    header: dict[str, Any] = {
        "__metadata__": {
            "format": "pt",
            "funcparams.format": "1",
            "funcparams.ties": '{"head.weight": "wte.weight"}',
        }
    }
    data = b""
    for name, (code, array) in arrays.items():
        place = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": place}
        data += array.tobytes()
    return header, data


NAMES = st.sampled_from(
    ["wte.weight", "mask", "half", "count", "none", "head.weight", "", "\n", "\ud800", "../x"]
)
NUMBERS = st.one_of(
    st.integers(-2, 40),
    st.sampled_from([2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30, -(2**63)]),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=3),
)
CODES = st.sampled_from("BOOL U8 I8 F8_E4M3 F8_E8M0 F16 BF16 F32 F64 C64 I64 U64 F4 f32".split())
VALUES = st.one_of(
    NUMBERS,
    CODES,
    st.lists(NUMBERS, max_size=4),
    st.just([1] * 40),
    st.dictionaries(st.text(max_size=3), NUMBERS, max_size=2),
)


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """Another header before the same data: a few of its values, or its names, are changed."""
    header, data = good()
    for _ in range(draw(st.integers(1, 4))):
        name = draw(st.sampled_from(sorted(header)))
        deed = draw(st.sampled_from(["field", "field", "entry", "remove", "copy", "metadata"]))
        if deed == "field" and isinstance(header[name], dict):
            field = draw(st.sampled_from(["dtype", "shape", "data_offsets", "more"]))
            header[name] = {**header[name], field: draw(VALUES)}
        elif deed == "entry":
            header[name] = draw(VALUES)
        elif deed == "remove" and len(header) > 1:
            del header[name]
        elif deed == "copy":
            header[draw(NAMES)] = copy.deepcopy(header[name])
        elif deed == "metadata":
            key = draw(st.sampled_from(["funcparams.ties", "funcparams.format", "x", "format"]))
            value = draw(
                st.one_of(
                    st.sampled_from(['{"a": "mask"}', '{"mask": "half"}', "{", "[]", "1", "2"]),
                    st.text(max_size=3),
                    VALUES,
                )
            )
            header["__metadata__"] = {"funcparams.format": "1", key: value}
    text = json.dumps(header).encode()
    if draw(st.booleans()):
        text += b" " * draw(st.integers(0, 70))
    data = data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 4)) == 4 else data
    return encode(text, data + draw(st.binary(max_size=3)) * draw(st.booleans()))


@st.composite
def twice(draw: st.DrawFn) -> bytes:
    """A header in which a name stands twice."""
    header, data = good()
    name = draw(st.sampled_from(sorted(header)))
    text = json.dumps(header)[:-1] + f", {json.dumps(name)}: {json.dumps(header[name])}}}"
    return encode(text.encode(), data)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good file with bytes changed, cut off, put in, or another length of its header."""
    raw = bytearray(encode(*good()))
    for _ in range(draw(st.integers(1, 4))):
        deed = draw(st.sampled_from(["change", "flip", "cut", "insert", "length"]))
        at = draw(st.integers(0, max(len(raw) - 1, 0)))
        if deed == "change" and raw:
            raw[at] = draw(st.integers(0, 255))
        elif deed == "flip" and raw:
            raw[at] ^= 1 << draw(st.integers(0, 7))
        elif deed == "cut":
            del raw[at:]
        elif deed == "insert":
            raw[at:at] = draw(st.binary(max_size=8))
        elif deed == "length":
            raw[:8] = struct.pack("<Q", draw(st.integers(0, 2**64 - 1) | st.integers(0, 1000)))
    return bytes(raw)


FILES = st.one_of(
    headers(),
    damaged(),
    twice(),
    st.binary(max_size=100),
    st.builds(encode, st.binary(max_size=50).map(lambda raw: b"{" + raw), st.binary(max_size=9)),
)


def try_file(path: Path, raw: bytes) -> str:
    """Write a file and read all of it; AssertionError where that is neither refused nor right."""
    path.write_bytes(raw)
    try:
        file = fp.load(path)
        got = {name: np.array(array) for name, array in file.items()}
        str(file).encode()
    except fp.CheckpointError as error:
        text = str(error)
        text.encode()
        assert len(text) < 10_000
        try:
            safetensors.deserialize(raw)
        except (safetensors.SafetensorError, UnicodeError):
            return "refused by both"
        assert any(reason in text for reason in STRICTER), text
        return "refused here"
    expected = dict(safetensors.deserialize(raw))  # it takes whatever is taken here
    assert set(got) - set(file.ties) == set(expected)
    for name, array in got.items():
        entry = expected[file.ties.get(name, name)]
        assert list(array.shape) == list(entry["shape"])
        assert array.tobytes() == bytes(entry["data"])
    return "read"


SHARDS = st.sampled_from(
    "one.safetensors|two.safetensors|none.safetensors|../one.safetensors|sub/one|/dev/zero|..||"
    "one.safetensors/|model.safetensors.index.json|a\0|C:\\x".split("|")
)
INDICES = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda found, extra: json.dumps({"weight_map": found, **extra}).encode(),
        st.dictionaries(
            st.sampled_from(["a", "b", "c", "d", ""]), st.one_of(SHARDS, NUMBERS), max_size=4
        )
        | VALUES
        | st.fixed_dictionaries(
            {"a": st.just("one.safetensors"), "b": SHARDS, "c": st.just("two.safetensors")}
        ),
        st.dictionaries(st.sampled_from(["metadata", "more"]), VALUES, max_size=1),
    ),
)
CONTENTS = {"one": {"a": np.ones(2), "b": np.zeros(1)}, "two": {"c": np.ones(3)}}


def try_index(folder: Path, raw: bytes) -> str:
    """Write an index beside two shards, and read all of it."""
    import safetensors.numpy

    if not folder.exists():
        folder.mkdir()
        for name, arrays in CONTENTS.items():
            safetensors.numpy.save_file(arrays, folder / f"{name}.safetensors")
    (folder / "model.safetensors.index.json").write_bytes(raw)
    try:
        got = {name: np.array(array) for name, array in fp.load(folder).items()}
    except fp.CheckpointError as error:
        str(error).encode()
        return "refused"
    for name, array in got.items():
        (right,) = [each[name] for each in CONTENTS.values() if name in each]
        np.testing.assert_array_equal(array, right)
    return "read"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    end = time.monotonic() + 60 * parser.parse_args().minutes
    folder = Path(tempfile.mkdtemp())
    outcomes: Counter[str] = Counter()
    any_kind = settings(
        max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )

    @any_kind
    @given(FILES)
    def files(raw: bytes) -> None:
        outcomes[f"file {try_file(folder / 'model.safetensors', raw)}"] += 1

    @any_kind
    @given(INDICES)
    def indices(raw: bytes) -> None:
        outcomes[f"index {try_index(folder / 'index', raw)}"] += 1

    while time.monotonic() < end:
        for _ in range(4):
            files()
        indices()
    sys.stdout.write(f"{sum(outcomes.values()):,} files: {dict(outcomes.most_common())}\n")


if __name__ == "__main__":
    main()
