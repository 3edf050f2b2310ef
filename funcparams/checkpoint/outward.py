"""`state_dict`: params and state as one flat dict under PyTorch's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from funcparams.checkpoint.places import KINDS, places
from funcparams.core.check import resolve
from funcparams.core.declarations import Buffer, Param
from funcparams.core.definition import Definition
from funcparams.core.errors import DefinitionTypeError, MismatchError, nearest
from funcparams.core.names import at, split
from funcparams.core.nodes import Parametrization, Ref
from funcparams.core.walk import skeleton
from funcparams.select.flat import written_fields


def state_dict(
    model: Definition,
    params: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
    *,
    ties: Literal["all", "once"] = "all",
) -> dict[str, Any]:
    """Give parameters and buffers as one flat dict, with PyTorch's names in PyTorch's order.

    Args:
        model: The definition.
        params: Its params.
        state: Its state; needed where the definition has buffers that are persistent.
        ties: Whether a shared array stands under `all` of its names, as PyTorch writes it, or
            `once`, under its owner's.

    Returns:
        The arrays by dotted name, the same objects as in params and state. Buffers that are not
        persistent are left out; the arrays of a parametrization have PyTorch's names for them,
        `0.parametrizations.weight.original0`.

    Raises:
        MismatchError: If params or state do not fit the definition, or state is missing.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        >>> params, state = model.init(jax.random.key(0)), model.init_state()
        >>> list(fp.state_dict(model, params, state))
        ['0.weight', '0.bias', '1.weight', '1.bias', '1.running_mean', '1.running_var',
         '1.num_batches_tracked']

    References:
        [torch.nn.Module.state_dict](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.state_dict)
    """
    if ties not in ("all", "once"):
        raise DefinitionTypeError(
            f"state_dict(ties={ties!r}): expected 'all' or 'once'"
            f"{nearest(str(ties), ['all', 'once'])}."
        )
    title = type(model).__name__
    found = [place for place in places(model) if place.persistent]
    buffers = [place.name for place in found if isinstance(place.declared, Buffer)]
    if state is None and buffers:
        raise MismatchError(
            f"state_dict: {title} has buffers, and no state was given: {', '.join(buffers[:6])}"
            f"{', ...' if len(buffers) > 6 else ''}\n"
            "To mend: give the state that apply_with_state returned, or model.init_state(); "
            "fp.flatten(params) gives parameters alone."
        )
    trees = (params, state or {})
    for kind, tree in zip(KINDS, trees, strict=True):
        if kind is Param or state is not None:
            resolve(title, "params" if kind is Param else "state", skeleton(model, kind), tree)
    flat: dict[str, Any] = {}
    for place in found:
        if ties == "once" and place.name != place.owner:
            continue
        value = at(trees[isinstance(place.declared, Buffer)], split(place.owner))
        if isinstance(value, Parametrization):
            written = written_fields(value, split(place.name))
            flat |= {name: field for _, name, field in written if not isinstance(field, Ref)}
        else:
            flat[place.name] = value
    return flat
