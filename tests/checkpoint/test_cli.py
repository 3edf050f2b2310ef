"""`python -m funcparams`: what it writes, and its exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import funcparams as fp
from funcparams import nn
from funcparams.checkpoint.cli import main
from tests.models import Language, filled

LANGUAGE = "tests.models:Language"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.safetensors"
    fp.save(path, Language(), filled(Language()), metadata={"step": "3"})
    return path


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return status, out, err


def answer(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, Any]:
    status, out, err = run(capsys, *words, "--json")
    assert err == ""
    return status, json.loads(out)


def test_as_a_process(path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "funcparams", "inspect", str(path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{fp.load(path)}\n"


# inspect


def test_inspect(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "inspect", path) == (0, f"{fp.load(path)}\n", "")
    status, found = answer(capsys, "inspect", path)
    assert status == 0
    tensors = found.pop("tensors")
    assert found == {
        "path": str(path),
        "library": f"funcparams {fp.__version__}",
        "metadata": {"step": "3"},
        "bytes": 108,
    }
    assert tensors[0] == {
        "name": "wte.weight", "shape": [5, 3], "dtype": "float32", "bytes": 60, "shared_with": None,
    }  # fmt: skip
    assert tensors[-1] == {
        "name": "head.weight", "shape": [5, 3], "dtype": "float32", "bytes": 0,
        "shared_with": "wte.weight",
    }  # fmt: skip


def test_inspect_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fp.save(tmp_path, Language(), filled(Language()), max_shard_bytes=64)
    assert answer(capsys, "inspect", tmp_path)[1]["bytes"] == 108


@pytest.mark.parametrize("command", ["inspect", "diff", "check"])
def test_files_that_cannot_be_read(
    command: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = path.with_name("b.safetensors")
    more = {"diff": [path], "check": [LANGUAGE]}.get(command, [])
    text = f"{absent}: no such file; did you mean 'a.safetensors'?"
    assert run(capsys, command, absent, *more) == (2, "", f"error: {text}\n")
    assert answer(capsys, command, absent, *more) == (2, {"error": text})
    absent.write_text("none")
    assert "not a safetensors file: it is 4 bytes" in run(capsys, command, absent, *more)[2]


def test_a_wrong_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["show"], ["inspect"], ["diff", "a"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2
    assert "usage: python -m funcparams" in capsys.readouterr().err


# diff


def test_diff_of_the_same(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "diff", path, path) == (0, "4 names, no difference\n", "")
    assert answer(capsys, "diff", path, path) == (
        0,
        {"a": str(path), "b": str(path), "same": 4, "differences": []},
    )


def test_diff(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = path.with_name("b.safetensors")
    params = fp.update(filled(Language()), {"wte.weight": lambda w: w.at[0, 0].add(0.5)})
    params["body"]["bias"] = np.full(3, np.inf, np.float32)
    fp.save(other, Language(), params)
    status, out, _ = run(capsys, "diff", path, other)
    assert status == 1
    assert out == (
        "2 of 4 names differ\n"
        "name        what    a             b             how much\n"
        "wte.weight  values  float32[5,3]  float32[5,3]  by up to 0.5 in 1 of 15\n"
        "body.bias   values  float32[3]    float32[3]    by up to inf in 3 of 3\n"
    )
    status, found = answer(capsys, "diff", path, other)
    assert (status, found["same"]) == (1, 2)
    assert found["differences"][1] == {
        "name": "body.bias", "what": "values", "a": "float32[3]", "b": "float32[3]",
        "largest": "inf", "count": 3, "size": 3,
    }  # fmt: skip


# check


def test_check_what_fits(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "check", path, LANGUAGE)
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "Language: 3 loaded, 1 tied"
    assert out.splitlines()[-1] == "It fits."
    status, found = answer(capsys, "check", path, LANGUAGE)
    assert (status, found["fits"], found["model"]) == (0, True, LANGUAGE)
    assert found["names"][0] == {
        "name": "wte.weight", "deed": "loaded", "source": "wte.weight", "detail": "",
    }  # fmt: skip


def test_check_what_does_not_fit(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "check", path, "tests.models:twice")
    assert (status, err) == (1, "")
    assert out.startswith(f"check: 6 problems with Chain in {path}\n  0.weight: missing")
    status, found = answer(capsys, "check", path, "tests.models:twice")
    assert (status, found["fits"], found["problems"]) == (1, False, out.rstrip("\n"))


def test_check_reads_no_numbers(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("funcparams.checkpoint.source.Source.numbers")
    assert run(capsys, "check", path, LANGUAGE)[0] == 0


def test_check_with_other_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.safetensors"
    arrays = {"model.fc.kernel": np.ones((1, 1), np.float32), "model.fc.b": np.ones(1, np.float32)}
    safetensors.numpy.save_file(arrays, path)
    words = [
        "--rename",
        r"^model\.fc\.",
        "",
        "--rename",
        "^b$",
        "bias",
        "--rename",
        "kern.*",
        "weight",
    ]
    assert run(capsys, "check", path, f"{__name__}:SMALL", *words)[0] == 0
    status, _, err = run(capsys, "check", path, f"{__name__}:SMALL", "--rename", "x", "y")
    assert (status, err.splitlines()[0]) == (2, "error: rename: the rule 'x' matches no name")


SMALL = nn.Linear(1, 1)
NUMBER = 3


def broken() -> fp.Module:
    raise RuntimeError("no such size")


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("tests.models", "'tests.models': expected a module, a colon and a name in it"),
        (":x", "':x': expected a module, a colon and a name in it: package.module:factory"),
        ("nowhere:x", "nowhere:x: cannot be made: ModuleNotFoundError: No module named 'nowhere'"),
        ("tests.models:Nope", "tests.models:Nope: cannot be made: AttributeError: module"),
        (f"{__name__}:broken", "cannot be made: RuntimeError: no such size"),
        (f"{__name__}:NUMBER", "cannot be made: TypeError: 'int' object is not callable"),
        (f"{__name__}:dict", "cannot be made: AttributeError"),
        ("builtins:dict", "builtins:dict: expected a definition, got dict"),
    ],
)
def test_what_makes_no_definition(
    spec: str, text: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, "check", path, spec)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert text in err
