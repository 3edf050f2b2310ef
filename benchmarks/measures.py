"""The measures. Each function measures in this process and returns rows (see `row`)."""

from __future__ import annotations

import gc
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.contender import Contender, build, module_of
from benchmarks.models import Config, canonical_count, inputs, targets

now = time.perf_counter
Row = dict[str, Any]


def row(spec: str, quantity: str, unit: str, values: list[float], **size: float) -> Row:
    """Make one row: what was seen of one contender, one value a round."""
    return {"spec": spec, "quantity": quantity, "unit": unit, "values": values, "size": size}


def memory(field: str) -> float:
    """Give a size in MB from the kernel's status of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return float("nan")


@contextmanager
def no_collector() -> Iterator[None]:
    """Keep the garbage collector from running in between."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def count_compiles() -> dict[str, float]:
    """Start counting what XLA compiles; the dict that is returned goes on changing."""
    import jax

    seen = {"count": 0, "seconds": 0.0}

    def listen(event: str, duration: float, **_: Any) -> None:
        if event.endswith("backend_compile_duration"):
            seen["count"] += 1
            seen["seconds"] += duration

    jax.monitoring.register_event_duration_secs_listener(listen)
    return seen


# From nothing to parameters


def cold(spec: str, way: str, cfg: Config) -> list[Row]:
    """Build the model and draw its weights, as the first thing that this process does."""
    import jax

    build(spec, Config(model="mlp", layers=1, width=2, batch=1))  # imports the library
    key = jax.block_until_ready(jax.random.key(0))
    compiled = count_compiles()
    gc.collect()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before, start = memory("VmRSS"), now()
    contender = build(spec, cfg)
    draw = contender.inits()[way]
    weights = draw(key)
    contender.ready(weights)
    first, peak = now() - start, memory("VmHWM")
    count, seconds = compiled["count"], compiled["seconds"]
    numbers = contender.count(weights)
    del weights
    key = jax.random.key(1)
    start = now()
    contender.ready(draw(key))
    again = now() - start
    if numbers != canonical_count(cfg):
        raise AssertionError(f"{spec} {way}: {numbers} parameters, not {canonical_count(cfg)}")
    size = {"layers": cfg.layers, "width": cfg.width, "parameters": numbers}
    name = f"{spec}, {way}"
    return [
        row(name, "first", "s", [first], **size),
        row(name, "again", "s", [again], **size),
        row(name, "programs", "", [count], **size),
        row(name, "compiling", "s", [seconds], **size),
        row(name, "peak memory / parameters", "x", [(peak - before) * 2**20 / 4 / numbers], **size),
    ]


def fingerprints(cfg: Config) -> dict[str, str]:
    """Hash the bits that funcparams draws, by every way there is."""
    import hashlib

    import jax
    import numpy as np

    contender = build("funcparams", cfg)
    ways = dict(contender.inits())
    found = {}
    for way, draw in ways.items():
        digest = hashlib.sha256()
        for leaf in jax.tree.leaves(draw(jax.random.key(0))):
            digest.update(np.asarray(leaf).tobytes())
        found[way] = digest.hexdigest()
    return found


def abstract(spec: str, cfg: Config) -> list[Row]:
    """Give shapes, count and summary of a model that fits into no memory."""
    import jax

    build(spec, Config(model="mlp", layers=1, width=2, batch=1))
    jax.block_until_ready(jax.random.key(0))
    rows: list[Row] = []

    def timed(quantity: str, function: Callable[[], Any]) -> Any:
        start = now()
        result = function()
        rows.append(row(spec, quantity, "ms", [(now() - start) * 1e3]))
        return result

    before = memory("VmRSS")
    contender = timed("definition", lambda: build(spec, cfg))
    shapes = timed("shapes", contender.abstract)
    numbers = timed("count", lambda: contender.count(shapes))
    if spec == "funcparams":
        import funcparams as fp

        timed("summary", lambda: str(fp.summary(contender.model)))  # pyright: ignore
    if rows[1]["values"][0] < 1e4:
        timed("shapes, again", contender.abstract)
    rows.append(row(spec, "memory", "MB", [memory("VmRSS") - before]))
    if numbers != canonical_count(cfg):
        raise AssertionError(f"{spec}: {numbers} parameters, not {canonical_count(cfg)}")
    return rows


def definitions(library: str, modules: int, rounds: int, limit: float = 10.0) -> list[Row]:
    """Build, bind, compare and hash a definition of so many modules.

    After `limit` seconds no further round of building is begun: some libraries take minutes.
    """
    module = module_of(library)
    seen: dict[str, list[float]] = {}

    def timed(name: str, function: Callable[[], Any]) -> Any:
        with no_collector():
            start = now()
            result = function()
            seen.setdefault(name, []).append((now() - start) * 1e3)
        return result

    begun = now()
    while len(seen.get("build", ())) < rounds and (not seen or now() - begun < limit):
        model = timed("build", lambda: module.many(modules))
    for _ in range(rounds):
        for name, function in module.uses(model).items():
            timed(name, function)
    return [row(library, name, "ms", values, modules=modules) for name, values in seen.items()]


# Programs


def operations(lowered: Any) -> Counter[str]:
    """Count the operations of a lowered program by their kind, whatever they are called."""
    from funcparams.testing import operation_counts  # a peer is measured without funcparams

    return operation_counts(lowered)


def compiled_size(compiled: Any) -> dict[str, float]:
    """Give instructions, arithmetic and traffic of a compiled program, as XLA counts them."""
    cost = compiled.cost_analysis() or {}
    cost = cost[0] if isinstance(cost, list | tuple) else cost
    lines = compiled.as_text().splitlines()
    found = {
        "instructions": sum(" = " in line for line in lines if not line.startswith("HloModule")),
        "GFLOP": cost.get("flops", float("nan")) / 1e9,
        "GB moved": cost.get("bytes accessed", float("nan")) / 1e9,
    }
    analysis = compiled.memory_analysis()
    if analysis is not None:
        found["MB temporary"] = analysis.temp_size_in_bytes / 2**20
    return found


def lowering(spec: str, cfg: Config, compiles: bool) -> list[Row]:
    """Trace, lower and compile a train step and a forward, each for the first time."""
    import jax

    rows: list[Row] = []
    for what in ("train step", "forward") if compiles else ("train step",):
        contender = build(spec, cfg)
        weights, x = contender.zeros(), contender.input(inputs(cfg))
        if what == "train step":
            batch = x, contender.input(targets(cfg))
            arguments, lower = (contender.train_state(weights), batch), contender.lower_step
        else:
            arguments, lower = (contender.bind(weights), x), contender.lower_forward
        jax.clear_caches()  # zeros() and the train step before have traced some of it
        gc.collect()
        start = now()
        lowered = lower(*arguments)
        seconds = [now() - start]
        rows.append(row(spec, f"{what}: trace, lower", "s", seconds, layers=cfg.layers))
        if compiles:
            start = now()
            compiled = lowered.compile()
            rows.append(row(spec, f"{what}: compile", "s", [now() - start], layers=cfg.layers))
            count = sum(operations(lowered).values())
            rows.append(row(spec, f"{what}: operations", "", [count], layers=cfg.layers))
            for quantity, value in compiled_size(compiled).items():
                rows.append(row(spec, f"{what}: {quantity}", "", [value], layers=cfg.layers))
    return rows


# Running


def ready_to_run(specs: list[str], cfg: Config, training: bool) -> dict[str, list[Any]]:
    """Build and compile each contender: {spec: [contender, handle, train state, batch]}."""
    from benchmarks.models import canonical

    made = {}
    for spec in specs:
        contender = build(spec, cfg)
        weights = contender.load(*canonical(cfg))
        batch = contender.input(inputs(cfg)), contender.input(targets(cfg))
        handle, state = contender.bind(weights), None
        for _ in range(3):
            contender.ready(contender.forward(handle, batch[0]))
        if training:
            # NNX and PyTorch train the weights themselves, in place; a second set keeps apart.
            state = contender.train_state(contender.load(*canonical(cfg)))
            for _ in range(3):
                state, loss = contender.train_step(state, batch)
                contender.ready(loss)
        made[spec] = [contender, handle, state, batch]
    return made


def _host_time(contender: Contender, calls: int, call: Callable[[], Any]) -> float:
    """Time the calls alone: what came before has finished, and nobody waits for the result."""
    contender.ready(call())  # what ran before has used the processor's caches
    total = 0.0
    for _ in range(calls):
        start = now()
        result = call()
        total += now() - start
        contender.ready(result)
    return total / calls


def _throughput(contender: Contender, calls: int, call: Callable[[], Any]) -> float:
    contender.ready(call())
    start = now()
    for _ in range(calls):
        result = call()
    contender.ready(result)
    return (now() - start) / calls


def rounds_of(runs: dict[Any, Callable[[], Any]], rounds: int) -> dict[Any, list[float]]:
    """Call what measures, in turn, in the other order every other round; give all values."""
    seen: dict[Any, list[float]] = {key: [] for key in runs}
    for number in range(rounds):
        with no_collector():
            for key in list(runs) if number % 2 == 0 else list(runs)[::-1]:
                seen[key].append(runs[key]())
    return seen


def running(
    specs: list[str], cfg: Config, rounds: int, calls: int, host: bool, training: bool = True
) -> list[Row]:
    """Time forward and train step of all contenders in turn, in one process.

    With `host` it is what a call costs the caller, in us, at sizes at which nothing is computed;
    else what a call takes from beginning to end, in ms.
    """
    clock, unit, factor = (_host_time, "us", 1e6) if host else (_throughput, "ms", 1e3)
    runs: dict[tuple[str, str], Callable[[], float]] = {}
    for spec, entry in ready_to_run(specs, cfg, training).items():
        contender, handle, _, batch = entry

        def step(entry: list[Any] = entry) -> Any:
            entry[2], loss = entry[0].train_step(entry[2], entry[3])
            return loss

        def forward(contender: Any = contender, handle: Any = handle, x: Any = batch[0]) -> Any:
            return contender.forward(handle, x)

        runs[spec, "forward"] = lambda c=contender, f=forward: factor * clock(c, calls, f)
        if training:
            runs[spec, "train step"] = lambda c=contender, f=step: factor * clock(c, calls, f)
    seen = rounds_of(runs, rounds)
    return [
        row(spec, quantity, unit, values, layers=cfg.layers)
        for (spec, quantity), values in seen.items()
    ]


def eager(libraries: list[str], modules: int, rounds: int, calls: int) -> list[Row]:
    """Time calls without jit: modules that multiply once, and an MLP of each library's layers."""
    from benchmarks.models import canonical

    cfg = Config(model="mlp", layers=10, width=16, batch=1)
    runs: dict[tuple[str, str], Callable[[], float]] = {}

    def add(name: str, contender: Contender, many: tuple[Any, Any], layers: Any, x: Any) -> None:
        for what, function, given, count in (
            ("a module", *many, modules),
            ("a linear layer", layers, x, cfg.layers),
        ):
            call = lambda f=function, x=given: f(x)  # noqa: E731
            runs[name, what] = lambda c=contender, f=call, n=count: (
                1e6 / n * _throughput(c, calls, f)
            )

    for library in libraries:
        contender, module = build(library, cfg), module_of(library)
        weights, x = contender.load(*canonical(cfg)), contender.input(inputs(cfg))
        add(library, contender, module.scales(modules), contender.eager(weights), x)
        if library == "funcparams":
            view = contender.model.bind(*weights)  # pyright: ignore
            add(f"{library}, bound once", contender, module.bound_scales(modules), view, x)
    rounds_of(runs, 1)
    seen = rounds_of(runs, rounds)
    return [row(name, what, "us", values) for (name, what), values in seen.items()]


def retraces(cfg: Config, calls: int) -> dict[str, int]:
    """Count how often funcparams' apply is traced: over many calls, and for an equal definition."""
    import jax

    from benchmarks.contenders import funcparams as ours
    from benchmarks.models import canonical

    traces = Counter[str]()

    class Watched(ours.MLP):
        def __call__(self, x: Any) -> Any:
            traces["now"] += 1
            return super().__call__(x)

    contender = build("funcparams", cfg)
    params, _ = contender.load(*canonical(cfg))
    x = contender.input(inputs(cfg))
    model = Watched(cfg)
    for _ in range(calls):
        jax.jit(model.apply)(params, x)
    found = {f"{calls} calls of jax.jit(model.apply), written inline": traces["now"]}
    jax.jit(Watched(cfg).apply)(params, x)
    found["and of an equal definition, built anew"] = traces["now"]
    passed = jax.jit(lambda model, params, x: model.apply(params, x))
    passed(model, params, x)
    before = traces["now"]
    passed(Watched(cfg), params, x)
    found["an equal definition as an argument, after the first"] = traces["now"] - before + 1
    return found


def checkpoint(spec: str, cfg: Config, rounds: int) -> list[Row]:
    """Write and read weights as users of the library do."""
    from benchmarks.models import canonical

    contender = build(spec, cfg)
    weights = contender.load(*canonical(cfg))
    expected = contender.output(
        contender.forward(contender.bind(weights), contender.input(inputs(cfg)))
    )
    numbers = contender.count(weights)
    seen: dict[str, list[float]] = {"save": [], "load": []}
    for _ in range(rounds):
        folder = Path(tempfile.mkdtemp())
        try:
            gc.collect()
            start = now()
            contender.save(folder, weights)
            seen["save"].append(now() - start)
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            start = now()
            restored = contender.restore(folder)
            contender.ready(restored)
            seen["load"].append(now() - start)
        finally:
            shutil.rmtree(folder)
    output = contender.forward(contender.bind(restored), contender.input(inputs(cfg)))
    if abs(contender.output(output) - expected).max() > 1e-4:
        raise AssertionError(f"{spec}: what was read back computes something else")
    rows = [row(spec, quantity, "s", values) for quantity, values in seen.items()]
    return [*rows, row(spec, "file / parameters", "x", [size / 4 / numbers])]
