"""The checks that compute: parameters are drawn, the call is run, compiled, differentiated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from funcparams.checkpoint import diff, load_state_dict, state_dict
from funcparams.core.declarations import Buffer, Param
from funcparams.core.walk import owned
from funcparams.drawing.draw import Fixed, Random
from funcparams.select import flatten, unflatten
from funcparams.testing.compare import (
    brief,
    close,
    finite,
    same_bits,
    same_shapes,
)
from funcparams.testing.derivatives import Derivatives, row
from funcparams.testing.subject import NotApplicableError, Subject


def draws_by_its_key(subject: Subject) -> Iterator[str]:
    """`init`: one key gives the same bits, another key other numbers, and all are finite."""
    model, key = subject.model, subject.key
    other = jax.random.fold_in(key, 1)
    for how, draw in {"init": model.init, "init_state": model.init_state}.items():
        for problem in same_bits(draw(key), draw(key)):
            yield f"two calls of model.{how} with one key differ: {problem}"
    first, second = flatten(subject.fresh), flatten(model.init(other))
    for name, declaration in owned(model, Param).items():
        init = declaration.init
        if isinstance(init, Random) and declaration.size and _drawn_alike(first, second, name):
            yield f"{name}: {init!r} draws the same numbers from another key"
        if not isinstance(init, Fixed | Random):
            shape, dtype = declaration.shape, declaration.dtype
            # What model.init keeps compiled could not tell.
            for problem in same_bits(init(key, shape, dtype), init(key, shape, dtype)):
                yield f"{name}: {init!r} gives other numbers for the same key: {problem}"
    for problem in finite(subject.fresh):
        yield f"model.init(key): {problem}"


def _drawn_alike(first: Any, second: Any, name: str) -> bool:
    if name not in first or name not in second:
        return False  # the check of abstract says so
    return np.array_equal(np.asarray(first[name]), np.asarray(second[name]))


def is_as_abstract_says(subject: Subject) -> Iterator[str]:
    """`abstract`: shapes and dtypes are those that were known before anything was drawn."""
    model = subject.model
    for problem in same_shapes(subject.fresh, model.abstract()):
        yield f"model.init(key) and model.abstract(): {problem}"
    for problem in same_shapes(model.init_state(subject.key), model.abstract_state()):
        yield f"model.init_state(key) and model.abstract_state(): {problem}"


def flattens_and_comes_back(subject: Subject) -> Iterator[str]:
    """`flatten`: a flat dict by names goes out, and the same tree comes back."""
    model = subject.model
    declared: list[tuple[Literal["params", "state"], Any, dict[str, Any]]] = [
        ("params", subject.fresh, owned(model, Param)),
        ("state", model.init_state(subject.key), owned(model, Buffer)),
    ]
    for kind, tree, names in declared:
        flat = flatten(tree)
        for name in sorted(names.keys() ^ flat.keys()):
            where = "the definition" if name in names else "what init draws"
            yield f"{kind}: {name} stands in {where} only"
        if names.keys() == flat.keys():
            for problem in same_bits(unflatten(model, flat, kind), tree):
                yield f"{kind}: fp.unflatten gives another tree than was flattened: {problem}"


def comes_back_from_state_dict(subject: Subject) -> Iterator[str]:
    """`state_dict`: under PyTorch's names it goes out, and the same arrays come back."""
    model, key = subject.model, subject.key
    params, state = subject.fresh, model.init_state(key)
    loaded = load_state_dict(model, state_dict(model, params, state), key=key)
    for kind, tree, again in [("params", params, loaded.params), ("state", state, loaded.state)]:
        # By name where names, shapes or numbers differ; else trees may still be of other types.
        named = [f"{d.name}: {d.what} {d.detail}".strip() for d in diff(tree, again)]
        for problem in named or same_bits(tree, again):
            yield f"{kind}: fp.load_state_dict gives another tree than went out: {problem}"


def is_pure(subject: Subject) -> Iterator[str]:
    """`pure`: the same arguments give the same bits, and no tracer is kept."""
    for training in subject.modes:
        for problem in same_bits(subject.eager(training), subject.eager(training)):
            what = "a second call with the same arguments differs in"
            yield f"training={training}: {what} {_named(problem)}"
        try:
            with jax.checking_leaks():
                subject.outline(training)
        except Exception as error:
            if "Leaked" not in str(error):
                raise
            yield f"training={training}: something outside of the call keeps a tracer of it"


def updates_buffers_in_training(subject: Subject) -> Iterator[str]:
    """`state`: buffers keep shape and dtype, and change while training only."""
    if not jax.tree.leaves(subject.state):
        raise NotApplicableError("there are no buffers")
    for training in subject.modes:
        _, new = subject.result(training)
        for problem in same_shapes(subject.state, new):
            yield f"training={training}: the state before and after: {problem}"
        if not training:
            for name in subject.updated[training]:
                yield f"{name}: updated in a call with training=False"


def compiled_as_eager(subject: Subject) -> Iterator[str]:
    """`jit`: compiled, it gives what it gives without."""
    for training in subject.modes:
        try:
            compiled = subject.result(training)
        except Exception as error:
            yield f"training={training}: {brief(error)}"
            continue
        for problem in close(compiled, subject.eager(training), *subject.tolerance):
            yield f"training={training}: compiled and not, it differs in {_named(problem)}"


def maps_over_params(subject: Subject) -> Iterator[str]:
    """`vmap`: mapped over stacked params, each row is the call with its own."""
    derivatives = subject.kept(Derivatives)
    if not derivatives.rows:
        raise NotApplicableError("there is no floating array to map over")
    try:
        mapped = derivatives.mapped()
    except Exception as error:
        yield brief(error)
        return
    for index in range(2):
        wanted, _ = derivatives.called(index)
        for problem in close(row(mapped, index), wanted, *subject.tolerance):
            yield f"row {index}, mapped and alone, differs in {_named(problem, 'the output')}"


def has_finite_gradients(subject: Subject) -> Iterator[str]:
    """`gradients`: derivatives by every floating array are finite."""
    derivatives = subject.kept(Derivatives)
    y, _ = subject.outline(derivatives.training)
    if not derivatives.rows:
        raise NotApplicableError("there is no floating array to differentiate by")
    if not any(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in jax.tree.leaves(y)):
        raise NotApplicableError("no output is floating")
    try:
        of_params, of_floats = derivatives.gradients()
    except Exception as error:
        yield brief(error)
        return
    for problem in finite(of_params):
        yield f"gradient by {problem}"
    names = [subject.array_names[index] for index in subject.floats]
    for name, gradient in zip(names, of_floats, strict=True):
        for problem in finite(gradient):
            yield f"gradient by {name}{problem.removeprefix('it')}"
    for problem in finite(derivatives.called(0)[0]):
        yield f"the output itself: {problem.removeprefix('it: ')}"


def _named(problem: str, one: str = "it") -> str:
    """Name a place in (output, new state) as what it is."""
    name, text = problem.split(": ", 1)
    which, _, rest = name.partition(".")
    called = {"0": "output", "1": "the new state"}.get(which)
    if one != "it" or called is None:
        return f"{one if name == 'it' else 'output ' + name}: {text}"
    if not rest:
        return f"{'the output' if which == '0' else called}: {text}"
    return f"{called} {rest}: {text}"
