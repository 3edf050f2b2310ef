"""Binding: a definition and its arrays become, for one apply, plain objects that hold both."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, TypeAlias, TypeVar, cast

import jax
import jax.numpy as jnp

from funcparams.core import keys
from funcparams.core.check import describe, resolve
from funcparams.core.declarations import Buffer, Declaration, Param
from funcparams.core.definition import Bound, Context, Definition, FrozenDict, parts, record, sealed
from funcparams.core.errors import (
    BoundError,
    DefinitionTypeError,
    FuncparamsError,
    KeyRequiredError,
    MismatchError,
    SealedError,
    StateUpdateError,
    UnboundError,
    nearest,
)
from funcparams.core.names import Path, Tree, dotted
from funcparams.core.nodes import Ref
from funcparams.core.trace import trace_state, under_trace
from funcparams.core.walk import map_owned, skeleton

M = TypeVar("M", bound=Definition)
Views: TypeAlias = dict[int, Definition]  # by the identity of the definition


def bind(
    root: M,
    params: Any,
    state: Any,
    key: jax.Array | None,
    training: bool,
    part_of: Bound | None = None,
    counts: dict[str, int] | None = None,
) -> M:
    """Make the bound view of a definition: arrays in place of declarations.

    Args:
        root: The definition.
        params: Its parameters; checked whole.
        state: Its buffers; None counts as none.
        key: The key that `next_key` derives from, if any.
        training: The mode.
        part_of: The view of the root in an outer bind, where a part is bound again inside a
            transform. Its modules keep the names, and so the keys, that they have there.
        counts: How many keys each module has drawn so far, likewise.
    """
    if isinstance(record(root), Bound):
        raise BoundError(
            f"{type(root).__name__} is a bound view already; it lives inside one apply.\n"
            "  Call its methods, or bind the definition."
        )
    name = type(root).__name__
    if not isinstance(cast(Any, training), bool):
        raise DefinitionTypeError(
            f"{name}: training={training!r} is not a bool. A mode is static; each compiles once:\n"
            '  jax.jit(model.apply, static_argnames="training"), or close over it.'
        )
    values = resolve(name, "params", skeleton(root, Param), params)
    expected = skeleton(root, Buffer)
    if expected or state:
        values.update(resolve(name, "state", expected, {} if state is None else state))
    if key is not None:
        keys.check_key(key)
    for owner, value in values.items():
        if isinstance(value, jax.ShapeDtypeStruct):
            raise MismatchError(
                f"{name}: the tree holds shapes, not arrays: {value}.\n"
                "  Give model.init(key), or ask jax.eval_shape(model.apply, model.abstract(), x)."
            )
        if not isinstance(value, jax.Array):
            values[owner] = jnp.asarray(value)
    context = Context(values, key, training, trace_state(), under_trace(), state)
    context.counts.update(counts or {})
    if part_of is not None:
        context.outer = part_of.context.paths
    return cast(M, _view(root, context, part_of.path if part_of is not None else (), {}))


def _view(module: Definition, context: Context, path: Path, views: Views) -> Definition:
    """Make the view of one module; a module shared by two places is one view."""
    identity = id(module)
    if identity in views:
        return views[identity]
    context.paths[identity] = path = context.outer.get(identity, path)
    known = sealed(module)
    view = object.__new__(type(module))
    views[identity] = view
    attributes = vars(view)
    attributes.update(known.fields)
    for name, declaration in known.declared:
        attributes[name] = _array(declaration, context)
        if isinstance(declaration, Buffer):
            context.holders.setdefault(id(declaration), []).append((weakref.ref(view), name))
    for name, child in known.children:
        attributes[name] = _bound_child(child, context, (*path, name), views)
    object.__setattr__(view, "_record", Bound(module, path, context))
    return view


def _bound_child(child: Any, context: Context, path: Path, views: Views) -> Any:
    if isinstance(child, Definition):
        return _view(child, context, path, views)
    if isinstance(child, Declaration):
        return _array(child, context)
    if isinstance(child, tuple):
        items = cast("tuple[Any, ...]", child)
        return tuple(_bound_child(v, context, (*path, str(i)), views) for i, v in enumerate(items))
    if isinstance(child, FrozenDict):
        pairs = cast("FrozenDict[Any]", child).items()
        return FrozenDict({k: _bound_child(v, context, (*path, k), views) for k, v in pairs})
    return child  # a hyperparameter beside modules in one container


def _array(declaration: Declaration, context: Context) -> jax.Array:
    value = context.values[id(declaration)]
    if isinstance(declaration, Param) and not declaration.trainable:
        # Put back, so that named_parameters() of the view gives no gradient a way round either.
        value = context.values[id(declaration)] = jax.lax.stop_gradient(value)
    return value


def bound(module: Definition, use: str) -> Bound:
    """Give the record of a bound view, or say that a definition cannot do this."""
    known = record(module)
    if isinstance(known, Bound):
        return known
    name = type(module).__name__
    raise UnboundError(
        f"{name} is a definition and holds no arrays: {use} needs a bound view.\n"
        f"  Call model.apply(params, x), or model.bind(params).method(x) for another method."
    )


def assign_buffer(view: Definition, name: str, value: Any) -> None:
    """Put a buffer's new value on a bound view; anything else is refused."""
    known = bound(view, "assignment")
    declaration = dict(parts(known.definition)[0]).get(name)
    label = dotted((*known.path, name))
    if not isinstance(declaration, Buffer):
        buffers = [n for n, d in parts(known.definition)[0] if isinstance(d, Buffer)]
        raise SealedError(
            f"{label}: only buffers can be assigned on a bound view, and {known.name} "
            f"({type(view).__name__}) has {', '.join(buffers) or 'none'}{nearest(name, buffers)}\n"
            "  Keep a value of this call in a local variable or return it; declare what outlives "
            "the call: fp.buffer(shape, init)."
        )
    set_buffer(known, declaration, label, value)


def set_buffer(known: Bound, declaration: Buffer, label: str, value: Any) -> None:
    """Put a buffer's new value on every view that shows it."""
    same_trace(known, f"the update of {label}")
    old = known.context.values[id(declaration)]
    new = fitting(label, value, old)
    known.context.values[id(declaration)] = new
    known.context.updated[id(declaration)] = label
    for holder, field in known.context.holders.get(id(declaration), ()):
        if (view := holder()) is not None:  # a declaration may stand in several modules
            vars(view)[field] = new


def fitting(label: str, value: Any, old: jax.Array) -> jax.Array:
    """Check an update against the buffer; python scalars and weak types take its dtype."""
    if isinstance(value, bool | int | float | complex) or getattr(value, "weak_type", False):
        value = jnp.asarray(value)
        if jnp.result_type(value, old) == old.dtype:
            value = value.astype(old.dtype)
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape != old.shape or dtype != old.dtype:
        raise StateUpdateError(
            f"{label}: the buffer is {describe(old)}, got {describe(value)}.\n"
            f"  An update keeps shape and dtype: write value.astype({old.dtype}) if that is meant."
        )
    # PyTorch's buffers are updated without gradient; so the new state carries none.
    return jax.lax.stop_gradient(jnp.asarray(value))


def same_trace(known: Bound, what: str, error: type[FuncparamsError] = StateUpdateError) -> None:
    """Refuse what would leak out of, or be repeated by, a transform begun after bind."""
    if trace_state() == known.context.trace:
        return
    raise error(
        f"{what} happens inside a jax transform (scan, vmap, cond, grad, checkpoint, jit) that "
        "began after bind.\n"
        "  An update would leak out of it, and a key would be the same in every iteration. Use a "
        "managed form:\n"
        "  fp.remat(child)(x) for checkpointing, or for every other transform\n"
        "  f, params, state = fp.pure(child), a function (params, state, x, key=) -> (y, state)."
    )


def next_key(view: Definition) -> jax.Array:
    """Derive a key that no other module and no other call of this apply gets."""
    known = bound(view, "next_key()")
    name, context = known.name, known.context
    if context.key is None:
        raise KeyRequiredError(
            f"{name} ({type(known.definition).__name__}) draws random numbers, and no key was "
            "given.\n"
            "  Pass one: model.apply_with_state(params, state, x, key=key, training=True), or "
            "model.apply(params, x, key=key, ...)."
        )
    same_trace(known, f"{name}: drawing a key", KeyRequiredError)
    # The root has the empty name here: its class would tie keys to what a class is called.
    path = dotted(known.path)
    count = context.counts.get(path, 0)
    context.counts[path] = count + 1
    words = keys.call_words(path)
    return jax.random.fold_in(keys.derive(context.key, words), count)


def state_of(view: Definition) -> Tree:
    """Give the state of a bound view after what was called on it.

    Args:
        view: What `model.bind(...)` returned, or a part of it.

    Returns:
        The buffers as a nested dict, of the form that the given state had; updated ones new, the
        others as they were.

    Raises:
        UnboundError: For a definition.
        StateUpdateError: Inside a transform begun after bind.

    Example:
        >>> import funcparams as fp, jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.BatchNorm1d(2)
        >>> view = model.bind(model.init(jax.random.key(0)), model.init_state(), training=True)
        >>> _ = view(jnp.arange(6.0).reshape(3, 2))
        >>> [round(float(x), 4) for x in fp.state_of(view)["running_mean"]]
        [0.2, 0.3]
    """
    known = bound(view, "state_of")
    same_trace(known, f"reading the state of {known.name}")
    values = known.context.values
    tree = skeleton(known.definition, Buffer)
    current = map_owned(tree, lambda declaration: values[id(declaration)])
    is_root = id(known.definition) == next(iter(known.context.paths))
    given = known.context.given_state
    # The given tree may lack references; the new one must have the same structure for lax.scan.
    return _shaped_as(given, current) if is_root and isinstance(given, Mapping) else current


def _shaped_as(given: Any, current: Tree) -> Tree:
    return {
        key: _shaped_as(value, current[key])
        if isinstance(value, Mapping) and isinstance(current.get(key), dict)
        else value
        if isinstance(value, Ref | Mapping | None)
        else current[key]
        for key, value in given.items()
    }


def params_of(view: Definition) -> Tree:
    """Give the parameters of a bound view as a tree of its definition's own form."""
    known = bound(view, "params_of")
    values = known.context.values
    tree = skeleton(known.definition, Param)
    return map_owned(tree, lambda declaration: values[id(declaration)])


def refuse_lost_updates(view: Definition) -> None:
    """Raise where a plain apply has updated buffers, for their new values would be lost."""
    known = bound(view, "apply")
    if known.context.updated:
        raise StateUpdateError(
            f"{type(view).__name__}.apply updated {', '.join(known.context.updated.values())}, and "
            "returns no state: the update would be lost.\n"
            "  Use y, state = model.apply_with_state(params, state, x, training=True)."
        )
