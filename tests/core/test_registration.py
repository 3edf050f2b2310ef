"""The rules of assignment beyond PyTorch's: containers, hidden parameters, dataclasses, classes."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar, cast

import jax.numpy as jnp
import pytest

import funcparams as fp
from tests.models import Linear, filled, normal, ones
from tests.registering import built, refused

T = TypeVar("T")


@pytest.mark.parametrize("value", [{1, 2}, bytearray(b"a")])
def test_a_value_that_is_not_hashable(value: Any) -> None:
    refused(
        lambda self: setattr(self, "options", value),
        TypeError,
        f"Model.options: {type(value).__name__} is not hashable, and definitions are compared",
        "Use a tuple, a frozenset, a frozen dataclass, or pass it to the call.",
    )


def test_a_definition_that_contains_itself() -> None:
    refused(
        lambda self: setattr(self, "me", self),
        TypeError,
        "Model.me: Model is still under construction here, so the definition would contain itself.",
    )
    refused(lambda self: setattr(self, "us", [{"me": self}]), TypeError, "Model.us.0.me: Model is")


def test_a_bound_view_as_a_child() -> None:
    child = Linear(1, 1)
    view = child.bind(filled(child))
    refused(
        lambda self: setattr(self, "other", view),
        TypeError,
        "Model.other: got a bound view of Linear, which holds arrays",
        "Assign the definition.",
    )


def test_keys_of_a_dict_with_modules_are_names() -> None:
    for key, error, text in (
        (0, TypeError, "Model.heads: the key 0 is a int; names are strings."),
        ("a.b", KeyError, "Model.heads: the key 'a.b' contains a dot"),
        ("", KeyError, "Model.heads: the key '' is empty"),
    ):
        refused(lambda self, key=key: setattr(self, "heads", {key: Linear(1, 1)}), error, text)
    plain: Any = built(lambda self: setattr(self, "sizes", {0: 1, "a.b": 2}))
    assert plain.sizes[0] == 1  # a hyperparameter's keys name nothing


class Pair(NamedTuple):
    first: Any
    second: Any = None


@dataclasses.dataclass(frozen=True)
class Config:
    layer: Any


@pytest.mark.parametrize(
    "hide",
    [
        lambda thing: functools.partial(max, thing),
        lambda thing: functools.partial(dict, key=[thing]),
        lambda thing: functools.partial(thing, 1),
        lambda thing: Pair(thing),
        lambda thing: Pair(1, (thing,)),
        lambda thing: frozenset([thing]),
        lambda thing: Config(thing),
    ],
)
def test_parameters_cannot_hide_where_the_tree_does_not_look(hide: Callable[[Any], Any]) -> None:
    kind = type(hide(Linear(1, 1))).__name__
    refused(
        lambda self: setattr(self, "hidden", hide(Linear(1, 1))),
        TypeError,
        f"Model.hidden: a {kind} holds a module or a declaration, whose parameters would not be",
        "Assign it as a field of its own, or in a list or dict.",
    )


def test_plain_values_may_stand_in_all_of_these() -> None:
    def construct(self: Any) -> None:
        self.pair = Pair(1, 2)
        self.config = Config((1, 2))
        self.some = frozenset([1])
        self.scale = functools.partial(jnp.multiply, 2.0)
        self.listed = functools.partial(max, [1, 2], key=abs)

    model: Any = built(construct)
    assert model.pair.second == 2
    assert model.scale.args == (2.0,)
    assert model.listed.args == ((1, 2),)  # a list would let a definition change
    assert hash(model) == hash(copy.copy(model))


def test_lists_and_dicts_are_fixed() -> None:
    layers: list[Any] = [Linear(1, 1), [Linear(1, 2)], None, "name"]
    heads = {"cls": Linear(1, 3), "sizes": {"a": 1}}

    def construct(self: Any) -> None:
        self.layers, self.heads = layers, heads

    model: Any = built(construct)
    layers.clear()
    heads.clear()
    assert isinstance(model.layers, tuple)
    assert isinstance(model.layers[1], tuple)
    assert isinstance(model.heads, fp.FrozenDict)
    assert model.heads["sizes"] == {"a": 1}
    names = [name for name, _ in model.named_parameters()]
    assert names[3:] == [
        *("layers.0.weight", "layers.0.bias", "layers.1.0.weight", "layers.1.0.bias"),
        *("heads.cls.weight", "heads.cls.bias"),
    ]
    with pytest.raises(TypeError):
        model.heads["new"] = 1  # pyright: ignore


def test_declarations_in_containers_are_named_too() -> None:
    def construct(self: Any) -> None:
        self.scales = [fp.param((), ones), {"b": fp.param((2,), ones)}]

    model = built(construct)
    names = [name for name, _ in model.named_parameters()]
    assert names == ["weight", "child.weight", "child.bias", "scales.0", "scales.1.b"]
    params = filled(model)
    assert list(params["scales"]) == ["0", "1"]
    bound: Any = model.bind(params, model.init_state())
    assert bound.scales[1]["b"].shape == (2,)


def test_properties_with_a_setter_take_their_value() -> None:
    class Sized(fp.Module):
        def __init__(self) -> None:
            self.size = 3

        @property
        def size(self) -> float:
            return self.half * 2

        @size.setter
        def size(self, value: float) -> None:
            self.half = value / 2

    assert Sized().size == 3
    assert Sized() == Sized()


def test_class_defaults_and_annotations_are_data() -> None:
    class Model(fp.Module):
        rate: float = 0.1
        act: Callable[..., Any] = jnp.tanh
        steps = 3
        free: int

        def __init__(self) -> None:
            self.rate = 0.5
            self.act = jnp.sin
            self.steps = 4
            self.free = 1

    model = Model()
    assert (model.rate, model.act, model.steps, model.free) == (0.5, jnp.sin, 4, 1)


def test_an_annotation_does_not_open_modules_own_names() -> None:
    class Model(fp.Module):
        init: Any

        def __init__(self) -> None:
            self.init = ones

    with pytest.raises(KeyError, match=r"'init' would hide Module\.init"):
        Model()


# Classes


def test_dataclasses_work_without_eq() -> None:
    @dataclasses.dataclass(eq=False, repr=False)
    class Dense(fp.Module):
        i: int
        o: int = 2
        layers: Any = dataclasses.field(default_factory=lambda: [Linear(1, 1)])

        def __post_init__(self) -> None:
            self.weight = fp.param((self.o, self.i), normal)

        def __call__(self, x: Any) -> Any:
            return self.weight @ x

    model = Dense(3)
    assert model == Dense(3)
    assert model != Dense(3, 4)
    assert hash(model) == hash(Dense(3))
    assert [name for name, _ in model.named_parameters()] == [
        *("weight", "layers.0.weight", "layers.0.bias"),
    ]
    assert model.apply(filled(model), jnp.ones(3)).shape == (2,)
    with pytest.raises(fp.SealedError):
        model.i = 4


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "has a __eq__ of its own"),
        ({"frozen": True}, "has a __eq__ of its own"),
        ({"frozen": True, "eq": False}, "has a __setattr__ of its own"),
        ({"unsafe_hash": True, "eq": False}, "has a __hash__ of its own"),
    ],
)
def test_other_dataclasses_are_refused(options: dict[str, Any], text: str) -> None:
    @dataclasses.dataclass(**options)
    class Dense(fp.Module):
        i: int

    with pytest.raises(TypeError) as caught:
        Dense(3)
    assert f"Dense {text}, from Dense." in str(caught.value)
    assert "write @dataclass(eq=False)" in str(caught.value)


def test_slots_are_refused() -> None:
    with pytest.raises(TypeError, match=r"Dense has __slots__(.|\n)*write @dataclass\(eq=False\)"):

        @dataclasses.dataclass(eq=False, slots=True)
        class Dense(fp.Module):  # pyright: ignore[reportUnusedClass]
            i: int


@pytest.mark.parametrize("thing", [fp.param((), ones), fp.buffer((), ones), Linear(1, 1)])
def test_declarations_on_the_class_are_refused(thing: Any) -> None:
    class Model(fp.Module):
        shared = thing

    with pytest.raises(TypeError) as caught:
        Model()
    assert "Model.shared is " in str(caught.value)
    assert "on the class, where all instances would share it." in str(caught.value)
    assert "self.shared = ..." in str(caught.value)

    @dataclasses.dataclass(eq=False)
    class Data(fp.Module):
        shared: Any = thing

    with pytest.raises(TypeError, match=r"write field\(default_factory=\.\.\.\)"):
        Data()


def test_cached_properties_are_harmless() -> None:
    class Heads(fp.Module):
        def __init__(self, width: int, heads: int, use: bool = False):
            self.width, self.heads = width, heads
            if use:
                self.layer = Linear(self.size, 1)
            else:
                self.layer = Linear(width // heads, 1)

        @functools.cached_property
        def size(self) -> int:
            return self.width // self.heads

    model = Heads(6, 2)
    before = hash(model)
    assert model.size == 3
    assert hash(model) == before
    assert model == Heads(6, 2)
    assert model == Heads(6, 2, use=True)  # read in __init__, before sealing
    assert model.replace(heads=3).size == 2
    bound: Any = Heads(6, 2, use=True).bind(filled(model))
    assert bound.size == 3


def test_super_init_is_not_needed_and_not_harmful() -> None:
    class Base(fp.Module):
        def __init__(self, width: int):
            super().__init__()
            self.base = Linear(width, width)

    class Derived(Base):
        def __init__(self) -> None:
            super().__init__(2)
            self.own = fp.param((1,), ones)

    names = [name for name, _ in Derived().named_parameters()]
    assert names == ["own", "base.weight", "base.bias"]


def test_generic_and_abstract_modules() -> None:
    class Wrapper(fp.Module, Generic[T]):
        def __init__(self, inner: T):
            self.inner = inner

    assert Wrapper[Linear](Linear(1, 1)) == Wrapper(Linear(1, 1))


def test_a_failed_constructor_leaves_no_sealed_definition() -> None:
    kept: list[Any] = []

    def construct(self: Any) -> None:
        kept.append(self)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        built(construct)
    kept[0].more = 1  # still under construction: nothing was sealed
    assert kept[0].more == 1


@pytest.mark.parametrize(
    "use",
    [
        lambda self: list(self.modules()),
        lambda self: list(self.named_parameters()),
        lambda self: self.names("**"),
        lambda self: self.replace(weight=None),
        repr,
        hash,
        copy.deepcopy,
    ],
)
def test_a_definition_under_construction_has_no_parts_yet(use: Callable[[Any], Any]) -> None:
    text = "Model is under construction: its parts are known when __init__ is done."
    refused(use, TypeError, text, "Edit the finished definition: model.with_init(...), ")


def test_an_initializer_that_is_not_hashable() -> None:
    @dataclasses.dataclass
    class Mutable:
        scale: float

        def __call__(self, key: Any, shape: Any, dtype: Any) -> Any:
            return jnp.full(shape, self.scale, dtype)

    refused(
        lambda self: setattr(self, "w", fp.param((2,), Mutable(1.0))),
        TypeError,
        "param(init=...): ",
        "Mutable(scale=1.0) is not hashable, and definitions are compared by value.",
        "Use a frozen dataclass, tuples for lists, and init.array(values) for given values.",
    )
    listed: Any = functools.partial(cast(Any, ones), [1])
    refused(lambda self: setattr(self, "w", fp.param((), listed)), TypeError, "is not hashable")
