"""Measure everything, and write the tables, the plots and a machine-readable result.

    python -m benchmarks.run                    # all of it, into docs/benchmarks
    python -m benchmarks.run --quick            # smaller sizes, fewer rounds, about 8 minutes
    python -m benchmarks.run --only import eager --out /tmp/here
    python -m benchmarks.run --report           # tables and plots again, from the result as it is

Contenders that are not installed are skipped, with a line that says so. Every measure runs in
processes of its own; nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.contender import installed, missing, module_of
from benchmarks.measures import Row, row
from benchmarks.models import Config

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = "jax jaxlib numpy optax flax equinox dm-haiku torch orbax-checkpoint".split()
HUGE = {"layers": 126, "width": 16384, "heads": 128, "batch": 1}  # 406 billion parameters
IMPORT = (
    "import time, jax; start = time.perf_counter(); {}; print(1e3 * (time.perf_counter() - start))"
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much is measured."""

    libraries: list[str]
    quick: bool

    def of(self, full: Any, quick: Any) -> Any:
        return quick if self.quick else full

    def jax(self) -> list[str]:
        """The libraries whose models are programs of JAX."""
        return [library for library in self.libraries if library != "torch"]

    def have(self, *specs: str) -> list[str]:
        """Those specifications whose library is here."""
        return [s for s in specs if s.partition(":")[0].partition("+")[0] in self.libraries]


class Failed(Exception):
    """A measurement's process ended with an error."""


def call(name: str, timeout: float = 900, **arguments: Any) -> Any:
    """Run one measure in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.worker", name, json.dumps(arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Failed(f"{name}: not finished after {timeout} s") from None
    if done.returncode:
        raise Failed(f"{name} {arguments}: {done.stderr.strip()[-1500:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def interleaved(jobs: dict[str, Callable[[], list[Row]]], rounds: int) -> list[Row]:
    """Run jobs in turn, several rounds; their rows are joined value by value."""
    joined: dict[tuple[str, str, str], Row] = {}
    failed: set[str] = set()
    for number in range(rounds):
        for name in list(jobs) if number % 2 == 0 else list(jobs)[::-1]:
            if name in failed:
                continue
            try:
                rows = jobs[name]()
            except Failed as error:
                print(f"  {name} failed: {error}", file=sys.stderr, flush=True)
                failed.add(name)
                continue
            for one in rows:
                key = one["spec"], one["quantity"], json.dumps(one["size"])
                if key in joined:
                    joined[key]["values"] += one["values"]
                else:
                    joined[key] = one
    return [one for one in joined.values() if one["spec"] not in failed]


# --- the measures: each yields (case, rows) ---


def measure_import(plan: Plan) -> Iterator[tuple[str, list[Row]]]:
    def job(library: str, statement: str) -> Callable[[], list[Row]]:
        def run() -> list[Row]:
            # What is installed has its byte code beside it; the first round may have to write it.
            env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
            command = [sys.executable, "-c", IMPORT.format(statement)]
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)
            if done.returncode:
                raise Failed(done.stderr[-500:])
            return [row(library, "above import jax", "ms", [float(done.stdout)])]

        return run

    jobs = {library: job(library, module_of(library).IMPORT) for library in plan.libraries[1:]}
    both = "import funcparams, funcparams.nn, funcparams.init"
    jobs["funcparams.nn"] = job("funcparams, with nn and init", both)
    interleaved(jobs, 1)  # a cold disk is not what is asked for
    yield "the statement, in a new process, after `import jax`", interleaved(jobs, plan.of(7, 5))


def cold_jobs(plan: Plan, cfg: dict[str, Any], ways: list[str]) -> dict[str, Any]:
    """Make one job for each "library, way"."""
    jobs = {}
    for name in ways:
        library, _, way = name.partition(", ")
        if library in plan.libraries:
            jobs[name] = lambda spec=library, way=way: call("cold", spec=spec, way=way, cfg=cfg)
    return jobs


FAST = ["funcparams, eager", "nnx, eager", "equinox, eager", "torch, eager"]
JITTED = [
    "hand, jit",
    "funcparams, jit(model.init)",
    "linen, jit",
    "haiku, jit",
    "equinox, filter_jit",
    "nnx, nnx.jit",
]
EAGER = ["hand, eager", "linen, eager", "haiku, eager"]


def measure_cold(plan: Plan) -> Iterator[tuple[str, list[Row]]]:
    sizes = [(12, 128), (12, 512), (24, 256), (12, 256), (48, 256)]
    for layers, width in plan.of(sizes, sizes[-2:]):
        cfg = {"layers": layers, "width": width}
        title = f"GPT, {layers} layers of width {width}, {4 + 12 * layers} arrays"
        rows = interleaved(cold_jobs(plan, cfg, FAST), 3 if width == 256 else 2)
        if (layers, width) in sizes[-2:]:
            # Ten seconds and more at 48 layers: far more than they vary.
            slow = JITTED + EAGER if layers == 48 and not plan.quick else JITTED[:3]
            rows += interleaved(cold_jobs(plan, cfg, slow), 1)
        yield title, rows


def measure_bits(plan: Plan) -> Iterator[tuple[str, list[Row]]]:
    found = call("fingerprints", cfg={"layers": 4, "width": 64})
    same = len(set(found.values())) == 1 and len(found) > 1
    rows = [row(f"funcparams, {way}", "same bits", "", [float(same)]) for way in found]
    yield "GPT, 4 layers of width 64: sha256 over all parameters", rows


def measure_abstract(plan: Plan) -> Iterator[tuple[str, list[Row]]]:
    limit = plan.of(300, 20)  # NNX takes more than a minute
    jobs = {s: lambda s=s: call("abstract", limit, spec=s, cfg=HUGE) for s in plan.libraries}
    title = "GPT of 406 billion parameters, 126 layers of width 16384"
    slow = {name: jobs.pop(name) for name in plan.have("nnx")}
    yield title, interleaved(jobs, plan.of(3, 1)) + interleaved(slow, 1)


def measure_definitions(plan: Plan) -> Iterator[tuple[str, list[Row]]]:
    libraries = plan.have("funcparams", "nnx", "equinox", "torch")
    for modules in plan.of((1000, 3000, 10000), (1000, 10000)):
        rounds = plan.of(5, 3)
        jobs = {
            s: lambda s=s, m=modules, r=rounds: call("definitions", library=s, modules=m, rounds=r)
            for s in libraries
        }
        yield f"{modules:,} modules", interleaved(jobs, 1)


def measure_compile(plan: Plan) -> Iterator[tuple[str, list[Row]]]:
    everything = plan.have(*plan.jax(), "hand:onepass", "hand:twopass")
    everything += [f"{library}+scan" for library in plan.jax()]
    sizes = plan.of(
        ((2, everything, 1), (6, everything, 2), (24, plan.jax(), 2)), ((2, everything, 1),)
    )
    for layers, specs, rounds in sizes:
        cfg, compiles = {"layers": layers}, layers < 24
        jobs = {
            s: lambda s=s, c=cfg, k=compiles: call("lowering", spec=s, cfg=c, compiles=k)
            for s in specs
        }
        rows = interleaved(jobs, rounds)
        for what in ("train step", "forward"):
            chosen = [one for one in rows if one["quantity"].startswith(what)]
            named = [{**one, "quantity": one["quantity"].partition(": ")[2]} for one in chosen]
            if named:
                yield f"{what}, {Config(layers=layers).describe()}", named


TINY = {"width": 16, "length": 4, "batch": 1}


def measure_dispatch(plan: Plan) -> Iterator[tuple[str, list[Row]]]:
    rounds, calls = plan.of((21, 20), (11, 20))
    variants = [
        "hand:donate",
        "hand+scan",
        "funcparams:donate",
        "funcparams+scan",
        "nnx:split",
        "equinox:jit",
    ]
    specs = plan.libraries + plan.have(*variants)
    sized = {"rounds": rounds, "calls": calls, "host": True}
    cfg = {"layers": plan.of(12, 4), **TINY}
    yield Config(**cfg).describe(), call("running", specs=specs, cfg=cfg, **sized)
    if not plan.quick:
        specs = plan.jax() + plan.have("nnx:split", "equinox:jit")
        for layers in (3, 24):
            cfg = {"layers": layers, **TINY}
            yield (
                Config(**cfg).describe(),
                call("running", specs=specs, cfg=cfg, training=False, **sized),
            )
    cfg = {"model": "mlp", "layers": 10, "width": 16, "batch": 1}
    yield Config(**cfg).describe(), call("running", specs=plan.libraries, cfg=cfg, **sized)
    cfg = {"model": "conv", "batch": 2, "image": 4, "channels": (4, 4, 4)}
    yield Config(**cfg).describe(), call("running", specs=plan.libraries, cfg=cfg, **sized)


def measure_steady(plan: Plan) -> Iterator[tuple[str, list[Row]]]:
    variants = ["hand:donate", "hand:onepass", "hand:twopass", "hand+scan"]
    variants += ["funcparams:donate", "funcparams+scan", "torch:compile"]
    specs = plan.libraries + plan.have(*variants)
    sized = {"rounds": plan.of(7, 5), "calls": 3, "host": False}
    cfg = {"layers": 4}
    yield Config(**cfg).describe(), call("running", specs=specs, cfg=cfg, **sized)
    specs = plan.libraries + plan.have("torch:compile")
    cfg = {"model": "conv", "batch": 32}
    yield Config(**cfg).describe(), call("running", specs=specs, cfg=cfg, **sized)
    cfg = {"model": "mlp", "layers": 10, "batch": 128}
    yield Config(**cfg).describe(), call("running", specs=specs, cfg=cfg, **{**sized, "calls": 10})


def measure_eager(plan: Plan) -> Iterator[tuple[str, list[Row]]]:
    rows = call("eager", libraries=plan.libraries, modules=100, rounds=plan.of(15, 7), calls=10)
    yield "100 modules that multiply once; 10 linear layers of width 16", rows


def measure_checkpoint(plan: Plan) -> Iterator[tuple[str, list[Row]]]:
    cfg = {"layers": 12, "width": plan.of(512, 256)}
    jobs = {s: lambda s=s: call("checkpoint", spec=s, cfg=cfg, rounds=3) for s in plan.libraries}
    yield Config(**cfg).describe(), interleaved(jobs, 1)


# In the order in which they are measured; where the minutes are short, the last are left out.
MEASURES: dict[str, Callable[[Plan], Iterator[tuple[str, list[Row]]]]] = {
    "import": measure_import,
    "eager": measure_eager,
    "definitions": measure_definitions,
    "bits": measure_bits,
    "dispatch": measure_dispatch,
    "cold": measure_cold,
    "steady": measure_steady,
    "compile": measure_compile,
    "abstract": measure_abstract,
    "checkpoint": measure_checkpoint,
}


def machine() -> dict[str, Any]:
    """Say on what was measured: nothing that names a computer or its paths."""
    code = "import jax; print(jax.default_backend(), '|', jax.devices()[0].device_kind)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    backend, _, kind = done.stdout.strip().splitlines()[-1].partition(" | ")
    processor = platform.machine()
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(": ")[2]
                break
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "backend": backend,
        "device": kind,
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": versions,
    }


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer rounds")
    parser.add_argument(
        "--only", nargs="+", choices=MEASURES, metavar="MEASURE", help=", ".join(MEASURES)
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    said = "begin no measure after so many minutes; 6 with --quick"
    parser.add_argument("--minutes", type=float, help=said)
    options = parser.parse_args(arguments)
    if options.minutes is None:
        options.minutes = 6.0 if options.quick else float("inf")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Measure, and write after each measure what there is."""
    options = parse(arguments)
    where = machine()
    options.out.mkdir(parents=True, exist_ok=True)
    result = options.out / f"{where['backend']}.json"
    data: dict[str, Any] = json.loads(result.read_text()) if result.exists() else {"measures": {}}
    if options.report:
        report.write(data, options.out)
        return 0
    if not (options.only and data["measures"]):
        data = {"measures": {}}  # parts of two runs are mixed only where it is asked for
    libraries, skipped = installed()
    for line in skipped:
        print(line)
    if "hand" not in libraries:
        print(f"nothing can be measured without {missing('hand')}")
        return 2
    data |= {"machine": where, "skipped": skipped, "quick": options.quick}
    status, begun = 0, time.perf_counter()
    for name in options.only or MEASURES:
        start = time.perf_counter()
        if start - begun > 60 * options.minutes:
            print(f"{name}: not measured, {options.minutes:g} minutes have passed", flush=True)
            continue
        load = os.getloadavg()[0]
        cases = []
        try:
            for case, rows in MEASURES[name](Plan(libraries, options.quick)):
                cases.append({"case": case, "rows": rows})
        except Failed as error:
            print(f"{name} failed: {error}", file=sys.stderr, flush=True)
            status = 1
        seconds = time.perf_counter() - start
        data["measures"][name] = {"cases": cases, "seconds": seconds, "load before": load}
        report.write(data, options.out)
        print(f"{name}: {seconds:.0f} s", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
