"""The assertion that what a definition shares is shared in a tree of its parameters, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from funcparams.core.check import describe
from funcparams.core.declarations import Param
from funcparams.core.definition import Definition
from funcparams.core.errors import SharingError
from funcparams.core.names import Path, at, dotted, leaves
from funcparams.core.nodes import Ref, follow, relative
from funcparams.core.walk import skeleton


def assert_ties_kept(model: Definition, params: Mapping[str, Any]) -> None:
    """Assert that a tree holds a reference wherever the definition shares a parameter.

    So the shared array is in the tree once: counted, differentiated, optimised and saved once.

    Args:
        model: The definition.
        params: A tree of its parameters, or of gradients, masks or optimiser state of their form.

    Raises:
        AssertionError: If another thing than the reference stands at a shared place; it names the
            place and the owner, for all such places.

    Example:
        >>> import jax
        >>> from funcparams import nn
        >>> from funcparams.testing import assert_ties_kept
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> model = nn.Sequential(layer, nn.ReLU(), layer)
        >>> params = model.init(jax.random.key(0))
        >>> assert_ties_kept(model, jax.tree.map(lambda leaf: leaf / 2, params))
        >>> assert_ties_kept(model, {**params, "2": params["0"]})
        Traceback (most recent call last):
            ...
        AssertionError: Sequential shares 1 parameter that params do not:
          2.weight: shared with 0.weight, and float32[2,2] stands there
        To mend: fp.tie(model, params) turns equal copies into references.
    """
    broken = [
        f"  {dotted(place)}: shared with {dotted(owner)}, and {problem}"
        for place, owner in shared_places(model)
        if (problem := _problem(params, place, owner))
    ]
    if broken:
        count = f"{len(broken)} parameter{'s' if len(broken) > 1 else ''}"
        raise AssertionError(
            f"{type(model).__name__} shares {count} that params do not:\n"
            + "\n".join(broken)
            + "\nTo mend: fp.tie(model, params) turns equal copies into references."
        )


def shared_places(model: Definition) -> Iterator[tuple[Path, Path]]:
    """Yield (place, owner) of every shared parameter, those below shared modules included."""
    tree = skeleton(model, Param)
    for place, value in leaves(tree):
        if isinstance(value, Ref):
            owner, below = follow(tree, place, value)
            yield from _below(tree, below, place, owner)


def _below(tree: Any, value: Any, place: Path, owner: Path) -> Iterator[tuple[Path, Path]]:
    for path, inner in leaves(value):
        real = (*owner, *path)
        if isinstance(inner, Ref):
            real, inner = follow(tree, real, inner)
            yield from _below(tree, inner, (*place, *path), real)
        else:
            yield (*place, *path), real


def _problem(params: Mapping[str, Any], place: Path, owner: Path) -> str | None:
    """Say what stands at a shared place, if it does not lead to the owner."""
    try:
        # A reference to the place itself, as a sibling would hold it, is followed to its end.
        found, value = follow(params, place, relative(place, place))
    except SharingError as error:
        missing = at(params, place) is None
        return "nothing stands there" if missing else str(error)
    if found == owner:
        return None
    if found == place:
        return "nothing stands there" if value is None else f"{describe(value)} stands there"
    return f"it refers to {dotted(found)}"
