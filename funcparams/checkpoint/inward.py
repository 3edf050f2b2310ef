"""`load_state_dict`: a flat dict from anywhere becomes params and state, or one error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax

from funcparams.checkpoint.rename import Rename, renamed
from funcparams.checkpoint.task import Call, Loaded, Task
from funcparams.core.check import describe
from funcparams.core.definition import Definition
from funcparams.core.errors import DefinitionTypeError, nearest
from funcparams.select.where import Where, floating


def load_state_dict(
    model: Definition,
    mapping: Mapping[str, Any],
    *,
    rename: Rename | None = None,
    transform: Mapping[Any, Callable[[Any], Any]] | None = None,
    where: Where | None = None,
    params: Mapping[str, Any] | None = None,
    state: Mapping[str, Any] | None = None,
    missing: Literal["error", "init"] = "error",
    unexpected: Literal["error", "ignore"] = "error",
    key: jax.Array | None = None,
    dtype: Any = None,
) -> Loaded:
    r"""Make params and state of a flat dict of arrays by name, strictly.

    A shared array may come under any of its names, or under several if the copies are equal.
    Everything is checked before anything is returned, and all that is wrong is in one error.

    Args:
        model: The definition.
        mapping: Arrays of numpy, JAX or PyTorch by dotted name.
        rename: From their names to ours: regular expressions with replacements, which are applied
            in order, each to what the one before gave (`re.sub`); or a function of a name, whose
            None leaves the name out.
        transform: For each `where`, a function of the array that makes it ours, for other layouts:
            `{"**.c_attn.weight": np.transpose}`. The first rule that means a name wins.
        where: Load only these parameters and buffers; the others are taken from `params` and
            `state`, or drawn with `missing="init"`.
        params: Values of the parameters that `where` leaves out, and the parametrizations that the
            mapping's arrays are put into: their names do not tell what they are.
        state: Values of the buffers that `where` leaves out.
        missing: What to do without an array for a parameter or buffer: `error`, or `init` to draw
            it, with the value that `model.init(key)` would give.
        unexpected: What to do with a name that the definition does not have: `error` or `ignore`.
        key: A PRNG key for `missing="init"`.
        dtype: The dtype of floating arrays; the declared ones where nothing is said.

    Returns:
        (params, state, report). Arrays of JAX that fit are the same objects.

    Raises:
        MismatchError: If names, shapes, kinds of numbers or copies of shared arrays do not fit.
        SelectionError: If a rule or `where` means nothing.
        DefinitionTypeError: If something is no array, or an argument is none of its words.

    Example:
        >>> import funcparams as fp, numpy as np
        >>> from funcparams import nn
        >>> given = {"fc.weight": np.ones((3, 2), np.float32), "fc.bias": np.zeros(3, np.float32)}
        >>> model = nn.Sequential(nn.Linear(2, 3))
        >>> loaded = fp.load_state_dict(model, given, rename={r"^fc\.": "0."})
        >>> loaded.params["0"]["bias"].tolist()
        [0.0, 0.0, 0.0]

    References:
        [torch.nn.Module.load_state_dict](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.load_state_dict)
    """
    if not isinstance(mapping, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DefinitionTypeError(
            f"load_state_dict: expected a flat dict of arrays by name, got {describe(mapping)}.\n"
            "  A file is read by fp.load(path, model)."
        )
    return loading(
        Call("load_state_dict"), model, mapping, rename=rename, transform=transform, where=where,
        params=params, state=state, missing=missing, unexpected=unexpected, key=key, dtype=dtype,
    )  # fmt: skip


def loading(
    call: Call,
    model: Definition,
    mapping: Mapping[str, Any],
    *,
    rename: Rename | None = None,
    transform: Mapping[Any, Callable[[Any], Any]] | None = None,
    where: Where | None = None,
    params: Mapping[str, Any] | None = None,
    state: Mapping[str, Any] | None = None,
    missing: Literal["error", "init"] = "error",
    unexpected: Literal["error", "ignore"] = "error",
    key: jax.Array | None = None,
    dtype: Any = None,
) -> Loaded:
    """Do what `load_state_dict` says, for whoever loads."""
    _word(call, "missing", missing, ("error", "init"))
    _word(call, "unexpected", unexpected, ("error", "ignore"))
    task = Task(call, model, None if dtype is None else floating(dtype))
    task.choose(where)
    task.base(params, state)
    task.give(renamed(mapping, rename))
    task.unite(transform or {})
    task.fill_nodes()
    task.fill(missing)
    task.report_unexpected(unexpected)
    task.fail()
    return task.finish(key)


def _word(call: Call, name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise DefinitionTypeError(
            f"{call.name}({name}={value!r}): expected one of {', '.join(map(repr, known))}"
            f"{nearest(str(value), known)}."
        )
