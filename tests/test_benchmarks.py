"""The benchmarks run, at sizes at which their numbers mean nothing, and their checks can fail."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import (
    check,
    contender,
    coverage,
    formulas,
    measures,
    report,
    run,
    verify,
    worker,
)
from benchmarks.models import Config, canonical, canonical_count
from funcparams.testing import operation_counts

MLP = Config(model="mlp", layers=2, width=4, batch=2)
CONV = Config(model="conv", batch=2, image=4, channels=(2,))
GPT = Config(layers=1, width=8, heads=2, vocab=8, length=4, batch=2)
OURS = ["hand", "funcparams"]


def quantities(rows: list[measures.Row], spec: str) -> dict[str, list[float]]:
    return {one["quantity"]: one["values"] for one in rows if one["spec"] == spec}


# The contenders that need nothing but what the tests need


@pytest.mark.parametrize("cfg", [MLP, CONV], ids=lambda cfg: cfg.model)
def test_contenders_compute_the_same(cfg: Config) -> None:
    reference = verify.observe("hand", cfg)
    assert verify.compare("funcparams", cfg, reference) is None
    output, losses, count = reference
    assert "outputs differ" in str(verify.compare("funcparams", cfg, (output + 1, losses, count)))
    wrong = (output, [loss + 1 for loss in losses], count)
    assert "losses differ" in str(verify.compare("funcparams", cfg, wrong))


def test_scanned_and_unrolled_layers_compute_the_same() -> None:
    x = contender.build("hand", GPT).input(np.array([[0, 1, 2, 3]], np.int32))
    outputs = []
    for spec in ("hand", "funcparams", "funcparams+scan"):
        made = contender.build(spec, GPT)
        weights = made.load(*canonical(GPT))
        assert made.count(weights) == canonical_count(GPT)
        outputs.append(made.output(made.eager(weights)(x)) if "+" not in spec else None)
        if "+" in spec:
            outputs[-1] = made.output(made.forward(made.bind(weights), x))
    for output in outputs[1:]:
        np.testing.assert_allclose(output, outputs[0], atol=1e-5)


def test_every_peer_is_found_or_named() -> None:
    libraries, skipped = contender.installed()
    assert libraries[:2] == OURS
    named = [line.partition(":")[0] for line in skipped]
    assert sorted([*libraries, *named]) == sorted(contender.LIBRARIES)
    folder = Path(contender.__file__).parent / "contenders"
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert files == set(contender.LIBRARIES)


# The measures


def test_programs_are_compared_operation_by_operation() -> None:
    ours, hand = check.lowered("funcparams", MLP), check.lowered("hand", MLP)
    for what in hand:
        holds, text = check.judge_programs(ours[what], hand[what], what)
        assert holds, text
    holds, text = check.judge_programs(ours["forward"], hand["train step"], "mixed")
    assert not holds
    assert "stablehlo.dot_general" in text
    assert not check.judge_programs(Lowered(""), Lowered(""), "empty")[0]


class Lowered:
    def __init__(self, text: str):
        self.text = text

    def as_text(self) -> str:
        return self.text


def test_measures_of_time_give_a_value_for_every_round() -> None:
    rows = measures.running(OURS, MLP, rounds=2, calls=2, host=True)
    for spec in OURS:
        seen = quantities(rows, spec)
        assert set(seen) == {"forward", "train step"}
        assert all(len(values) == 2 and min(values) > 0 for values in seen.values())
    rows = measures.eager(OURS, modules=3, rounds=2, calls=1)
    for spec in (*OURS, "funcparams, bound once"):
        assert set(quantities(rows, spec)) == {"a module", "a linear layer"}


def test_measures_from_nothing() -> None:
    seen = quantities(measures.cold("funcparams", "eager", MLP), "funcparams, eager")
    assert seen["first"][0] > 0
    seen = quantities(measures.abstract("funcparams", GPT), "funcparams")
    assert {"definition", "shapes", "count", "summary"} <= set(seen)
    seen = quantities(measures.definitions("funcparams", 31, 1), "funcparams")
    assert {"build", "bind", "bind, first", "hash", "hash, first", "==", "==, first"} == set(seen)
    prints = measures.fingerprints(MLP)
    assert len(prints) == 2
    assert len(set(prints.values())) == 1


def test_measures_of_programs_and_files() -> None:
    seen = quantities(measures.lowering("funcparams", MLP, compiles=True), "funcparams")
    assert seen["train step: operations"][0] > seen["forward: operations"][0] > 3
    seen = quantities(measures.checkpoint("funcparams", MLP, rounds=1), "funcparams")
    assert seen["file / parameters"][0] > 1
    assert check.judge_traces(measures.retraces(MLP, calls=3))[0]


def test_a_worker_takes_its_arguments_as_json() -> None:
    given = json.loads('{"library": "funcparams", "modules": 4, "rounds": 1}')
    assert worker.main("definitions", given)
    given = {"spec": "hand", "cfg": {"model": "conv", "channels": [2], "image": 4}}
    assert quantities(worker.main("abstract", given), "hand")["count"]


# What is made of them


def rows_of(quantity: str, **values: float) -> list[measures.Row]:
    return [measures.row(spec, quantity, "s", [value]) for spec, value in values.items()]


def verdicts(judged: Iterator[check.Verdict]) -> list[bool]:
    return [holds for holds, _ in judged]


def test_the_check_of_dispatch_can_fail() -> None:
    def rows(forward: float) -> list[measures.Row]:
        step = rows_of("train step", hand=10.0, funcparams=10.0)
        return rows_of("forward", hand=10.0, funcparams=forward) + step

    assert verdicts(check.judge_dispatch(rows(10.2))) == [True, True]
    assert verdicts(check.judge_dispatch(rows(10.5))) == [False, True]


def test_the_check_of_time_to_parameters_can_fail() -> None:
    def rows(ours: float, jitted: float) -> list[measures.Row]:
        seen = {"funcparams, eager": ours, "funcparams, jit(model.init)": jitted}
        peers = {"nnx, eager": 2.0, "hand, jit": 10.0, "linen, eager": 1.7, "torch, eager": 0.1}
        return rows_of("first", **seen, **peers)

    assert all(verdicts(check.judge_cold(rows(1.5, 4.0))))
    assert verdicts(check.judge_cold(rows(1.8, 5.0))) == [False, True, False, False]


def test_the_check_of_imports_can_fail() -> None:
    assert all(verdicts(check.judge_import(rows_of("above", funcparams=10.0, equinox=90.0))))
    slow = verdicts(check.judge_import(rows_of("above", funcparams=30.0, equinox=20.0)))
    assert slow == [False, False]


def test_the_check_of_traces_can_fail() -> None:
    assert not check.judge_traces({"calls": 1, "again": 2})[0]


def test_ratios_are_taken_round_by_round() -> None:
    ours = measures.row("a", "q", "s", [2.0, 20.0, 2.0])
    hand = measures.row("b", "q", "s", [1.0, 10.0, 4.0])
    assert report.ratio(ours, hand) == 2.0
    assert report.ratio(ours, measures.row("b", "q", "s", [1.0, 3.0])) == 1.0


def test_a_fitted_exponent_is_that_of_the_law() -> None:
    assert report.exponent([(x, 3 * x**1.5) for x in (1, 2, 5, 11)]) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.01234, "0.0123"), (1.005, "1.00"), (12.34, "12.3"), (12345.6, "12,346")],
)
def test_numbers_are_written_in_three_digits(value: float, text: str) -> None:
    assert report.number(value) == text


def test_a_run_writes_result_page_and_plots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(plan: run.Plan) -> Iterator[tuple[str, list[measures.Row]]]:
        for layers in (2, 4):
            rows = [
                measures.row(spec, quantity, "us", [layers * 1.0, layers * 3.0], layers=layers)
                for spec in OURS
                for quantity in ("forward", "train step")
            ]
            yield f"GPT, {layers} layers", rows

    def fails(plan: run.Plan) -> Iterator[Any]:
        raise run.Failed("no such thing")
        yield

    monkeypatch.setattr(run, "MEASURES", {"dispatch": measure, "eager": fails})
    assert run.main(["--out", str(tmp_path)]) == 1
    assert "eager failed: no such thing" in capsys.readouterr().err
    assert run.main(["--out", str(tmp_path), "--only", "dispatch"]) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"cpu.json", "cpu.md", "cpu-dispatch.svg"}
    page = (tmp_path / "cpu.md").read_text()
    assert "| **funcparams** | 8 (4 – 12) | 1.00 | 8 (4 – 12) | 1.00 |" in page  # noqa: RUF001
    assert "|  | forward, by layers |" in page
    assert page.endswith("| hand | 1.00 |\n| **funcparams** | 1.00 |\n")
    written = page + (tmp_path / "cpu.json").read_text()
    for private in (os.getcwd(), sys.prefix, str(tmp_path)):
        assert private not in written


def test_what_is_unknown_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.parse(["--only", "nothing"])
    assert "invalid choice" in capsys.readouterr().err
    with pytest.raises(run.Failed, match="no_such_measure"):
        run.call("no_such_measure")


# The table of all layers


def test_the_table_of_layers_is_up_to_date() -> None:
    rows = [line.split("|")[1:3] for line in coverage.PAGE.read_text().splitlines()]
    shown = {row[0].strip(): row[1].strip(" `") for row in rows if len(row) == 2}
    del shown["torch.nn"], shown["---"]
    assert len(shown) > 140
    library = importlib.import_module("funcparams.nn")
    assert shown == {name: coverage.member(library, name) for name in shown}


# Formulas


@pytest.mark.parametrize("name", ["LSTM", "MultiheadAttention", "Conv2d", "BatchNorm2d"])
def test_a_layer_is_the_program_that_is_written_by_hand(name: str) -> None:
    family = formulas.FAMILIES[name]()
    (_, ours), (title, by_hand), *_ = family.ways.items()
    assert title == "by hand, the same"
    y = jax.eval_shape(ours, family.params, family.x)
    given = family.params, family.x, y
    one, two = (
        operation_counts(formulas.step_of(run, family.by_x), *given) for run in (ours, by_hand)
    )
    assert one == two


def test_formulas_are_timed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def small() -> formulas.Family:
        ways = {"funcparams": lambda p, x: p * x, "by hand": lambda p, x: x * p}
        return formulas.Family("a product", jnp.ones(3), jnp.ones(3), ways, "one")

    monkeypatch.setattr(formulas, "FAMILIES", {"product": small})
    assert formulas.main(["--rounds", "2", "--out", str(tmp_path / "page.md")]) == 0
    page = (tmp_path / "page.md").read_text()
    assert "## product" in page
    assert "| **funcparams** | " in page
    wrong = small()._replace(ways={"a": lambda p, x: x, "b": lambda p, x: 2 * x})
    with pytest.raises(AssertionError, match="a product: b"):
        formulas.check(wrong)
