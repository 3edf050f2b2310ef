"""Tables and plots from what was measured."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

Row = dict[str, Any]

TITLES = {
    "import": "Import",
    "cold": "Time to parameters, in a new process",
    "bits": "The same bits, however they are drawn",
    "abstract": "Shapes without arrays",
    "definitions": "Definitions of many modules",
    "compile": "Trace, lower, compile",
    "dispatch": "What a jitted call costs the caller",
    "steady": "Forward and train step, from beginning to end",
    "eager": "Calls without jit, for each module",
    "checkpoint": "Checkpoints",
}
# With what is compared: the row of this contender, in the same table.
BASES = ("hand", "hand, jit")
# Where a ratio to it says something.
COMPARED = {
    *("first", "shapes", "forward", "train step", "a module", "a linear layer", "save", "load"),
    *("trace, lower", "compile"),
}


def render(data: dict[str, Any]) -> str:
    """Write the page."""
    where = data["machine"]
    name = {"cpu": "CPU", "gpu": "GPU"}.get(where["backend"], where["backend"])
    packages = ", ".join(f"{package} {version}" for package, version in where["packages"].items())
    loads = [measure.get("load before", 0.0) for measure in data["measures"].values()]
    lines = [
        f"# Results on {name}",
        "",
        "This page is written by `python -m benchmarks.run`. How to read it, and what it means, is",
        "on [the page before](index.md).",
        "",
        f"- {where['processor']}, {where['cores']} cores, {where['system']}; JAX computes on "
        f"{where['device']}",
        f"- Python {where['python']}, {packages}",
        f"- load of the machine before each measure: {min(loads):.1f} to {max(loads):.1f}"
        + ("; quick run: fewer rounds, smaller sizes" if data.get("quick") else ""),
        *(f"- {line}" for line in data.get("skipped", ())),
        "",
        "Medians, with the least and the greatest in brackets where there are several rounds.",
        "`x` is the median, over the rounds, of the ratio to hand-written JAX in the same round.",
        "",
    ]
    for measure, title in TITLES.items():
        if measure in data["measures"] and data["measures"][measure]["cases"]:
            lines += [f"## {title}", ""]
            for case in data["measures"][measure]["cases"]:
                lines += [f"**{case['case']}**", "", *table(case["rows"]), ""]
            if measure in PLOTTED:
                lines += [f"![{title}]({where['backend']}-{measure}.svg)", ""]
    exponents = growth(data)
    if exponents:
        lines += [
            "## Growth",
            "",
            "Exponents p of a fit of `size^p` to the medians.",
            "",
            *exponents,
        ]
    return "\n".join(lines)


def table(rows: list[Row]) -> list[str]:
    """Make one markdown table: a line a contender, a column a quantity."""
    specs = list(dict.fromkeys(one["spec"] for one in rows))
    quantities = list(dict.fromkeys(one["quantity"] for one in rows))
    cells = {(one["spec"], one["quantity"]): one for one in rows}
    units = {one["quantity"]: one["unit"] for one in rows}
    base = next((name for name in BASES if name in specs), None)
    compared = [q for q in quantities if q in COMPARED and (base, q) in cells]
    head = [""]
    for quantity in quantities:
        unit = f", {units[quantity]}" if units[quantity] not in ("", "x") else ""
        head += [f"{quantity}{unit}"] + (["x"] if quantity in compared else [])
    lines = [_line(head), _line(["---", *["---:"] * (len(head) - 1)])]
    for spec in specs:
        line = [f"**{spec}**" if spec.startswith("funcparams") else spec]
        for quantity in quantities:
            one = cells.get((spec, quantity))
            line.append(shown(one["values"]) if one else "")
            if quantity in compared:
                line.append(f"{ratio(one, cells[base, quantity]):.2f}" if one else "")
        lines.append(_line(line))
    return lines


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def shown(values: list[float]) -> str:
    """Write the median, and the range where there are several values that differ."""
    middle = number(statistics.median(values))
    if len(values) < 2 or min(values) == max(values):
        return middle
    return f"{middle} ({number(min(values))} – {number(max(values))})"  # noqa: RUF001


def number(value: float) -> str:
    """Write a number in three digits, or whole where it is large."""
    if math.isnan(value) or value == 0:
        return "–" if math.isnan(value) else "0"  # noqa: RUF001
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def ratio(one: Row, base: Row) -> float:
    """Give the median of the ratios round by round, or of the medians where rounds differ."""
    if len(one["values"]) == len(base["values"]):
        pairs = zip(one["values"], base["values"], strict=True)
        return statistics.median(a / b for a, b in pairs)
    return statistics.median(one["values"]) / statistics.median(base["values"])


def exponent(points: list[tuple[float, float]]) -> float:
    """Fit p in y = c x^p by least squares of the logarithms."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    mean_x = statistics.mean(x for x, _ in logs)
    mean_y = statistics.mean(y for _, y in logs)
    spread = sum((x - mean_x) ** 2 for x, _ in logs)
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / spread


# Which quantity grows with which size.
GROWING = (
    ("cold", "first", "layers", {"width": 256}),
    ("cold", "first", "width", {"layers": 12}),
    ("cold", "again", "parameters", {}),
    ("definitions", "build", "modules", {}),
    ("definitions", "bind", "modules", {}),
    ("definitions", "bind, first", "modules", {}),
    ("definitions", "hash, first", "modules", {}),
    ("compile", "trace, lower", "layers", {}),
    ("compile", "compile", "layers", {}),
    ("dispatch", "forward", "layers", {}),
)


def growth(data: dict[str, Any]) -> list[str]:
    """Make a table of exponents a measure, over all cases in which one size differs."""
    lines: list[str] = []
    for measure in dict.fromkeys(measure for measure, *_ in GROWING):
        columns = {
            f"{quantity}, by {size}": _exponents(data, measure, quantity, size, fixed)
            for of, quantity, size, fixed in GROWING
            if of == measure
        }
        columns = {column: found for column, found in columns.items() if found}
        specs = list(dict.fromkeys(spec for found in columns.values() for spec in found))
        if not specs:
            continue
        lines += [f"**{TITLES[measure]}**", "", _line(["", *columns])]
        lines.append(_line(["---", *["---:"] * len(columns)]))
        for spec in specs:
            cells = [found.get(spec) for found in columns.values()]
            name = f"**{spec}**" if spec.startswith("funcparams") else spec
            lines.append(_line([name, *("" if cell is None else f"{cell:.2f}" for cell in cells)]))
        lines.append("")
    return lines


def _exponents(
    data: dict[str, Any], measure: str, quantity: str, size: str, fixed: dict[str, Any]
) -> dict[str, float]:
    """Fit one quantity's growth with one size, for each contender that was measured at several."""
    points: dict[str, dict[float, float]] = {}
    for case in data["measures"].get(measure, {}).get("cases", ()):
        for one in case["rows"]:
            sizes = one["size"]
            if one["quantity"] != quantity or size not in sizes or not _fitted(case):
                continue
            if all(sizes.get(key) == value for key, value in fixed.items()):
                middle = statistics.median(one["values"])
                points.setdefault(one["spec"], {})[sizes[size]] = middle
    return {
        spec: exponent(list(seen.items()))
        for spec, seen in points.items()
        if len(seen) > 1 and min(seen.values()) > 0
    }


def _fitted(case: dict[str, Any]) -> bool:
    """Tell whether a case is one of a series: sizes of the GPT, or many modules."""
    return not case["case"].startswith(("MLP", "convolutions", "forward"))


# Which case and quantities are drawn: the last case whose title begins so, and linear or not.
PLOTTED = {
    "cold": ("GPT, 48", ("first",)),
    "dispatch": ("GPT, ", ("forward", "train step")),
    "steady": ("GPT", ("train step",)),
    "eager": ("100", ("a module",)),
}


def plot(data: dict[str, Any], measure: str, path: Path) -> bool:
    """Draw one measure as bars; False where it was not measured."""
    prefix, quantities = PLOTTED[measure]
    cases = [
        case
        for case in data["measures"].get(measure, {}).get("cases", ())
        if case["case"].startswith(prefix)
        and {one["quantity"] for one in case["rows"]} >= set(quantities)
    ]
    if not cases:
        return False
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "funcparams"  # the same numbers give the same file
    import matplotlib.pyplot as plt

    rows = [one for one in cases[-1]["rows"] if one["quantity"] in quantities]
    specs = list(dict.fromkeys(one["spec"] for one in rows))
    figure, axes = plt.subplots(
        1,
        len(quantities),
        figsize=(4.2 * len(quantities) + 1.5, 0.3 * len(specs) + 1.2),
        sharey=True,
    )
    for quantity, ax in zip(quantities, [axes] if len(quantities) == 1 else axes, strict=True):
        shown_rows = [one for one in rows if one["quantity"] == quantity]
        medians = [statistics.median(one["values"]) for one in shown_rows]
        ends = [[m - min(o["values"]) for m, o in zip(medians, shown_rows, strict=True)]]
        ends.append([max(o["values"]) - m for m, o in zip(medians, shown_rows, strict=True)])
        colours = ["C1" if one["spec"].startswith("funcparams") else "C0" for one in shown_rows]
        ax.barh(
            [one["spec"] for one in shown_rows], medians, xerr=ends, color=colours, ecolor="0.4"
        )
        ax.set_xlabel(f"{quantity}, {shown_rows[0]['unit']}")
        ax.set_xscale("log")
        ax.spines[["top", "right"]].set_visible(False)
    (axes if len(quantities) == 1 else axes[0]).invert_yaxis()
    figure.suptitle(cases[-1]["case"], fontsize=9)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return True


def write(data: dict[str, Any], folder: Path) -> None:
    """Write the result, the page and the plots."""
    backend = data["machine"]["backend"]
    (folder / f"{backend}.json").write_text(json.dumps(data, indent=1) + "\n")
    (folder / f"{backend}.md").write_text(render(data))
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print("no plots: matplotlib is not installed")
        return
    for measure in PLOTTED:
        plot(data, measure, folder / f"{backend}-{measure}.svg")
