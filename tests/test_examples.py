"""The examples run as a newcomer runs them, at a small size, and refuse what makes no sense."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import jax
import matplotlib.image
import numpy as np
import orbax.checkpoint as ocp
import pytest

import funcparams as fp

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
EXTRAS = ("matplotlib", "optax", "orbax", "sklearn", "tqdm")


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=folder, env=environment
    )


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def digits() -> ModuleType:
    return load("digits")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_short(example: Path) -> None:
    assert len(example.read_text().splitlines()) < 300


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_help(
    example: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        load(example.stem).main(["--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("usage: ")
    assert list(tmp_path.iterdir()) == []


# digits.py


@pytest.fixture(scope="module", params=[False, True], ids=["all", "freeze"])
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[bool, str, Path]:
    """Run the example for an epoch; give (whether frozen, its output, its folder)."""
    out = tmp_path_factory.mktemp("digits")
    options = ["--freeze"] if request.param else []
    result = run(
        str(ROOT / "examples" / "digits.py"), "--epochs", "1", "--seed", "5", "--out", "here",
        *options, folder=out,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "1/1" in result.stderr  # the bar's last state, with what it shows
    assert "accuracy=" in result.stderr
    assert "loss=" in result.stderr
    assert "Warning" not in result.stderr
    return request.param, result.stdout, out / "here"


def test_digits_prints_what_it_does(trained: tuple[bool, str, Path], digits: ModuleType) -> None:
    _, output, _ = trained
    table, rest = output[: output.index("\ntest ")], output[output.index("test ") :]
    assert table == str(fp.summary(digits.LeNet()))
    first, second, written = rest.splitlines()
    accuracy = float(first.removeprefix("test accuracy, trained:").strip().removesuffix("%"))
    assert accuracy > 30  # an epoch is enough to be far from a guess, 10 %
    assert second.replace("restored: ", "trained:  ") == first
    assert written == "wrote here/digits.png and the checkpoint here/digits"


def test_digits_writes_a_picture_and_a_checkpoint(trained: tuple[bool, str, Path]) -> None:
    _, _, out = trained
    assert sorted(path.name for path in out.iterdir()) == ["digits", "digits.png", "training"]
    picture = (out / "digits.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 50_000


def test_digits_freezes_the_stem_and_nothing_else(
    trained: tuple[bool, str, Path], digits: ModuleType
) -> None:
    frozen, _, out = trained
    model = digits.LeNet()
    with ocp.StandardCheckpointer() as checkpointer:
        saved = checkpointer.restore(
            out / "digits", {"params": model.abstract(), "state": model.abstract_state()}
        )
    init_key, _ = jax.random.split(jax.random.key(5))
    before, after = fp.flatten(model.init(init_key)), fp.flatten(saved["params"])
    stem = [name for name in before if name.startswith("stem.")]
    assert stem == ["stem.0.weight", "stem.1.bias", "stem.1.weight"]
    same = [name for name in before if np.array_equal(before[name], after[name])]
    assert same == (stem if frozen else [])
    # Buffers are no parameters: the frozen norm goes on averaging what it sees.
    assert int(saved["state"]["stem"]["1"]["num_batches_tracked"]) == 1347 // 64
    assert saved["params"]["body"]["3"] == fp.Ref(".0")


def test_digits_goes_on_after_a_kill_to_the_same_bits(tmp_path: Path) -> None:
    example = str(ROOT / "examples" / "digits.py")
    options = ["--epochs", "2", "--seed", "7"]
    whole = run(example, *options, "--out", "whole", folder=tmp_path)
    assert whole.returncode == 0, whole.stderr
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, example, *options, "--out", "killed"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE) as killed:
        while not (tmp_path / "killed" / "training" / "1").exists():
            assert killed.poll() is None, "it ended before it could be killed"
            time.sleep(0.02)
        killed.kill()
    assert not (tmp_path / "killed" / "digits").exists()
    again = run(example, *options, "--out", "killed", "--resume", folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout.replace("killed/", "whole/") == whole.stdout
    trees = []
    with ocp.StandardCheckpointer() as checkpointer:
        for name in ("whole", "killed"):
            trees.append(jax.tree.leaves(checkpointer.restore(tmp_path / name / "digits")))
    for one, two in zip(*trees, strict=True):
        np.testing.assert_array_equal(one, two)
    other = run(example, "--epochs", "3", "--out", "killed", "--resume", folder=tmp_path)
    assert other.returncode == 1
    assert "--resume: the run was begun with {" in other.stderr


def test_digits_split_is_fixed_and_honest(digits: ModuleType) -> None:
    images, test_images, labels, test_labels = digits.load()
    assert images.shape == (1347, 1, 8, 8)
    assert test_images.shape == (450, 1, 8, 8)
    assert (images.min(), images.max(), images.dtype) == (0, 1, np.float32)
    assert (len(labels), len(test_labels)) == (1347, 450)
    seen = {image.tobytes() for image in images}
    assert not [image for image in test_images if image.tobytes() in seen]
    assert np.bincount(test_labels).min() >= 43  # stratified
    np.testing.assert_array_equal(digits.load()[1], test_images)


def test_digits_shifts_by_up_to_a_pixel(digits: ModuleType) -> None:
    image = np.zeros((1, 8, 8), np.float32)
    image[0, 3, 4] = 1
    moved = digits.shifted(jax.random.key(0), np.stack([image] * 200))
    rows, columns = np.nonzero(np.asarray(moved).max((0, 1)))
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {
        (row, column) for row in (2, 3, 4) for column in (3, 4, 5)
    }
    assert float(moved.sum()) == 200


def test_digits_marks_wrong_answers(digits: ModuleType, tmp_path: Path) -> None:
    _, images, _, labels = digits.load()
    guesses = labels.copy()
    guesses[[100, 400]] += 1  # far behind the 56 that are shown, were they not put first
    losses, filters = np.ones((2, 3)), np.linspace(-1, 0, 32 * 25).reshape(32, 5, 5)
    digits.draw(tmp_path / "it.png", losses, filters, images, labels, guesses)
    picture = (matplotlib.image.imread(tmp_path / "it.png")[..., :3] * 255).round().astype(int)
    rows, columns = np.nonzero((picture == (0xC1, 0x12, 0x1F)).all(-1))
    # The first two of the grid's eight columns, and the first of its seven rows.
    height, width = picture.shape[:2]
    assert len(rows) > 100
    assert rows.max() < 0.2 * height
    assert 0.48 * width < columns.min() < columns.max() < 0.63 * width


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--epochs", "0"], "argument --epochs: expected at least 1, got 0"),
        (["--epochs", "ten"], "argument --epochs: invalid int value: 'ten'"),
        (["--seed", "-1"], "argument --seed: expected 0 to 4294967295, got -1"),
        (["--seed", "4294967296"], "argument --seed: expected 0 to 4294967295, got 4294967296"),
        (["--out", "file/below"], "argument --out: cannot write to file/below: Not a directory"),
        (["--out", "file"], "argument --out: cannot write to file: File exists"),
        (["--epoch"], "expected one argument"),
        (["--continue"], "unrecognized arguments: --continue"),
    ],
    ids=" ".join,
)
def test_digits_refuses(
    arguments: list[str],
    text: str,
    digits: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        digits.main(arguments)
    output = capsys.readouterr()
    assert caught.value.code == 2
    assert output.err.startswith("usage: ")
    assert output.err.rstrip().endswith(text)
    assert output.out == ""


@pytest.mark.parametrize("extra", EXTRAS)
def test_digits_names_the_extra_of_what_is_missing(
    extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == extra]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, extra, None)
    with pytest.raises(ImportError) as caught:
        load("digits")
    name, colon, advice = str(caught.value).partition(":")
    assert name.startswith(f"examples/digits.py needs {extra}")
    assert colon + advice == ": pip install 'funcparams[examples]'"


# giant.py


def test_giant_counts_405_billion(capsys: pytest.CaptureFixture[str]) -> None:
    load("giant").main([])
    output = capsys.readouterr().out
    assert "Parameters: 405,853,388,800\nBytes:      811,706,777,600 (756.0 GiB)\n" in output
    assert "1,137 arrays, 405,853,388,800 numbers, 811,706,777,600 bytes: " in output
    assert "layers.0.attention.k_proj.weight  Linear   (1024, 16384) " in output


def test_giant_refuses_no_layers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load("giant").main(["--layers", "0"])
    assert caught.value.code == 2
    assert "argument --layers: expected at least 1, got 0" in capsys.readouterr().err
