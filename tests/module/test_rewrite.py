"""Edits of definitions: replace, with_init, astype, names. What was shared stays shared."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcparams as fp
from funcparams import init
from tests.models import Block, Chain, Language, Linear, nested, normal, ones, twice, zeros
from tests.recipes import build, recipes


def unchanged(model: fp.Module, edit: Any, error: type[Exception], *texts: str) -> None:
    """The edit fails with these texts, and the definition is what it was."""
    before, fields = repr(model), dict(vars(model))
    with pytest.raises(error) as caught:
        edit(model)
    assert isinstance(caught.value, fp.FuncparamsError)
    for text in texts:
        assert text in str(caught.value)
    assert (repr(model), dict(vars(model))) == (before, fields)


# replace


def test_replace_a_hyperparameter() -> None:
    model: Any = Chain(Linear(2, 2), 0.5)
    other: Any = model.replace({"1": 0.25})
    assert (getattr(model, "1"), getattr(other, "1")) == (0.5, 0.25)
    assert getattr(other, "0") is getattr(model, "0")
    assert other.replace({"1": 0.5}) == model
    assert model.replace(count=1).count == 1
    assert model.replace() is model
    assert model.replace({"1": [1, 2]}) == model.replace({"1": (1, 2)})


def test_replace_below() -> None:
    model: Any = Chain(Chain(Linear(2, 2), Linear(2, 3)), Linear(3, 1))
    other: Any = model.replace({"0.1": Linear(2, 4), "1.weight": fp.param((1, 4), ones), "1.i": 4})
    shapes = {name: p.shape for name, p in other.named_parameters()}
    assert shapes["0.1.weight"] == (4, 2)
    assert shapes["1.weight"] == (1, 4)
    assert getattr(other, "1").i == 4
    assert getattr(other, "0") is not getattr(model, "0")
    assert getattr(getattr(other, "0"), "0") is getattr(getattr(model, "0"), "0")


def test_replace_in_containers() -> None:
    model: Any = Chain([Linear(1, 1), {"a": Linear(1, 2)}])
    other = model.replace({"0.1.a": Linear(1, 3), "0.0.bias": None})
    assert [name for name, _ in other.named_parameters()] == [
        *("0.0.weight", "0.1.a.weight", "0.1.a.bias"),
    ]
    assert getattr(other, "0")[1]["a"].o == 3


def test_replace_a_whole_container() -> None:
    model: Any = Chain({"a": Linear(1, 1)}, [1, 2])
    heads = getattr(model, "0")
    renamed = model.replace({"0": fp.FrozenDict({"b": heads["a"]}), "1": [2, 1]})
    assert [name for name, _ in renamed.named_parameters()] == ["0.b.weight", "0.b.bias"]
    assert getattr(renamed, "1") == (2, 1)


def test_replace_a_shared_module_everywhere() -> None:
    model: Any = twice()
    other: Any = model.replace({"2": Linear(2, 2, bias=False)})
    assert getattr(other, "0") is getattr(other, "2")
    assert other.abstract()["2"] == fp.Ref(".0")
    inner: Any = model.replace({"0.weight": fp.param((2, 2), zeros)})
    assert getattr(inner, "0") is getattr(inner, "2")


def test_replace_a_shared_declaration_everywhere() -> None:
    model: Any = nested()
    other: Any = model.replace({"2.head.weight": fp.param((5, 3), zeros)})
    assert other.abstract().keys() == model.abstract().keys()
    assert jax.tree.structure(other.abstract()) == jax.tree.structure(model.abstract())
    assert getattr(other, "1").wte.weight.init == zeros
    assert other != model


def test_replace_by_none_and_by_a_wrapper() -> None:
    model: Any = Chain(Linear(1, 1), Linear(1, 1))
    assert [name for name, _ in model.replace({"0": None}).named_parameters()] == [
        *("1.weight", "1.bias"),
    ]
    wrapped: Any = model.replace({"0": Chain(getattr(model, "0"))})
    assert next(iter(wrapped.named_parameters()))[0] == "0.0.weight"


def test_replace_ties() -> None:
    """The second idiom of sharing."""
    table = Linear(2, 3)
    head = Linear(2, 3, bias=False).replace(weight=table.weight)
    assert Chain(table, head).abstract()["1"] == {"weight": fp.Ref("..0.weight")}


@pytest.mark.parametrize(
    ("changes", "error", "texts"),
    [
        ({"wiegth": 1}, KeyError, ("Linear has nothing named 'wiegth'; did you mean 'weight'?",)),
        (
            {"fresh": 1},
            KeyError,
            ("has nothing named 'fresh'", "a new field is assigned in __init__"),
        ),
        ({"weight.shape": 1}, KeyError, ("has nothing named 'weight.shape'",)),
        ({"": 1}, KeyError, ("has nothing named ''",)),
        ({"weight": 3.0}, TypeError, ("weight is a parameter and cannot become float 3.0",)),
        ({"weight": jnp.ones(2)}, TypeError, ("Linear.weight: got an array of shape (2,)",)),
        (
            {"weight": Linear(1, 1)},
            TypeError,
            ("weight is param((3, 2), ", "cannot become the module"),
        ),
        (
            {"weight": fp.buffer((), zeros)},
            TypeError,
            ("weight is a parameter and cannot become a buffer",),
        ),
        ({"i": {1, 2}}, TypeError, ("Linear.i: set is not hashable",)),
    ],
)
def test_replace_refuses(changes: Any, error: type[Exception], texts: tuple[str, ...]) -> None:
    unchanged(Linear(2, 3), lambda model: model.replace(changes), error, *texts)


def test_replace_refuses_deeper_names_too() -> None:
    model = Chain([Linear(1, 1), 3])
    text = "0.1 stands in a container; replace the whole field '0'."
    unchanged(model, lambda m: m.replace({"0.1": 4}), TypeError, text)
    text = "Chain has nothing named '0.0.wieght'; did you mean '0.0.weight'?"
    unchanged(model, lambda m: m.replace({"0.0.wieght": 4}), KeyError, text)


def test_replace_refuses_changes_that_would_be_lost() -> None:
    model = Chain(Linear(1, 1), [Linear(1, 1)])
    text = "0 and 0.bias: the second would be lost, since the first replaces the whole."
    unchanged(
        model,
        lambda m: m.replace({"0.bias": None, "0": Linear(1, 1)}),
        fp.DefinitionNameError,
        text,
    )
    text = (
        "0 and 2 are one shared thing, and cannot become two: fp.untie(model, params, '2') first."
    )
    unchanged(
        twice(),
        lambda m: m.replace({"0": Linear(1, 1), "2": Linear(1, 1)}),
        fp.DefinitionNameError,
        text,
    )
    same = Linear(1, 1)
    assert twice().replace({"0": same, "2": same}).abstract()["2"] == fp.Ref(".0")


def test_init_does_not_run_again() -> None:
    class Once(fp.Module):
        ran = 0

        def __init__(self) -> None:
            Once.ran += 1
            self.rate = 1

    Once().replace(rate=2)
    assert Once.ran == 1


# with_init


def test_with_init_by_name_type_and_predicate() -> None:
    model: Any = Chain(Linear(2, 2), Block(2), Linear(2, 1))
    other = model.with_init(
        {
            "**.bias": zeros,
            Block: init.constant(3.0),
            (lambda name, p: p.shape == (1, 2)): ones,
            re.compile(r"0\..*"): init.constant(4.0),
        }
    )
    found = {name: p.init for name, p in other.named_parameters()}
    assert found == {
        "0.weight": init.constant(4.0),
        "0.bias": zeros,
        "1.layer.weight": init.constant(3.0),
        "1.layer.bias": zeros,
        "1.norm.scale": init.constant(3.0),
        "2.weight": ones,
        "2.bias": zeros,
    }
    assert next(model.parameters()).init == normal
    assert other.with_init({"**": ones}) == model.with_init({"**": ones})


def test_with_init_keeps_everything_else() -> None:
    class Traits(fp.Module):
        def __init__(self) -> None:
            self.w = fp.param((2,), ones, jnp.bfloat16, axes=("a",), trainable=False)

    declared: Any = Traits().with_init({"w": zeros}).w
    assert declared.traits() == Traits().w.traits()  # pyright: ignore
    assert declared.init is zeros
    for model in (twice(), nested(), Language()):
        other = model.with_init({"**": zeros})
        assert jax.tree.structure(other.abstract()) == jax.tree.structure(model.abstract())
        assert other.with_init({"**.bias": zeros, "**": normal}) == model


@pytest.mark.parametrize(
    ("rules", "error", "texts"),
    [
        ({"0.wieght": ones}, KeyError, ("'0.wieght' selects nothing; did you mean '0.weight'?",)),
        ({"**": ones, "none.*": ones}, KeyError, ("'none.*' selects nothing",)),
        ({"**": init.normal}, TypeError, ("with_init gives 0.weight the initializer <class",)),
        ({"**": 0.0}, TypeError, ("the initializer 0.0: expected a function (key, shape, dtype)",)),
        ({3: ones}, TypeError, ("where=3: expected a glob such as '**.bias'",)),
    ],
)
def test_with_init_refuses(rules: Any, error: type[Exception], texts: tuple[str, ...]) -> None:
    unchanged(Chain(Linear(1, 1)), lambda model: model.with_init(rules), error, *texts)


# astype


def test_astype_changes_floating_declarations() -> None:
    model = Block(2)
    half: Any = model.astype(jnp.float16)
    assert {p.dtype for p in half.parameters()} == {jnp.dtype(jnp.float16)}
    assert [b.dtype.name for b in half.buffers()] == ["int32", "float16"]
    assert half.astype(jnp.float32) == model
    part: Any = model.astype(jnp.bfloat16, "layer.*")
    assert [p.dtype.name for p in part.parameters()] == ["bfloat16", "bfloat16", "float32"]
    tied: Any = nested().astype(jnp.float16)
    assert jax.tree.structure(tied.abstract()) == jax.tree.structure(nested().abstract())


def test_astype_refuses() -> None:
    for dtype, text in ((jnp.int32, "cannot cast to int32"), ("floaty", "expected a dtype")):
        unchanged(Block(2), lambda m, d=dtype: m.astype(d), TypeError, text)
    unchanged(Block(2), lambda m: m.astype(jnp.float16, "x"), KeyError, "'x' selects nothing")


# For any definition


@given(recipes())
def test_edits_keep_the_sharing(recipe: Any) -> None:
    model = build(recipe)
    structure = jax.tree.structure((model.abstract(), model.abstract_state()))
    edits = [model.astype(jnp.float16)]
    if list(model.parameters()):
        edits.append(model.with_init({"**": zeros}))
    for edited in edits:
        assert jax.tree.structure((edited.abstract(), edited.abstract_state())) == structure
        names = [name for name, _ in edited.named_parameters(remove_duplicate=False)]
        assert names == [name for name, _ in model.named_parameters(remove_duplicate=False)]
    assert model == build(recipe)


@given(recipes(min_shared=1), st.randoms(use_true_random=False))
def test_a_thing_replaced_by_a_copy_is_an_equal_definition(recipe: Any, random: Any) -> None:
    model = build(recipe)
    places = dict(model.named_parameters(remove_duplicate=False))
    places |= dict(model.named_modules(remove_duplicate=False))
    del places[""]
    if places:
        name = random.choice(sorted(places))
        thing = places[name]
        copy: Any = thing.copy() if isinstance(thing, fp.Param) else thing.replace()
        assert model.replace({name: copy}) == model
