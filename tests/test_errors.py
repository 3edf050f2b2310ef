"""The whole text of every kind of error, on one model: what is wrong, where, and how to mend it.

The rules behind them are tested where they stand; here the reader's side is: each text names the
dotted name, says what was expected and what came, and how to go on. A failed call changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcparams as fp
from funcparams.core import errors
from funcparams.core.errors import nearest
from tests.models import Chain, Counter, Drop, Language, Linear, filled, same_arrays

KEY = jax.random.key(0)
X = jnp.ones((2, 3))


class Model(fp.Module):
    """A layer, a norm with buffers, dropout; and a function that is run on the view."""

    def __init__(self, run: Callable[..., Any] | None = None):
        self.run = run
        self.layer = Linear(3, 3)
        self.norm = Counter(3)
        self.drop = Drop()

    def __call__(self, x: Any) -> Any:
        return self.drop(self.norm(self.layer(x))) if self.run is None else self.run(self, x)


MODEL = Model()
PARAMS = filled(MODEL)
STATE = MODEL.init_state()
LANGUAGE = Language()
WORDS = filled(LANGUAGE)


def inside(run: Callable[..., Any], **options: Any) -> Any:
    """Run a function on a bound view."""
    return Model(run).apply_with_state(PARAMS, STATE, X, **options)


def updated(view: Any, x: Any) -> Any:
    view.norm.calls = view.norm.calls + 1
    return x


def drawn(view: Any, x: Any) -> Any:
    return x + jax.random.uniform(view.drop.next_key())


LEAK = (
    " happens inside a jax transform (scan, vmap, cond, grad, checkpoint, jit) that began after "
    "bind.\n"
    "  An update would leak out of it, and a key would be the same in every iteration. Use a "
    "managed form:\n"
    "  fp.remat(child)(x) for checkpointing, or for every other transform\n"
    "  f, params, state = fp.pure(child), a function (params, state, x, key=) -> (y, state)."
)
BOUND = (
    "Model: a bound module cannot pass through a jax transform; pass params.\n"
    "  Bind inside the transformed function: jax.jit(lambda params, x: model.apply(params, x)).\n"
    "  For a part of a model inside its __call__: fp.remat(child)(x), or "
    "f, params, state = fp.pure(child)."
)
DECLARED = (
    "Linear.weight is declared as param((3, 3), normal(mean=0.0, std=1.0), float32) and holds no "
    "numbers: {} needs an array.\n"
    "  Compute with it in __call__, where `self.<name>` is an array, or use a parametrization;\n"
    "  a value known now belongs into the initializer: init.constant(...) or init.array(...)."
)

CASES: dict[str, tuple[Callable[[], Any], type[Exception], type[Exception], str]] = {
    # Trees that do not fit
    "missing and extra names": (
        lambda: MODEL.apply({**PARAMS, "layer": {"wieght": X}, "nrm": {}}, X, state=STATE),
        fp.MismatchError,
        ValueError,
        "params do not fit Model: 4 problems\n"
        "  layer.weight: missing, expected float32[3,3]\n"
        "  layer.bias: missing, expected float32[3]\n"
        "  layer.wieght: unexpected float32[2,3]; did you mean 'layer.weight'?\n"
        "  nrm: unexpected an empty dict; did you mean 'norm'?\n"
        "To mend: make a fitting tree with model.init(key).\n"
        "To mend: leave out what the definition does not have.",
    ),
    "wrong shapes": (
        lambda: MODEL.bind({**PARAMS, "norm": {"scale": X}}, {"norm": {"calls": X, "mean": X[0]}}),
        fp.MismatchError,
        ValueError,
        "params do not fit Model: 1 problem\n"
        "  norm.scale: expected float32[3], got float32[2,3]\n"
        "To mend: give it the declared shape.",
    ),
    "wrong state": (
        lambda: MODEL.bind(PARAMS, {"norm": {"calls": X, "mean": X[0]}}),
        fp.MismatchError,
        ValueError,
        "state does not fit Model: 1 problem\n"
        "  norm.calls: expected int32[], got float32[2,3]\n"
        "To mend: give it the declared shape.",
    ),
    "no state": (
        lambda: MODEL.apply(PARAMS, X),
        fp.MismatchError,
        ValueError,
        "state does not fit Model: 2 problems\n"
        "  norm.calls: missing, expected int32[]\n"
        "  norm.mean: missing, expected float32[3]\n"
        "To mend: make a fitting tree with model.init_state().",
    ),
    "a reference to nothing": (
        lambda: LANGUAGE.bind({**WORDS, "head": {"weight": fp.Ref("..gone")}}),
        fp.MismatchError,
        ValueError,
        "params do not fit Language: 1 problem\n"
        "  head.weight: expected a reference to wte.weight, "
        "got head.weight is Ref('..gone'), but there is no gone\n"
        "To mend: fp.tie(model, params) turns equal copies into references.",
    ),
    "a circle of references": (
        lambda: LANGUAGE.bind(
            {**WORDS, "wte": {"weight": fp.Ref("..head.weight")}},
        ),
        fp.MismatchError,
        ValueError,
        "params do not fit Language: 1 problem\n"
        "  wte.weight: expected float32[5,3], got the reference Ref('..head.weight'), "
        "but the definition shares nothing here\n"
        "To mend: fp.untie(model, params, where) gives the place an array of its own, "
        "in definition and params.",
    ),
    "an array where a reference belongs": (
        lambda: LANGUAGE.bind({**WORDS, "head": {"weight": jnp.ones((5, 3))}}),
        fp.MismatchError,
        ValueError,
        "params do not fit Language: 1 problem\n"
        "  head.weight: shared with wte.weight, which holds the array; got float32[5,3] here too\n"
        "To mend: fp.tie(model, params) turns equal copies into references.",
    ),
    # Definitions taken for what they are not
    "calling a definition": (
        lambda: MODEL(X),
        fp.UnboundError,
        TypeError,
        "Model is a definition and holds no arrays: calling Model(...) needs a bound view.\n"
        "  Call model.apply(params, x), or model.bind(params).method(x) for another method.",
    ),
    "arithmetic with a declaration": (
        lambda: 2 * MODEL.layer.weight,
        fp.DeclarationUseError,
        ValueError,
        DECLARED.format("`__rmul__`"),
    ),
    "an attribute of arrays": (
        lambda: MODEL.layer.weight.T,
        fp.DeclarationUseError,
        AttributeError,
        DECLARED.format("`.T`"),
    ),
    "numpy and a declaration": (
        lambda: np.asarray(MODEL.layer.weight),
        fp.DeclarationUseError,
        ValueError,
        DECLARED.format("`__array__`"),
    ),
    "jax and a declaration": (
        lambda: jnp.sum(MODEL.layer.weight),
        fp.DeclarationUseError,
        ValueError,
        DECLARED.format("a jax function"),
    ),
    "assigning to a sealed definition": (
        lambda: setattr(MODEL, "drop", Drop(0.1)),
        fp.SealedError,
        AttributeError,
        "Model.drop: definitions are sealed after construction.\n"
        "  Make a changed one: model.replace(drop=...), or further down "
        'model.replace({"child.drop": ...}).',
    ),
    # Bound views taken for what they are not
    "a view through jit": (
        lambda: jax.jit(lambda view: 1)(MODEL.bind(PARAMS, STATE)),
        fp.BoundError,
        TypeError,
        BOUND,
    ),
    "a view through vmap": (
        lambda: jax.vmap(lambda view: 1)(MODEL.bind(PARAMS, STATE)),
        fp.BoundError,
        TypeError,
        BOUND,
    ),
    "a view through grad": (
        lambda: jax.grad(lambda view: 1.0)(MODEL.bind(PARAMS, STATE)),
        fp.BoundError,
        TypeError,
        BOUND,
    ),
    "a view through scan": (
        lambda: jax.lax.scan(lambda c, _: (c, 1), MODEL.bind(PARAMS, STATE), length=1),
        fp.BoundError,
        TypeError,
        BOUND,
    ),
    "assigning to a view": (
        lambda: inside(lambda view, x: setattr(view.norm, "maen", x)),
        fp.SealedError,
        AttributeError,
        "norm.maen: only buffers can be assigned on a bound view, and norm (Counter) has calls, "
        "mean; did you mean 'mean'?\n"
        "  Keep a value of this call in a local variable or return it; declare what outlives the "
        "call: fp.buffer(shape, init).",
    ),
    "binding a view": (
        lambda: MODEL.bind(PARAMS, STATE).bind(PARAMS),
        fp.BoundError,
        TypeError,
        "Model is a bound view already; it lives inside one apply.\n"
        "  Call its methods, or bind the definition.",
    ),
    # Buffers
    "a lost update": (
        lambda: MODEL.apply(PARAMS, X, state=STATE, key=KEY, training=True),
        fp.StateUpdateError,
        ValueError,
        "Model.apply updated norm.calls, norm.mean, and returns no state: the update would be "
        "lost.\n"
        "  Use y, state = model.apply_with_state(params, state, x, training=True).",
    ),
    "an update of another shape": (
        lambda: inside(lambda view, x: setattr(view.norm, "mean", x)),
        fp.StateUpdateError,
        ValueError,
        "norm.mean: the buffer is float32[3], got float32[2,3].\n"
        "  An update keeps shape and dtype: write value.astype(float32) if that is meant.",
    ),
    "a float for a counter": (
        lambda: inside(lambda view, x: setattr(view.norm, "calls", 0.5)),
        fp.StateUpdateError,
        ValueError,
        "norm.calls: the buffer is int32[], got float32[].\n"
        "  An update keeps shape and dtype: write value.astype(int32) if that is meant.",
    ),
    # Keys and modes
    "a missing key": (
        lambda: MODEL.apply_with_state(PARAMS, STATE, X, training=True),
        fp.KeyRequiredError,
        ValueError,
        "drop (Drop) draws random numbers, and no key was given.\n"
        "  Pass one: model.apply_with_state(params, state, x, key=key, training=True), or "
        "model.apply(params, x, key=key, ...).",
    ),
    "a seed for a key": (
        lambda: MODEL.apply(PARAMS, X, state=STATE, key=3),  # pyright: ignore
        fp.KeyArgumentError,
        TypeError,
        "expected one PRNG key, such as jax.random.key(0), got the int 3.\n"
        "  A seed is not a key: write jax.random.key(3).",
    ),
    "a traced mode": (
        lambda: MODEL.bind(PARAMS, STATE, training=1),  # pyright: ignore
        fp.DefinitionTypeError,
        TypeError,
        "Model: training=1 is not a bool. A mode is static; each compiles once:\n"
        '  jax.jit(model.apply, static_argnames="training"), or close over it.',
    ),
    # Selection
    "a name that is nothing": (
        lambda: fp.mask(PARAMS, "layer.wieght"),
        fp.SelectionError,
        KeyError,
        "'layer.wieght' selects nothing; did you mean 'layer.weight'?\n"
        "  The names are layer.bias, layer.weight, norm.scale.",
    ),
    "a type that is nothing": (
        lambda: MODEL.names(Chain),
        fp.SelectionError,
        KeyError,
        "Chain selects nothing\n  The names are layer.weight, layer.bias, norm.scale.",
    ),
    "an update of nothing": (
        lambda: fp.update(PARAMS, {"norm": 1.0}),
        fp.SelectionError,
        KeyError,
        "'norm' selects nothing; 'norm' is a module: write 'norm.**' for all below it\n"
        "  The names are layer.bias, layer.weight, norm.scale.",
    ),
    "a replacement of nothing": (
        lambda: MODEL.replace({"layer.wieght": None}),
        fp.DefinitionNameError,
        KeyError,
        "Model has nothing named 'layer.wieght'; did you mean 'layer.weight'?\n"
        "  replace changes what is there; a new field is assigned in __init__.",
    ),
    # Ties
    "copies that differ": (
        lambda: fp.tie(LANGUAGE, {**WORDS, "head": {"weight": WORDS["wte"]["weight"] + 1}}),
        fp.SharingError,
        ValueError,
        "tie: Language shares these parameters, and their copies differ:\n"
        "  head.weight differs from wte.weight by up to 1 in 15 of 15 entries\n"
        "To mend: make them equal, fp.update(params, {...}), or separate them, fp.untie.",
    ),
}

TRANSFORMS: dict[str, Callable[[Callable[[Any], Any]], Any]] = {
    "scan": lambda f: jax.lax.scan(lambda c, x: (c, f(x)), 0, X),
    "vmap": lambda f: jax.vmap(f)(X),
    "cond": lambda f: jax.lax.cond(X[0, 0] > 0, f, lambda x: x, X),
    "grad": lambda f: jax.grad(lambda x: f(x).sum())(X),
    "checkpoint": lambda f: jax.checkpoint(f)(X),
    "jit": lambda f: jax.jit(f)(X),
}
for _name, _transform in TRANSFORMS.items():
    CASES[f"an update that leaks out of {_name}"] = (
        lambda t=_transform: inside(lambda view, x: t(lambda x: updated(view, x))),
        fp.StateUpdateError,
        ValueError,
        "the update of norm.calls" + LEAK,
    )
    CASES[f"a key inside {_name}"] = (
        lambda t=_transform: inside(lambda view, x: t(lambda x: drawn(view, x)), key=KEY),
        fp.KeyRequiredError,
        ValueError,
        "drop: drawing a key" + LEAK,
    )


@pytest.mark.parametrize("case", CASES)
def test_the_text_of_an_error(case: str) -> None:
    run, error, builtin, text = CASES[case]
    before = jax.tree.map(lambda leaf: leaf.copy(), (PARAMS, STATE, WORDS))
    definition = dict(vars(MODEL)), hash(MODEL), repr(MODEL)
    with pytest.raises(error) as caught:
        run()
    assert str(caught.value) == text
    assert isinstance(caught.value, builtin)
    assert isinstance(caught.value, fp.FuncparamsError)
    assert not getattr(caught.value, "__notes__", None) or "funcparams" not in str(
        caught.value.__notes__
    )
    assert same_arrays(before, (PARAMS, STATE, WORDS))
    assert (dict(vars(MODEL)), hash(MODEL), repr(MODEL)) == definition


def test_after_all_of_these_the_model_still_works() -> None:
    y, state = MODEL.apply_with_state(PARAMS, STATE, X, key=KEY, training=True)
    assert y.shape == X.shape
    assert state["norm"]["calls"] == 1


@pytest.mark.parametrize(
    "cls",
    [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, fp.FuncparamsError)
    ],
)
def test_errors_are_also_the_builtin_ones_and_show_line_breaks(cls: type[Exception]) -> None:
    assert cls.__doc__
    assert str(cls("one\ntwo")) == "one\ntwo"  # KeyError would show its repr
    if cls is not fp.FuncparamsError:
        builtins = {TypeError, ValueError, KeyError, AttributeError}
        assert any(issubclass(cls, builtin) for builtin in builtins)
        public = cls.__name__ in fp.__all__
        assert public or cls is errors.DeclarationAttributeError


def test_the_nearest_name() -> None:
    names = ["layer.weight", "layer.bias", "norm.scale"]
    assert nearest("layer.wieght", names) == "; did you mean 'layer.weight'?"
    assert nearest("zzz", names) == ""
    assert nearest("layer.weight", []) == ""
