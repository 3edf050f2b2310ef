"""The benchmark of checkpoints runs, and all its contenders load what was saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import checkpoints


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> checkpoints.Task:
    monkeypatch.setattr(checkpoints, "WIDTH", 64)
    return checkpoints.Task(0)


def test_every_saver_and_loader_is_timed(task: checkpoints.Task, tmp_path: Path) -> None:
    saves = checkpoints.save_times(task, tmp_path, 1)
    loads = checkpoints.load_times(task, tmp_path, 1)
    assert saves.keys() == task.savers().keys()
    assert {"funcparams, synced", "safetensors.numpy", "numpy.savez", "plain write"} <= set(saves)
    assert {"funcparams, own file", "funcparams, foreign file", "plain read"} <= set(loads)
    assert all(len(times) == 1 and times[0] > 0 for times in [*saves.values(), *loads.values()])
    assert list(tmp_path.iterdir()) == []


def test_what_is_loaded_is_what_was_saved(task: checkpoints.Task, tmp_path: Path) -> None:
    task.write_all(tmp_path)
    for name, loader in task.loaders(tmp_path).items():
        if name == "plain read" or "cast" in name:
            continue
        loaded = loader()
        weight = loaded["0.weight"] if "0.weight" in loaded else loaded["0"]["weight"]
        np.testing.assert_array_equal(weight, task.params["0"]["weight"])


def test_the_memory_of_a_load_is_measured(
    task: checkpoints.Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "WIDTH", 1024)
    bigger = checkpoints.Task(20)
    bigger.write_all(tmp_path)
    found = checkpoints.memory("funcparams, foreign file", 20, tmp_path)
    assert 10 < found["private"] < 40
    assert found["peak"] >= found["private"] - 5


def test_the_table_shows_medians(capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints.table("save", {"ours": [0.1, 0.3, 0.2]}, 10**9)
    assert capsys.readouterr().out.splitlines()[-1].split() == [
        "ours",
        "200.0",
        "ms",
        "100.0",
        "ms",
        "5.00",
    ]
