"""Checkpoints of a given size: saving, loading, and the memory that a load takes.

    python -m benchmarks.checkpoints                      # 500 MB, 5 rounds
    python -m benchmarks.checkpoints --megabytes 50 --rounds 3 --json out.json

All contenders that are installed take turns in every round; medians are shown. Files are read from
the cache of the system: what is measured is the work, and not the disk. Writers that have the data
on the disk when they return are marked "synced"; nothing else waits for the disk.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import funcparams as fp
from funcparams import nn

WIDTH = 2048


class Task:
    """Params of a size, and everybody's way of saving and loading them."""

    def __init__(self, megabytes: int):
        count = max(1, round(megabytes * 1e6 / (4 * WIDTH * (WIDTH + 1))))
        self.model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(count)))

    @functools.cached_property
    def params(self) -> dict[str, Any]:
        numbers = np.random.default_rng(0).standard_normal((WIDTH, WIDTH), np.float32)

        def fill(struct: Any) -> jax.Array:
            return jnp.array(numbers.reshape(-1)[: struct.size].reshape(struct.shape))

        return jax.block_until_ready(jax.tree.map(fill, self.model.abstract()))

    @functools.cached_property
    def flat(self) -> dict[str, jax.Array]:
        return fp.flatten(self.params)

    @property
    def bytes(self) -> int:
        return sum(declared.nbytes for declared in self.model.parameters())

    def numpy(self) -> dict[str, Any]:
        return {name: np.asarray(array) for name, array in self.flat.items()}

    def savers(self) -> dict[str, Callable[[Path], Any]]:
        """What writes to a path, by name."""
        import safetensors.numpy

        found: dict[str, Callable[[Path], Any]] = {
            "funcparams, synced": self.save,
            "funcparams, its fsync left out": self.save_without_sync,
            "safetensors.numpy": lambda path: safetensors.numpy.save_file(self.numpy(), path),
            "safetensors.numpy, then synced": self.safetensors_synced,
            "numpy.savez": lambda path: np.savez(path.with_suffix(".npz"), **self.numpy()),
            "plain write": lambda path: self.plain(path, sync=False),
            "plain write, synced": lambda path: self.plain(path, sync=True),
        }
        if importlib.util.find_spec("orbax"):
            import orbax.checkpoint as ocp

            found["orbax"] = lambda path: self.orbax_save(ocp, path)
        if importlib.util.find_spec("equinox"):
            import equinox

            found["equinox"] = lambda path: equinox.tree_serialise_leaves(path, self.params)
        return found

    def save(self, path: Path) -> None:
        fp.save(path.with_suffix(".safetensors"), self.model, self.params)

    def save_without_sync(self, path: Path) -> None:
        real = os.fsync
        os.fsync = lambda _: None
        try:
            self.save(path)
        finally:
            os.fsync = real

    def safetensors_synced(self, path: Path) -> None:
        import safetensors.numpy

        safetensors.numpy.save_file(self.numpy(), path)
        with path.open("rb") as file:
            os.fsync(file.fileno())

    def plain(self, path: Path, sync: bool) -> None:
        with path.open("wb", buffering=0) as file:
            for array in self.flat.values():
                file.write(memoryview(np.asarray(array)).cast("B"))
            if sync:
                os.fsync(file.fileno())

    def orbax_save(self, ocp: Any, path: Path) -> None:
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(path / "orbax", self.params, force=True)

    def loaders(self, path: Path) -> dict[str, Callable[[], Any]]:
        """What reads the files that the savers wrote, into arrays of JAX, by name."""
        import safetensors.numpy

        ours, theirs = path / "ours.safetensors", path / "theirs.safetensors"
        whole = {"own file": ours, "foreign file": theirs}
        found: dict[str, Callable[[], Any]] = {
            f"funcparams, {name}": lambda file=file: fp.load(file, self.model).params
            for name, file in whole.items()
        }
        found |= {
            f"funcparams, {name}, every number read": lambda file=file: read_all(
                fp.load(file, self.model).params
            )
            for name, file in whole.items()
        }
        found |= {
            "funcparams, own file, cast to bfloat16": lambda: (
                fp.load(ours, self.model, dtype=jnp.bfloat16).params
            ),
            "safetensors.numpy": lambda: safetensors.numpy.load_file(theirs),
            "safetensors.numpy, then JAX": lambda: to_jax(safetensors.numpy.load_file(theirs)),
            "safetensors.numpy, then JAX, every number read": lambda: read_all(
                to_jax(safetensors.numpy.load_file(theirs))
            ),
            "numpy.load": lambda: dict(np.load(path / "numpy.npz")),
            "plain read": lambda: plain_read(ours),
        }
        if importlib.util.find_spec("orbax"):
            import orbax.checkpoint as ocp

            found["orbax"] = lambda: self.orbax_load(ocp, path)
        if importlib.util.find_spec("equinox"):
            import equinox

            found["equinox"] = lambda: equinox.tree_deserialise_leaves(
                path / "equinox", self.model.abstract()
            )
        return found

    def orbax_load(self, ocp: Any, path: Path) -> Any:
        with ocp.StandardCheckpointer() as checkpointer:
            return checkpointer.restore(path / "orbax" / "orbax", self.model.abstract())

    def write_all(self, path: Path) -> None:
        """Write what the loaders read."""
        import safetensors.numpy

        self.save(path / "ours.safetensors")
        safetensors.numpy.save_file(self.numpy(), path / "theirs.safetensors")
        np.savez(path / "numpy.npz", **self.numpy())
        for name in ("orbax", "equinox"):
            if name in self.savers():
                self.savers()[name](path / name)


def to_jax(arrays: dict[str, Any]) -> dict[str, jax.Array]:
    return {name: jnp.asarray(array) for name, array in arrays.items()}


def read_all(tree: Any) -> Any:
    for leaf in jax.tree.leaves(tree):
        np.asarray(leaf).max()
    return tree


def plain_read(path: Path) -> Any:
    whole = np.empty(path.stat().st_size, np.uint8)
    with path.open("rb", buffering=0) as file:
        view, done = memoryview(whole), 0
        while done < len(view):
            done += file.readinto(view[done:])
    return whole


@contextlib.contextmanager
def folder(base: Path) -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(dir=base))
    try:
        yield made
    finally:
        shutil.rmtree(made)


def timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    result = work()
    jax.block_until_ready([leaf for leaf in jax.tree.leaves(result) if isinstance(leaf, jax.Array)])
    return time.perf_counter() - start


def save_times(task: Task, base: Path, rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in task.savers()}
    for turn in range(rounds + 1):
        for name, saver in task.savers().items():
            with folder(base) as place:
                os.sync()  # what others left to write is not this one's work
                spent = timed(lambda saver=saver, place=place: saver(place / "checkpoint"))
            if turn:  # the first warms up
                times[name].append(spent)
    return times


def load_times(task: Task, base: Path, rounds: int) -> dict[str, list[float]]:
    with folder(base) as place:
        task.write_all(place)
        loaders = task.loaders(place)
        times: dict[str, list[float]] = {name: [] for name in loaders}
        for turn in range(rounds + 1):
            for name, loader in loaders.items():
                spent = timed(loader)
                if turn:
                    times[name].append(spent)
    return times


def memory(name: str, megabytes: int, place: Path) -> dict[str, float]:
    """Load in this process, and give the most that it took, and what it holds then."""
    loader = Task(megabytes).loaders(place)[name]
    read_all({"a": jnp.ones(3)})
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = status()
    kept = jax.block_until_ready(loader())  # copies are made in the background
    after = status()
    del kept
    return {
        "peak": after["VmHWM"] - before["VmRSS"],
        "private": after["RssAnon"] - before["RssAnon"],
    }


def status() -> dict[str, float]:
    """Megabytes of this process by the system's names for them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = [line.split() for line in lines if line.endswith(" kB")]
    return {field[0].rstrip(":"): int(field[1]) / 1e3 * 1.024 for field in fields}


def memories(task: Task, base: Path, megabytes: int) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    with folder(base) as place:
        task.write_all(place)
        for name in task.loaders(place):
            command = [sys.executable, "-m", "benchmarks.checkpoints", "--memory", name]
            command += ["--megabytes", str(megabytes), "--folder", str(place)]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found[name] = json.loads(output.splitlines()[-1])
    return found


def table(title: str, times: dict[str, list[float]], size: int) -> None:
    print(f"\n{title}\n{'':52}  median    least     GB/s")
    for name, values in times.items():
        middle = statistics.median(values)
        print(
            f"{name:52}{1e3 * middle:6.1f} ms{1e3 * min(values):6.1f} ms{size / middle / 1e9:9.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory:
        print(json.dumps(memory(given.memory, given.megabytes, given.folder)))
        return
    task = Task(given.megabytes)
    print(f"{task.bytes / 1e6:.0f} MB in {len(task.flat)} arrays, {given.rounds} rounds")
    for name in ("orbax", "equinox"):
        if not importlib.util.find_spec(name):
            print(f"{name}: not installed")
    saves = save_times(task, given.folder, given.rounds)
    table("save", saves, task.bytes)
    loads = load_times(task, given.folder, given.rounds)
    table("load", loads, task.bytes)
    used = memories(task, given.folder, given.megabytes)
    print(f"\n{'memory of a load, MB':52}    peak   private")
    for name, figures in used.items():
        print(f"{name:52}{figures['peak']:8.0f}{figures['private']:10.0f}")
    if given.json:
        result = {"bytes": task.bytes, "save": saves, "load": loads, "memory": used}
        given.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
