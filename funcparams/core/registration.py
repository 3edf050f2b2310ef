"""The rules of assignment: what a definition may hold, under which names."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import jax
import numpy as np

from funcparams.core.declarations import Buffer, Declaration, Param
from funcparams.core.definition import Bound, Definition, FrozenDict, Sealed, has_members, record
from funcparams.core.errors import (
    DeclarationUseError,
    DefinitionNameError,
    DefinitionTypeError,
)
from funcparams.core.trace import Tracer

_SCALARS: tuple[type, ...] = (
    type(None),
    str,
    int,
    float,
    complex,
    bytes,
    type,
    np.generic,
    np.dtype,
)


def assign(module: Definition, name: str, value: Any) -> None:
    """Register a field on a definition under construction, or refuse it; nothing changes then."""
    cls = type(module)
    if not check_name(cls, name):  # a property with a setter takes it
        object.__setattr__(module, name, value)
        return
    value = settle(value, f"{cls.__name__}.{name}")
    _check_kind(f"{cls.__name__}.{name}", vars(module).get(name), value)
    vars(module)[name] = value


def seal(module: Definition) -> None:
    """Check every rule again over the fields of a finished instance, and fix them."""
    cls = type(module)
    _check_class(cls)
    fields: dict[str, Any] = {}
    for name, value in vars(module).items():
        if _is_computed(cls, name):
            continue  # from the fields, and again wherever it is missed
        check_name(cls, name)
        fields[name] = settle(value, f"{cls.__name__}.{name}")
    vars(module).update(fields)
    declared = tuple((k, v) for k, v in fields.items() if isinstance(v, Declaration))
    children = tuple(
        (k, v) for k, v in fields.items() if not isinstance(v, Declaration) and has_members(v)
    )
    object.__setattr__(module, "_record", Sealed(fields, declared, children))


@functools.lru_cache(maxsize=4096)  # the search takes longer than all the rest of sealing
def _is_computed(cls: type[Definition], name: str) -> bool:
    return isinstance(inspect.getattr_static(cls, name, None), functools.cached_property)


@functools.lru_cache(maxsize=4096)
def check_name(cls: type[Definition], name: str) -> bool:
    """Refuse a name that cannot be a field; False where a property's setter takes the value."""
    label = f"{cls.__name__}: the field name {name!r}"
    check_component(name, label)
    known = inspect.getattr_static(cls, name, None)
    owner = next((base for base in cls.__mro__ if name in vars(base)), cls)
    if known is None or (not _is_ours(owner) and _is_annotated(cls, name)):
        return True  # new, or a default of the class
    if isinstance(known, property) and known.fset is not None:
        return False
    if callable(known) or hasattr(cast(Any, type(known)), "__get__") or owner is Definition:
        raise DefinitionNameError(
            f"{label} would hide {owner.__name__}.{name}, a "
            f"{'property' if isinstance(known, property) else 'method or descriptor'} of the "
            f"class.\n  Choose another name, for instance {name + '_'!r}."
        )
    return True


def _is_annotated(cls: type[Definition], name: str) -> bool:
    """Tell whether a class of the user's own annotates the name, which makes it data."""
    return any(name in inspect.get_annotations(base) for base in cls.__mro__ if not _is_ours(base))


def _is_ours(cls: type) -> bool:
    """Tell whether a class is `Module` or one of its bases."""
    return cls.__module__.startswith(("funcparams.core.", "funcparams.module."))


def check_component(name: Any, label: str) -> None:
    """Refuse what cannot be one component of a dotted name."""
    if not isinstance(name, str):
        raise DefinitionTypeError(f"{label} is a {type(name).__name__}; names are strings.")
    if not name:
        raise DefinitionNameError(f"{label} is empty: it would name nothing in params.")
    if "." in name:
        raise DefinitionNameError(
            f"{label} contains a dot, which separates the components of dotted names.\n"
            f"  Write {name.replace('.', '_')!r}, or nest modules."
        )


def settle(value: Any, label: str) -> Any:
    """Give a value the form in which a definition holds it, or refuse it."""
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, Declaration):
        if not value.label:
            value.label.append(label)
        return value
    if isinstance(value, Definition):
        return _settle_module(value, label)
    if isinstance(value, list) or type(value) is tuple:  # pyright: ignore[reportUnknownArgumentType]
        items = cast("Sequence[Any]", value)
        return tuple(settle(item, f"{label}.{index}") for index, item in enumerate(items))
    if isinstance(value, Mapping):
        return _settle_mapping(cast("Mapping[Any, Any]", value), label)
    if isinstance(value, functools.partial):
        bound = cast("functools.partial[Any]", value)
        parts = [settle(v, label) for v in (bound.func, *bound.args, *bound.keywords.values())]
        _refuse_hidden(bound, parts, label)
        given = 1 + len(bound.args)
        keywords = dict(zip(bound.keywords, parts[given:], strict=True))
        return type(bound)(*parts[:given], **keywords)
    _refuse_array(value, label)
    if isinstance(cast(object, value), tuple | frozenset):
        _refuse_hidden(value, value, label)
    elif hasattr(value, "__dataclass_fields__"):
        _refuse_hidden(value, getattr(value, "__dict__", {}).values(), label)
    try:
        hash(value)
    except TypeError as error:
        raise DefinitionTypeError(
            f"{label}: {type(value).__name__} is not hashable, and definitions are compared by "
            "value.\n  Use a tuple, a frozenset, a frozen dataclass, or pass it to the call."
        ) from error
    return value


def _settle_module(value: Definition, label: str) -> Definition:
    known = record(value)
    if known is None:
        raise DefinitionTypeError(
            f"{label}: {type(value).__name__} is still under construction here, so the definition "
            "would contain itself. Pass what the child needs as an argument instead."
        )
    if isinstance(known, Bound):
        raise DefinitionTypeError(
            f"{label}: got a bound view of {type(value).__name__}, which holds arrays and lives "
            "inside one apply only. Assign the definition."
        )
    return value


def _settle_mapping(value: Mapping[Any, Any], label: str) -> FrozenDict[Any]:
    items = {key: settle(item, f"{label}.{key}") for key, item in value.items()}
    if any(has_members(item) for item in items.values()):
        for key in items:
            check_component(key, f"{label}: the key {key!r}")
    return FrozenDict(items)


def _refuse_hidden(holder: Any, parts: Iterable[Any], label: str) -> None:
    """Refuse parameters where the tree of params has no place for them."""
    if any(has_members(part) for part in parts):
        raise DefinitionTypeError(
            f"{label}: a {type(holder).__name__} holds a module or a declaration, whose parameters "
            "would not be found there.\n  Assign it as a field of its own, or in a list or dict."
        )


def _refuse_array(value: Any, label: str) -> None:
    if isinstance(value, Tracer):
        raise DeclarationUseError(
            f"{label}: got {value}, an array computed under a jax transform. A definition holds "
            "no arrays.\n  Compute it in __call__, or use a parametrization."
        )
    is_array = isinstance(value, np.ndarray | jax.Array) or (
        hasattr(cast(Any, type(value)), "__array__") and hasattr(value, "shape")
    )
    if is_array:
        shape = tuple(cast(Any, value).shape)
        raise DefinitionTypeError(
            f"{label}: got an array of shape {shape}, and a definition holds no "
            "arrays.\n  Declare it: fp.param(shape, init) if it is learnt, "
            "fp.buffer(init=init.array(values)) if it is not;\n"
            "  or pass it to the call, or compute it in __call__."
        )


def _check_kind(label: str, old: Any, new: Any) -> None:
    """Keep a declared name what it is: only None or the same kind may replace it."""
    for kind, wording, mend in (
        (Param, "a parameter", "another fp.param(...) or None"),
        (Buffer, "a buffer", "another fp.buffer(...) or None"),
        (Definition, "a child module", "another module or None"),
    ):
        if isinstance(old, kind) and new is not None and not isinstance(new, kind):
            field = label.rpartition(".")[2]
            raise DefinitionTypeError(
                f"{label} is {wording} and cannot become {_kind(new)}.\n  Assign {mend}; "
                f"or `del self.{field}` first if the name is to mean another thing."
            )


def _kind(value: Any) -> str:
    if isinstance(value, Declaration):
        return "a parameter" if isinstance(value, Param) else "a buffer"
    if isinstance(value, Definition):
        return f"the module {type(value).__name__}"
    return f"{type(value).__name__} {value!r}"


@functools.lru_cache(maxsize=4096)
def _check_class(cls: type[Definition]) -> None:
    """Refuse a class that overrides how definitions are compared, or declares what all share."""
    for base in cls.__mro__:
        for name, value in vars(base).items():
            if isinstance(value, Declaration | Definition):
                raise DefinitionTypeError(
                    f"{base.__name__}.{name} is {_kind(value)} on the class, where all instances "
                    "would share it.\n  Assign it in __init__: "
                    f"self.{name} = ...; in a dataclass, write field(default_factory=...)."
                )
    for method, advice in (
        ("__eq__", "Definitions are equal by value already: write @dataclass(eq=False)"),
        ("__hash__", "Definitions are hashed by value already: write @dataclass(eq=False)"),
        ("__setattr__", "Definitions are sealed already: write @dataclass(eq=False), not frozen"),
    ):
        owner = next(base for base in cls.__mro__ if method in vars(base))
        if owner.__module__ != "funcparams.module.module":
            raise DefinitionTypeError(
                f"{cls.__name__} has a {method} of its own, from {owner.__name__}.\n"
                f"  {advice}, or remove the method."
            )
