"""Registration by assignment: every rule, with PyTorch's error class and the library's own text."""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcparams as fp
from tests.models import Chain, Counter, Linear, filled, ones, zeros
from tests.registering import built, refused

T = TypeVar("T")


# The table of behaviour.md


def test_a_name_that_is_no_string() -> None:
    with pytest.raises(TypeError, match="attribute name must be string"):
        built(lambda self: setattr(self, 3, fp.param((), ones)))  # pyright: ignore

    def by_the_back_door(self: Any) -> None:
        vars(self)[3] = 1

    text = r"Model: the field name 3 is a int; names are strings"
    with pytest.raises(TypeError, match=text):
        built(by_the_back_door)


def test_a_name_with_a_dot() -> None:
    refused(
        lambda self: setattr(self, "a.b", fp.param((), ones)),
        KeyError,
        "Model: the field name 'a.b' contains a dot, which separates the components",
        "Write 'a_b', or nest modules.",
    )


def test_an_empty_name() -> None:
    refused(
        lambda self: setattr(self, "", 1),
        KeyError,
        "Model: the field name '' is empty: it would name nothing in params.",
    )


@pytest.mark.parametrize(
    ("name", "owner", "what"),
    [
        ("forward", "Model", "a method or descriptor"),
        ("width", "Model", "a property"),
        ("apply", "Module", "a method or descriptor"),
        ("init", "Module", "a method or descriptor"),
        ("training", "Module", "a property"),
        ("named_parameters", "Traversable", "a method or descriptor"),
        ("replace", "Editable", "a method or descriptor"),
        ("_record", "Definition", "a method or descriptor"),
        ("__class__", "object", "a method or descriptor"),
    ],
)
def test_a_name_that_would_hide_something(name: str, owner: str, what: str) -> None:
    refused(
        lambda self: setattr(self, name, fp.param((), ones)),
        KeyError,
        f"Model: the field name {name!r} would hide {owner}.{name}, {what} of the class.",
        f"Choose another name, for instance '{name}_'.",
    )


def test_none_keeps_a_parameter_absent() -> None:
    model = Linear(2, 3, bias=False)
    assert model.bias is None
    assert [name for name, _ in model.named_parameters()] == ["weight"]
    assert list(model.abstract()) == ["weight"]
    assert model.apply(filled(model), jnp.ones(2)).shape == (3,)
    late = built(lambda self: setattr(self, "weight", None))
    assert [name for name, _ in late.named_parameters()] == ["child.weight", "child.bias"]


@pytest.mark.parametrize("array", [np.ones((2, 3)), jnp.ones((2, 3))])
@pytest.mark.parametrize("name", ["weight", "mean", "child", "fresh"])
def test_a_plain_array(name: str, array: Any) -> None:
    refused(
        lambda self: setattr(self, name, array),
        TypeError,
        f"Model.{name}: got an array of shape (2, 3), and a definition holds no arrays.",
        "fp.param(shape, init) if it is learnt, fp.buffer(init=init.array(values)) if it is not;",
        "or pass it to the call, or compute it in __call__.",
    )


def test_an_array_in_a_container_is_named() -> None:
    refused(
        lambda self: setattr(self, "tables", {"a": [1, np.ones(2)]}),
        TypeError,
        "Model.tables.a.1: got an array of shape (2,)",
    )


def test_an_array_of_another_library() -> None:
    class Tensor:
        shape = (4,)

        def __array__(self) -> Any:
            return np.ones(4)

    refused(lambda self: setattr(self, "table", Tensor()), TypeError, "an array of shape (4,)")


def test_an_array_computed_from_a_parameter() -> None:
    refused(
        lambda self: setattr(self, "double", self.weight * 2),
        ValueError,
        "Model.weight is declared as param((2,), ",
        "Compute with it in __call__, where `self.<name>` is an array, or use a parametrization",
    )


def test_an_array_computed_under_a_transform() -> None:
    def construct(x: Any) -> Any:
        refused(
            lambda self: setattr(self, "table", x * 2),
            ValueError,
            "Model.table: got ",
            "an array computed under a jax transform. A definition holds no arrays.",
            "Compute it in __call__, or use a parametrization.",
        )
        return x

    jax.eval_shape(construct, 1.0)


@pytest.mark.parametrize(
    ("name", "value", "texts"),
    [
        ("weight", 3.0, ("weight is a parameter and cannot become float 3.0",)),
        ("weight", Linear(1, 1), ("weight is a parameter and cannot become the module Linear",)),
        ("weight", fp.buffer((), zeros), ("is a parameter and cannot become a buffer",)),
        ("weight", [1], ("is a parameter and cannot become tuple (1,)",)),
        ("child", fp.param((), ones), ("child is a child module and cannot become a parameter",)),
        ("child", "text", ("child is a child module and cannot become str 'text'",)),
        ("mean", 0.5, ("mean is a buffer and cannot become float 0.5",)),
        ("mean", fp.param((), ones), ("mean is a buffer and cannot become a parameter",)),
    ],
)
def test_a_declared_name_keeps_its_kind(name: str, value: Any, texts: tuple[str, ...]) -> None:
    mend = f"or `del self.{name}` first if the name is to mean another thing."
    refused(lambda self: setattr(self, name, value), TypeError, *texts, mend)


def test_the_same_kind_or_none_may_replace() -> None:
    def construct(self: Any) -> None:
        self.weight = fp.param((3,), ones)
        self.mean = None
        self.child = Counter()
        del self.mean
        self.mean = "a string now"

    model: Any = built(construct)
    assert model.weight.shape == (3,)
    assert model.mean == "a string now"
    assert isinstance(model.child, Counter)


def test_assignment_after_construction() -> None:
    model: Any = Chain(Linear(1, 1))
    before = dict(vars(model))
    for name in ("count", "0", "fresh"):
        with pytest.raises(AttributeError) as caught:
            setattr(model, name, 1)
        assert isinstance(caught.value, fp.SealedError)
        assert f"Chain.{name}: definitions are sealed after construction." in str(caught.value)
        assert f"model.replace({name}=...)" in str(caught.value)
        assert 'model.replace({"child.' in str(caught.value)
    with pytest.raises(fp.SealedError, match=r"Chain\.count: definitions are sealed.*\n.*=None"):
        del model.count
    assert vars(model) == before
