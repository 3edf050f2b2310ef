"""Measure the ratios that must hold, and exit with 1 where one does not.

    python -m benchmarks.check

It takes some minutes, on a machine that does nothing else; it is no part of the timed tests.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.contender import build, installed
from benchmarks.measures import Row, operations
from benchmarks.models import Config, inputs, targets
from benchmarks.report import ratio
from benchmarks.run import (
    EAGER,
    FAST,
    JITTED,
    TINY,
    Plan,
    call,
    cold_jobs,
    interleaved,
    measure_import,
)

Verdict = tuple[bool, str]

DISPATCH = 1.03  # of hand-written JAX with the same tree
IMPORT_MS = 20.0
OF_NNX, OF_JIT, JIT_OF_JIT = 0.8, 0.2, 0.4

PROGRAMS = (
    Config(layers=2, width=32, length=8, vocab=32, batch=2),
    Config(model="conv", batch=2, image=8, channels=(4, 4)),
    Config(model="mlp", layers=3, width=16, batch=2),
)


def lowered(spec: str, cfg: Config) -> dict[str, Any]:
    """Lower a contender's forward and train step."""
    contender = build(spec, cfg)
    weights = contender.zeros()
    x, target = contender.input(inputs(cfg)), contender.input(targets(cfg))
    return {
        "forward": contender.lower_forward(contender.bind(weights), x),
        "train step": contender.lower_step(contender.train_state(weights), (x, target)),
    }


def judge_programs(ours: Any, hand: Any, title: str) -> Verdict:
    """The same operations, in the same number."""
    one, two = operations(ours), operations(hand)
    off = {kind: (one[kind], two[kind]) for kind in sorted({*one, *two}) if one[kind] != two[kind]}
    if sum(two.values()) < 3:
        return (
            False,
            f"{title}: the program has {sum(two.values())} operations, so nothing is compared",
        )
    said = f"the same {sum(two.values())} operations" if not off else f"(funcparams, hand) {off}"
    return not off, f"{title}: {said}"


def judge_traces(found: dict[str, int]) -> Verdict:
    """Everything once."""
    text = "; ".join(f"{what}: traced {count} times" for what, count in found.items())
    return all(count == 1 for count in found.values()), text


def _median(rows: list[Row], spec: str, quantity: str) -> float:
    values = next(r["values"] for r in rows if (r["spec"], r["quantity"]) == (spec, quantity))
    return statistics.median(values)


def judge_dispatch(rows: list[Row]) -> Iterator[Verdict]:
    """Level with hand-written JAX."""
    for quantity in ("forward", "train step"):
        ours, hand = (
            next(r for r in rows if (r["spec"], r["quantity"]) == (spec, quantity))
            for spec in ("funcparams", "hand")
        )
        value = ratio(ours, hand)
        yield (
            value <= DISPATCH,
            f"dispatch, {quantity}: {value:.3f} of hand-written, at most {DISPATCH}",
        )


def judge_cold(rows: list[Row]) -> Iterator[Verdict]:
    """Ahead of every peer, by so much of two of them."""
    first = {r["spec"]: statistics.median(r["values"]) for r in rows if r["quantity"] == "first"}
    ours, jitted = first["funcparams, eager"], first.get("funcparams, jit(model.init)")
    for spec, seconds in first.items():
        if spec.startswith(("funcparams", "torch")):
            continue  # PyTorch draws other numbers, in parallel, without compiling: no peer in this
        most = {"nnx, eager": OF_NNX, "hand, jit": OF_JIT}.get(spec, 1.0)
        value = ours / seconds
        yield value <= most, f"time to parameters: {value:.2f} of {spec}, at most {most}"
    if jitted is not None and "hand, jit" in first:
        value = jitted / first["hand, jit"]
        text = f"jax.jit(model.init): {value:.2f} of hand, jit, at most {JIT_OF_JIT}"
        yield value <= JIT_OF_JIT, text


def judge_import(rows: list[Row]) -> Iterator[Verdict]:
    """Some milliseconds, and fewer than every peer."""
    seen = {r["spec"]: statistics.median(r["values"]) for r in rows}
    ours = seen.pop("funcparams")
    yield ours <= IMPORT_MS, f"import: {ours:.1f} ms above jax, at most {IMPORT_MS:.0f}"
    for spec, value in seen.items():
        if not spec.startswith("funcparams"):
            yield ours < value, f"import: {ours:.1f} ms, {spec} {value:.1f} ms"


def check_programs() -> Iterator[Verdict]:
    for cfg in PROGRAMS:
        ours, hand = lowered("funcparams", cfg), lowered("hand", cfg)
        for what in hand:
            yield judge_programs(ours[what], hand[what], f"{cfg.model} {what}")


def check_traces() -> Iterator[Verdict]:
    cfg = {"model": "mlp", "layers": 2, "width": 4, "batch": 1}
    yield judge_traces(call("retraces", cfg=cfg, calls=2000))


def check_bits() -> Iterator[Verdict]:
    found = call("fingerprints", cfg={"layers": 4, "width": 64})
    same = len(set(found.values())) == 1 and len(found) > 1
    yield same, f"the same bits from {', '.join(found)}"


def check_dispatch() -> Iterator[Verdict]:
    cfg = {"layers": 12, **TINY}
    arguments = {"rounds": 41, "calls": 25, "host": True}
    yield from judge_dispatch(call("running", specs=["hand", "funcparams"], cfg=cfg, **arguments))


def check_cold() -> Iterator[Verdict]:
    plan, cfg = Plan(installed()[0], quick=False), {"layers": 48}
    rows = interleaved(cold_jobs(plan, cfg, FAST + EAGER), 5)
    yield from judge_cold(rows + interleaved(cold_jobs(plan, cfg, JITTED), 1))


def check_import() -> Iterator[Verdict]:
    _, rows = next(measure_import(Plan(installed()[0], quick=False)))
    yield from judge_import(rows)


CHECKS: tuple[Callable[[], Iterator[Verdict]], ...] = (
    check_programs,
    check_traces,
    check_bits,
    check_import,
    check_dispatch,
    check_cold,
)


def main() -> int:
    """Run all checks; say what each found."""
    print("\n".join(installed()[1]))
    failed = 0
    for check in CHECKS:
        for holds, text in check():
            failed += not holds
            print(f"{'ok  ' if holds else 'FAIL'} {text}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
