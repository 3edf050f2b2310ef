"""`check_module`: one call that puts a module through everything that should hold of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

import jax

from funcparams.core.definition import Bound, record
from funcparams.core.errors import DefinitionTypeError, SelectionError, nearest
from funcparams.module import Module
from funcparams.testing import abstractly, concretely
from funcparams.testing.compare import brief, refuse_disabled
from funcparams.testing.subject import NotApplicableError, Subject


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that should hold of a module."""

    run: Callable[[Subject], Iterator[str]]
    mend: str
    needs: tuple[str, ...] = ()
    computes: bool = True

    @property
    def says(self) -> str:
        """What holds where it passes."""
        return (self.run.__doc__ or "").partition(": ")[2].partition("\n")[0]


CHECKS: Mapping[str, Check] = {
    "repr": Check(
        abstractly.text_is_stable,
        "give the hyperparameter's class a __repr__ (a dataclass has one), or write extra_repr.",
        computes=False,
    ),
    "equality": Check(
        abstractly.equal_by_value,
        "give the hyperparameter's class __eq__ and __hash__ by value; a frozen dataclass has "
        "them.",
        computes=False,
    ),
    "pickle": Check(
        abstractly.pickles,
        "use functions and classes that can be imported by name, no lambdas and closures: "
        "nn.ReLU() for jax.nn.relu, funcparams.init for jax.nn.initializers.",
        computes=False,
    ),
    "ties": Check(
        abstractly.ties_stay,
        "leave references where init puts them; fp.tie(model, params) turns equal copies into "
        "references.",
        computes=False,
    ),
    "call": Check(
        abstractly.can_be_called,
        "give check_module what model.apply(params, ...) is given; modes by training=.",
        computes=False,
    ),
    "dtypes": Check(
        abstractly.keeps_dtypes,
        "make constants of the input's dtype, jnp.zeros(shape, x.dtype), and convert by astype "
        "where a change is meant.",
        needs=("call",),
        computes=False,
    ),
    "keys": Check(
        abstractly.uses_keys_once,
        "draw each array from a key of its own: self.next_key() again, or jax.random.split.",
        needs=("call",),
        computes=False,
    ),
    "retrace": Check(
        abstractly.traces_once,
        "compare hyperparameters by value; a frozen dataclass does.",
        needs=("call",),
        computes=False,
    ),
    "init": Check(
        concretely.draws_by_its_key,
        "an initializer is a pure function of (key, shape, dtype): random numbers come from the "
        "key alone.",
    ),
    "abstract": Check(
        concretely.is_as_abstract_says,
        "leave init, init_state, abstract and abstract_state as Module has them; other numbers "
        "come from initializers.",
        needs=("init",),
    ),
    "flatten": Check(
        concretely.flattens_and_comes_back,
        "leave the tree that init makes in its form: nested dicts by the components of names.",
        needs=("init",),
    ),
    "state_dict": Check(
        concretely.comes_back_from_state_dict,
        "leave the tree that init makes in its form: nested dicts by the components of names.",
        needs=("init", "abstract"),
    ),
    "pure": Check(
        concretely.is_pure,
        "keep what changes in buffers, draw from self.next_key(), and return what is wanted "
        "outside.",
        needs=("init", "call"),
    ),
    "state": Check(
        concretely.updates_buffers_in_training,
        "assign buffers under `if self.training:` only.",
        needs=("init", "call", "jit"),
    ),
    "jit": Check(
        concretely.compiled_as_eager,
        "compute with jax.numpy, and decide by shapes and hyperparameters or by jnp.where; "
        "rtol= and atol= say what is close.",
        needs=("init", "call"),
    ),
    "vmap": Check(
        concretely.maps_over_params,
        "use operations that have batching rules; jax.pure_callback takes vmap_method.",
        needs=("init", "call", "jit"),
    ),
    "gradients": Check(
        concretely.has_finite_gradients,
        "keep out of the function what has no finite derivative, at both ends of a jnp.where: "
        "jnp.where(ok, jnp.sqrt(jnp.where(ok, x, 1)), 0).",
        needs=("init", "call", "jit"),
    ),
}


@dataclasses.dataclass(frozen=True)
class Report:
    """What `check_module` has found to hold; printed, it is a table.

    Args:
        model: The class of the model.
        passed: The names of the checks that passed.
        not_applicable: The checks that had nothing to look at, and why.
        skipped: The checks that were not asked for.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> from funcparams.testing import check_module
        >>> report = check_module(nn.Linear(3, 2), jnp.ones((4, 3)), checks=("repr", "ties"))
        >>> report.passed, report.not_applicable
        (('repr',), {'ties': 'no parameter is shared'})
    """

    model: str
    passed: tuple[str, ...]
    not_applicable: Mapping[str, str]
    skipped: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.model}: {len(self.passed)} checks passed"]
        for name, check in CHECKS.items():
            if name in self.passed:
                lines.append(f"  {name:<10} {check.says}")
            elif name in self.not_applicable:
                lines.append(f"  {name:<10} not applicable: {self.not_applicable[name]}")
        if self.skipped:
            lines.append(f"  left out: {', '.join(self.skipped)}")
        return "\n".join(lines)


def check_module(
    model: Module,
    *args: Any,
    params: Mapping[str, Any] | None = None,
    state: Mapping[str, Any] | None = None,
    key: jax.Array | None = None,
    training: bool | Iterable[bool] = (False, True),
    method: str = "__call__",
    checks: str | Iterable[str] = "all",
    skip: str | Iterable[str] = (),
    rtol: float | None = None,
    atol: float | None = None,
    **kwargs: Any,
) -> Report:
    """Put a module through everything that should hold of it: a test in one call.

    Every layer of `funcparams.nn` is tested by it. The checks, by name:

    - `repr`: the text is the same for equal definitions, without addresses;
    - `equality`: a copy is equal and has the same hash, and so has each hyperparameter's;
    - `pickle`: it comes back from pickle;
    - `ties`: what is shared is stored once, through `jit`, `vmap`, `tree.map`, copies;
    - `call`: it runs with these arguments, in each mode;
    - `dtypes`: float32 gives float32, and bfloat16 bfloat16, under strict promotion;
    - `keys`: no key is used twice;
    - `retrace`: an equal definition built anew does not trace again;
    - `init`: one key gives the same bits, another key other numbers, all finite;
    - `abstract`: `init` gives the shapes and dtypes that `abstract` says;
    - `flatten`: `fp.flatten` and `fp.unflatten` give the tree back;
    - `state_dict`: `fp.state_dict` and `fp.load_state_dict` give the arrays back;
    - `pure`: the same arguments give the same bits, and no tracer is kept;
    - `state`: buffers keep shape and dtype, and change while training only;
    - `jit`: compiled, it gives what it gives without;
    - `vmap`: mapped over stacked params, each row is the call with its own;
    - `gradients`: derivatives by every floating array are finite.

    Up to `retrace` nothing is computed. Where an argument is a `jax.ShapeDtypeStruct` these are
    all the checks, so models that fit into no memory can be checked, too.

    Args:
        model: The definition.
        *args: What its call takes; arrays are traced, all else is given as it is.
        params: The parameters to call it with; what `init` draws where nothing is said.
        state: The buffers; what `init_state` makes where nothing is said.
        key: The key of `init` and of calls; `jax.random.key(0)` where nothing is said.
        training: The mode, or the modes, that are checked.
        method: Which method is called.
        checks: The names of the checks that are made; `"all"`, or `"abstract"` for those that
            compute nothing.
        skip: The names of checks that are left out.
        rtol: How far apart compiled and mapped results may be, relatively. It goes by the dtypes
            where nothing is said: 1e-4 for float32.
        atol: The like, absolutely.
        **kwargs: Keywords of the call. What has a name above is given by its position.

    Returns:
        What was checked.

    Raises:
        AssertionError: If a check fails. One error lists all that fail, why, and how to mend it.
        SelectionError: If there is no check of a given name.
        DefinitionTypeError: If `model` is no definition.
        ImportError: If chex is not installed: `pip install 'funcparams[testing]'`.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> from funcparams.testing import check_module
        >>> report = check_module(nn.Sequential(nn.Linear(3, 2), nn.Tanh()), jnp.ones((4, 3)))
        >>> print(*report.passed)
        repr equality pickle call dtypes keys retrace init abstract flatten state_dict pure jit vmap
        gradients
    """
    refuse_disabled()
    if not isinstance(cast(Any, model), Module) or isinstance(record(model), Bound):
        is_class = isinstance(cast(Any, model), type)
        came = f"the class {model.__name__}" if is_class else f"{type(model).__name__}"  # pyright: ignore
        raise DefinitionTypeError(
            f"check_module: expected a definition, an instance of a Module, got {came}."
        )
    modes = (training,) if isinstance(training, bool) else tuple(training)
    tolerance = rtol, atol
    subject = Subject(model, args, kwargs, params, state, key, modes, method, tolerance)
    chosen = _chosen(checks, skip)
    passed: list[str] = []
    idle: dict[str, str] = {}
    failed: dict[str, list[str]] = {}
    blocked: dict[str, str] = {}
    first: Exception | None = None
    for name in chosen:
        check = CHECKS[name]
        if missing := next((need for need in check.needs if need in {**failed, **blocked}), None):
            blocked[name] = missing
            continue
        if check.computes and subject.abstract:
            idle[name] = "an argument has a shape and no numbers"
            continue
        problems: list[str] = []
        try:
            problems.extend(check.run(subject))
        except NotApplicableError as error:
            idle[name] = str(error)
            if not problems:
                continue
        except Exception as error:
            first = first or error
            problems.append(brief(error))
        if problems:
            failed[name] = problems
        else:
            passed.append(name)
    if failed:
        raise AssertionError(_told(model, chosen, failed, blocked)) from first
    left = tuple(name for name in CHECKS if name not in chosen)
    return Report(type(model).__name__, tuple(passed), idle, left)


def _chosen(checks: str | Iterable[str], skip: str | Iterable[str]) -> list[str]:
    if checks == "all":
        asked = set(CHECKS)
    elif checks == "abstract":
        asked = {name for name, check in CHECKS.items() if not check.computes}
    else:
        asked = _known("checks", checks)
    left = _known("skip", skip)
    return [name for name in CHECKS if name in asked - left]


def _known(argument: str, names: str | Iterable[str]) -> set[str]:
    given = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in given if name not in CHECKS]
    if unknown:
        raise SelectionError(
            "\n".join(
                f"check_module({argument}=...): there is no check {name!r}{nearest(name, CHECKS)}"
                for name in unknown
            )
            + f"\n  The checks are {', '.join(CHECKS)}."
        )
    return set(given)


def _told(
    model: Module, chosen: list[str], failed: dict[str, list[str]], blocked: dict[str, str]
) -> str:
    """Write the error: every check that failed, why, and how to mend it."""
    lines = [f"{type(model).__name__} fails {len(failed)} of {len(chosen)} checks:"]
    for name, problems in failed.items():
        lines.append(f"\n{name}, expected: {CHECKS[name].says}")
        lines.extend("  - " + problem.replace("\n", "\n    ") for problem in problems)
        lines.append(f"  To mend: {CHECKS[name].mend}")
    lines.append("")
    if blocked:
        reasons = ", ".join(f"{name} (for {need})" for name, need in blocked.items())
        lines.append(f"Not made, since what they need fails: {reasons}.")
    names = ", ".join(map(repr, failed))
    lines.append(f"What is meant to be so is left out by skip=({names},).")
    return "\n".join(lines)
