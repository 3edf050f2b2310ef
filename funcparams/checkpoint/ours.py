"""What `save` writes into a header besides the tensors: ties, versions, the user's own metadata."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from funcparams.checkpoint.errors import refuse, shown
from funcparams.checkpoint.header import Header, load_json, text_by_name
from funcparams.core.errors import DefinitionTypeError

_VERSION = "1"
_PREFIX = "funcparams."
_FORMAT, _LIBRARY, _TIES = f"{_PREFIX}format", f"{_PREFIX}library", f"{_PREFIX}ties"
_PYTORCH = "format"  # Hugging Face's tools refuse a file without it


@dataclasses.dataclass(frozen=True)
class Ours:
    """What a file's metadata say.

    Attributes:
        metadata: What its user gave.
        ties: The owner's name for every further name of a shared tensor.
        library: What wrote it; empty where it was not `save`.
    """

    metadata: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    ties: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    library: str = ""


def make_ours(metadata: Mapping[str, str] | None, ties: Mapping[str, str]) -> dict[str, str]:
    """Give the metadata of a file.

    Raises:
        DefinitionTypeError: If the user's are not text by name, or have names of ours.
    """
    given = dict(metadata or {})
    for key, text in given.items():
        if not isinstance(key, str) or not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionTypeError(
                f"save(metadata=...): expected text by name, and {key!r} is {text!r}"[:300]
                + ".\n  json.dumps(...) makes text of other values."
            )
        if key == _PYTORCH or key.startswith(_PREFIX):
            raise DefinitionTypeError(
                f"save(metadata=...): the name {key!r} is taken: save writes it itself."
            )
    # The front is loaded, and nothing in the package may import it.
    library = f"funcparams {sys.modules['funcparams'].__version__}"
    own = {_PYTORCH: "pt", _FORMAT: _VERSION, _LIBRARY: library}
    return {**own, **({_TIES: json.dumps(dict(ties))} if ties else {}), **given}


def read_ours(path: Path, header: Header) -> Ours:
    """Read the metadata of a file; those of other programs' are all the user's."""
    found = header.metadata
    if _FORMAT not in found:
        return Ours(found)
    library = found.get(_LIBRARY, "an unknown version of funcparams")
    if found[_FORMAT] != _VERSION:
        raise refuse(
            path,
            [f"written by {shown(library)} in its format {shown(found[_FORMAT])}; "
             f"formats that can be read here: {_VERSION}"],
            "install a newer funcparams",
        )  # fmt: skip
    ties = text_by_name(load_json(path, found.get(_TIES, "{}").encode(), "table of ties"))
    if ties is None:
        raise refuse(path, ["the table of ties does not give an owner's name for each name"])
    rest = {
        key: text for key, text in found.items() if key != _PYTORCH and not key.startswith(_PREFIX)
    }
    return Ours(rest, ties, library)


def untrue(ties: Mapping[str, str], names: Iterable[str]) -> list[str]:
    """Say which ties lead to nothing, or stand where there is a tensor."""
    known = frozenset(names)
    return [
        f"{shown(alias)}: shared with {shown(owner)}, "
        + ("which is no tensor of the file" if owner not in known else "and a tensor of its own")
        for alias, owner in ties.items()
        if owner not in known or alias in known
    ]
