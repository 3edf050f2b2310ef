"""`python -m funcparams`: look into checkpoints, compare them, check them against a definition."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from funcparams.checkpoint.compare import diff
from funcparams.checkpoint.inward import loading
from funcparams.checkpoint.opening import open_file
from funcparams.checkpoint.reader import File, Handles
from funcparams.checkpoint.task import Call
from funcparams.core.definition import Definition
from funcparams.core.errors import DefinitionTypeError, FuncparamsError, MismatchError

_EPILOG = """\
exit status: 0 if all is well; 1 if files differ (diff), or a file does not fit the definition
(check); 2 if a file cannot be read, or the definition cannot be made.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, and give its exit status.

    Args:
        arguments: The words after `python -m funcparams`; those of the process where nothing is
            said.
    """
    given = _parser().parse_args(arguments)
    try:
        status, answer, text = given.run(given)
    except (FuncparamsError, OSError) as error:
        status, answer, text = 2, {"error": str(error)}, f"error: {error}"
    if given.json:
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    else:
        (sys.stderr if status == 2 else sys.stdout).write(text + "\n")
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m funcparams",
        description="Safetensors files, their folders and indices: what is in them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="write JSON")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    inspect = commands.add_parser(
        "inspect", parents=[common], help="names, shapes, dtypes, bytes, ties and metadata"
    )
    inspect.add_argument("file", metavar="FILE")
    inspect.set_defaults(run=_inspect)
    compare = commands.add_parser(
        "diff", parents=[common], help="what differs between two files, and by how much"
    )
    compare.add_argument("a", metavar="A")
    compare.add_argument("b", metavar="B")
    compare.set_defaults(run=_diff)
    check = commands.add_parser(
        "check", parents=[common], help="whether a file fits a definition, name by name"
    )
    check.add_argument("file", metavar="FILE")
    check.add_argument(
        "model",
        metavar="PACKAGE.MODULE:FACTORY",
        help="a definition, or what gives one when called without arguments",
    )
    check.add_argument(
        "--rename",
        nargs=2,
        action="append",
        metavar=("PATTERN", "REPLACEMENT"),
        help="rename what stands in the file, as load(rename=...) does; several in order",
    )
    check.set_defaults(run=_check)
    return parser


_Answer = tuple[int, dict[str, Any], str]


def _inspect(given: argparse.Namespace) -> _Answer:
    file = open_file(Path(given.file))
    return 0, _plain(file), str(file)


def _plain(file: File) -> dict[str, Any]:
    handles = Handles(file)
    return {
        "path": os.fspath(file.path),
        "library": file.library,
        "metadata": file.metadata,
        "bytes": file.nbytes,
        "tensors": [
            {
                "name": name,
                "shape": list(stored.shape),
                "dtype": stored.dtype.name,
                "bytes": 0 if name in file.ties else stored.nbytes,
                "shared_with": file.ties.get(name),
            }
            for name, stored in handles.items()
        ],
    }


def _diff(given: argparse.Namespace) -> _Answer:
    found = diff(open_file(Path(given.a)), open_file(Path(given.b)))
    answer = {
        "a": given.a,
        "b": given.b,
        "same": found.same,
        "differences": [_finite(dataclasses.asdict(each)) for each in found],
    }
    return int(bool(found)), answer, str(found)


def _finite(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON has no word for nan and infinity."""
    largest = fields["largest"]
    if largest is not None and not math.isfinite(largest):
        fields["largest"] = str(largest)
    return fields


def _check(given: argparse.Namespace) -> _Answer:
    model = _definition(given.model)
    file = open_file(Path(given.file))
    rename = dict(given.rename) if given.rename else None
    answer = {"path": os.fspath(file.path), "model": given.model}
    # Nothing is put anywhere: what is checked needs no numbers but those of copies.
    call = Call("check", f" in {file.path}", _left)
    try:
        report = loading(call, model, Handles(file), rename=rename).report
    except MismatchError as error:
        return 1, {**answer, "fits": False, "problems": str(error)}, str(error)
    names = [dataclasses.asdict(entry) for entry in report.entries]
    return 0, {**answer, "fits": True, "names": names}, f"{report}\nIt fits."


def _left(_: str, value: Any) -> Any:
    return value


def _definition(spec: str) -> Definition:
    """Import a definition, or call what makes one."""
    module, colon, path = spec.partition(":")
    if not colon or not module or not path:
        raise DefinitionTypeError(
            f"{spec!r}: expected a module, a colon and a name in it: package.module:factory"
        )
    try:
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        made: Any = found if isinstance(found, Definition) else found()
    except Exception as error:
        raise DefinitionTypeError(
            f"{spec}: cannot be made: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(made, Definition):
        raise DefinitionTypeError(f"{spec}: expected a definition, got {type(made).__name__}")
    return made
