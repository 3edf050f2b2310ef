"""The checks that compute nothing: definitions of any size can be put through them."""

from __future__ import annotations

import copy
import functools
import pickle
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from funcparams.core.declarations import Buffer, Declaration, Param
from funcparams.core.definition import Definition, has_members, parts, sealed
from funcparams.core.names import dotted
from funcparams.core.walk import modules, owned
from funcparams.drawing.draw import Fixed, Random
from funcparams.select import cast as cast_tree
from funcparams.testing.compare import brief, named_leaves
from funcparams.testing.retrace import assert_no_retrace
from funcparams.testing.subject import NotApplicableError, Shapes, Subject
from funcparams.testing.ties import assert_ties_kept, shared_places

_ADDRESS = re.compile(r".*\bat 0x[0-9a-f]+.*|.*\bobject at .*", re.IGNORECASE)


def text_is_stable(subject: Subject) -> Iterator[str]:
    """`repr`: a text that is the same for equal definitions, in every process."""
    text = repr(subject.model)
    for line in _ADDRESS.findall(text):
        yield f"an address stands in it: {line.strip()}"
    for how, twin in subject.twins.items():
        pairs = zip(text.splitlines(), repr(twin).splitlines(), strict=False)
        differing = next((pair for pair in pairs if pair[0] != pair[1]), None)
        if differing:
            yield f"{how} is written {differing[1].strip()!r}, the model {differing[0].strip()!r}"


def equal_by_value(subject: Subject) -> Iterator[str]:
    """`equality`: a copy is equal and has the same hash; so has every hyperparameter's."""
    twin = subject.twins["copy.deepcopy(model)"]
    if twin != subject.model or subject.model != twin:
        yield "copy.deepcopy(model) is not equal to the model"
    elif hash(twin) != hash(subject.model):
        yield "copy.deepcopy(model) is equal to the model and has another hash"
    for name, value in _values(subject.model):
        if hasattr(value, "__name__"):  # functions and classes are what they are called
            continue
        try:
            again = copy.deepcopy(value)
        except Exception:  # a lock, a device: it has no copy that could be compared
            continue
        if not _equal(again, value):
            yield f"{name}: a {type(value).__name__} is not equal to its copy: {value!r}"


def pickles(subject: Subject) -> Iterator[str]:
    """`pickle`: the definition comes back from pickle, and is equal."""
    if subject.not_importable:
        raise NotApplicableError(
            "pickle finds classes by name, and these are local: "
            + ", ".join(subject.not_importable)
        )
    try:
        twin = pickle.loads(pickle.dumps(subject.model))
    except Exception as error:
        yield brief(error)
        return
    if twin == subject.model and hash(twin) == hash(subject.model):
        return
    yield "pickle.loads(pickle.dumps(model)) is not equal to the model"
    for (name, value), (_, other) in zip(_values(subject.model), _values(twin), strict=False):
        if not _equal(value, other):
            yield f"{name}: {value!r} comes back as {other!r}"


def ties_stay(subject: Subject) -> Iterator[str]:
    """`ties`: what is shared is stored once, in every tree of the model's parameters."""
    model = subject.model
    places = list(shared_places(model))
    if not places:
        raise NotApplicableError("no parameter is shared")
    shapes = model.abstract()

    def same(tree: Any) -> Any:
        return tree

    trees = {
        "model.abstract()": shapes,
        "jax.tree.map": jax.tree.map(same, shapes),
        "jax.jit": jax.eval_shape(jax.jit(same), shapes),
        "jax.vmap": jax.eval_shape(jax.vmap(same, in_axes=None, axis_size=2), shapes),
        "the params of the call": subject.shapes.params,
    }
    if not subject.abstract:
        trees["model.init(key)"] = subject.fresh
    for how, tree in trees.items():
        try:
            assert_ties_kept(model, tree)
        except AssertionError as error:
            yield f"{how}: {error}"
    for how, twin in {**subject.twins, "model.astype": model.astype(jnp.bfloat16)}.items():
        if list(shared_places(twin)) != places:
            yield f"{how} shares other parameters than the model"


def can_be_called(subject: Subject) -> Iterator[str]:
    """`call`: it runs with these arguments, in each mode."""
    for training in subject.modes:
        try:
            subject.outline(training)
        except Exception as error:
            yield f"training={training}: {brief(error)}"


def keeps_dtypes(subject: Subject) -> Iterator[str]:
    """`dtypes`: float32 gives float32 and bfloat16 bfloat16, nothing is promoted on the way."""
    for dtype in (jnp.dtype(jnp.float32), jnp.dtype(jnp.bfloat16)):
        model = subject.model.astype(dtype)
        shapes = subject.shapes
        given = Shapes(
            cast_tree(shapes.params, dtype),
            cast_tree(shapes.state, dtype),
            shapes.key,
            tuple(_as(array, dtype) for array in shapes.arrays),
        )
        for training in subject.modes:
            where = f"{dtype}, training={training}"
            try:
                with jax.numpy_dtype_promotion("strict"):
                    y, _ = subject.outline(training, model, given)
            except Exception as error:
                yield f"{where}: {brief(error)}"
                continue
            for name, leaf in named_leaves(y):
                if jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype != dtype:
                    name = "the output" if name == "it" else f"output {name}"
                    yield f"{where}: {name} is {leaf.dtype}"


def uses_keys_once(subject: Subject) -> Iterator[str]:
    """`keys`: no key is used twice, in `init` and in a call."""
    model, key = subject.model, subject.key
    declared = owned(model, Param) | owned(model, Buffer)
    with jax.debug_key_reuse(True):
        # A function of this check alone each time, for JAX looks at keys when it traces. Our own
        # initializers have been looked at.
        for name, declaration in declared.items():
            if not isinstance(declaration.init, Fixed | Random):
                try:
                    jax.eval_shape(jax.jit(_drawing(declaration)), key)
                except jax.errors.KeyReuseError as error:
                    yield f"{name}, drawn by {declaration.init!r}: {brief(error)}"
        for training in subject.modes:
            call = jax.jit(_calling(subject, training), static_argnums=0)
            try:
                jax.eval_shape(functools.partial(call, model), *subject.shapes)
            except jax.errors.KeyReuseError as error:
                yield f"training={training}: {brief(error)}"
    random = any(not isinstance(each.init, Fixed) for each in declared.values())
    if not random and not subject.drawing:
        raise NotApplicableError("nothing draws random numbers")


def traces_once(subject: Subject) -> Iterator[str]:
    """`retrace`: an equal definition and the new state are no reason to compile again."""
    shapes = subject.shapes
    for training in subject.modes:
        counted = assert_no_retrace(_calling(subject, training))
        compiled = jax.jit(counted, static_argnums=0)

        def traced(model: Any, state: Any, compiled: Any = compiled) -> Any:
            given = shapes.params, state, shapes.key, shapes.arrays
            return jax.eval_shape(functools.partial(compiled, model), *given)

        _, state = traced(subject.model, shapes.state)
        for how, twin in subject.twins.items():
            try:
                traced(twin, state)
            except AssertionError as error:
                yield f"training={training}, with {how} and the new state: {error}"


def _calling(subject: Subject, training: bool) -> Callable[..., Any]:
    def call(model: Any, params: Any, state: Any, key: Any, arrays: Any) -> Any:
        return subject.run(model, params, state, key, arrays, training)

    return call


def _values(root: Definition) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) of every hyperparameter, initializers included."""
    for path, node, _ in modules(root):
        if isinstance(node, Definition):
            for name, value in sealed(node).fields.items():
                if not has_members(value):
                    yield dotted((*path, name)), value
        for name, declaration in parts(node)[0]:
            yield f"{dotted((*path, name))}, its initializer", declaration.init


def _equal(one: Any, two: Any) -> bool:
    try:
        return one is two or bool(one == two)
    except Exception:
        return False


def _drawing(declaration: Declaration) -> Callable[[Any], Any]:
    def draw(key: Any) -> Any:
        return declaration.init(key, declaration.shape, declaration.dtype)

    return draw


def _as(array: Any, dtype: Any) -> Any:
    floating = jnp.issubdtype(array.dtype, jnp.floating)
    return jax.ShapeDtypeStruct(array.shape, dtype) if floating else array
