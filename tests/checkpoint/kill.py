"""Kill a process that saves, at random instants or before each of its steps, and look what it left.

    python -m tests.checkpoint.kill --kills 200 --steps

What is left must be a whole checkpoint: that of the last save that ended, or of the one that was
killed. One file, and shards of two sizes, take each other's place.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import funcparams as fp
from funcparams import init
from funcparams.checkpoint import writer

LIMITS = (None, "200KB", "100KB")


class Holder(fp.Module):
    """Some arrays, one of them under two names."""

    def __init__(self, count: int = 4, size: int = 20_000):
        for index in range(count):
            setattr(self, f"w{index}", fp.param((size,), init.zeros()))
        self.tied = self.w0


MODEL = Holder()


def params(version: int) -> dict[str, Any]:
    """Params that tell which version they are, all of them."""
    arrays: dict[str, Any] = {
        name: np.full(declared.shape, version, np.float32)
        for name, declared in MODEL.named_parameters()
    }
    return {**arrays, "tied": fp.Ref(".w0")}


def save(path: Path, version: int) -> None:
    limit = LIMITS[version % len(LIMITS)]
    metadata = {"version": str(version)}
    fp.save(path, MODEL, params(version), metadata=metadata, max_shard_bytes=limit)


def version_of(path: Path) -> int:
    """Which version a checkpoint is; AssertionError if it is not one alone."""
    file = fp.load(path)
    version = int(file.metadata["version"])
    found = fp.diff(file, params(version))
    assert not found, f"not all of version {version}:\n{found}"
    return version


def fork(work: Callable[[], None]) -> int:
    """Do something in a process of its own."""
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def kill_at_random(path: Path, start: int, longest: float) -> tuple[int, int, int]:
    """Kill a saver after a while; give the version left, the last that ended, the last begun."""
    reading, writing = os.pipe()

    def keep_saving() -> None:
        for version in itertools.count(start + 1):
            os.write(writing, struct.pack("<q", version))
            save(path, version)
            os.write(writing, struct.pack("<q", -version))

    child = fork(keep_saving)
    os.close(writing)
    said = os.read(reading, 8)
    time.sleep(random.uniform(0, longest))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the saver ended by itself"
    while more := os.read(reading, 1 << 16):
        said += more
    os.close(reading)
    reported = [number for (number,) in struct.iter_unpack("<q", said)]
    ended = max([-number for number in reported if number < 0], default=start)
    return version_of(path), ended, max(reported)


def save_until(path: Path, version: int, last: int) -> None:
    """Save, and die before the step of a number: a name, a sync, or the bytes of an array."""
    steps = itertools.count(1)

    def deadly(step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(steps) == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*arguments, **options)

        return call

    for name in ("replace", "unlink", "fsync"):
        setattr(os, name, deadly(getattr(os, name)))
    writer._bytes = deadly(getattr(writer, "_bytes"))
    save(path, version)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how many at random instants")
    parser.add_argument("--steps", action="store_true", help="also before each step of each kind")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        began = time.monotonic()
        for version in range(3):
            save(path, version)
        longest = time.monotonic() - began
        version, old = 2, 0
        for _ in range(given.kills):
            version, ended, begun = kill_at_random(path, version, longest)
            assert version in (ended, begun), f"{version} is neither {ended} nor {begun}"
            old += version != begun
        new = given.kills - old
        say(f"{given.kills} kills at random: {old} left the old checkpoint, {new} the new")
        kinds = range(len(LIMITS))
        for before, after in itertools.product(kinds, kinds) if given.steps else ():
            save(path, before)
            kill_before_each_step(path, before, after)
        save(path, 0)
        left = sorted(each.name for each in Path(folder).iterdir())
        assert left == ["model.safetensors"], f"left over: {left}"
    say("every checkpoint was whole, and nothing is left over")


def kill_before_each_step(path: Path, first: int, after: int) -> None:
    """Kill a save of one kind, in place of one of another, before each of its steps."""
    second = after + len(LIMITS)
    outcomes: list[int] = []
    for last in itertools.count(1):
        child = fork(lambda last=last: save_until(path, second, last))
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        assert killed or os.WEXITSTATUS(status) == 0, "the saver failed"
        outcomes.append(version_of(path))
        if not killed:
            break
        save(path, first)
    assert set(outcomes) == {first, second}
    # The old one up to some step, and from there on the new one.
    assert outcomes == sorted(outcomes), outcomes
    say(f"{LIMITS[first]} to {LIMITS[after]}: killed before each of {len(outcomes) - 1} steps")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
