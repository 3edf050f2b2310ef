"""What cannot be parametrized once more."""

from __future__ import annotations

from funcparams.core.errors import MismatchError
from funcparams.core.nodes import Parametrization
from funcparams.edit.places import Place


def refuse_node(place: Place, maker: object) -> None:
    """Refuse a place that holds a parametrization already."""
    if isinstance(place.held, Parametrization):
        raise MismatchError(
            f"{place.name}: {maker!r} needs an array, and a {type(place.held).__name__} stands "
            "there.\n  Put its array there first: fp.materialize(model, params, where)."
        )
