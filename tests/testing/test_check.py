"""check_module: each check fails on a module made wrong for it, and on no other."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcparams as fp
from funcparams import init, nn, testing
from funcparams.testing.check import CHECKS
from tests.models import GPT, Block, Counter, Drop, Language, Linear, nested

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
ABSTRACT = ("repr", "equality", "pickle", "ties", "call", "dtypes", "keys", "retrace")


def failed(model: Any, *args: Any, **options: Any) -> dict[str, str]:
    """The text of each check that fails, by its name."""
    with pytest.raises(AssertionError) as caught:
        testing.check_module(model, *args, **options)
    parts = re.split(r"^(\w+), expected: ", str(caught.value), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def only(check: str, model: Any, *args: Any, **options: Any) -> str:
    """The text of the one check that fails."""
    found = failed(model, *args, **options)
    assert list(found) == [check], found
    return found[check]


# What holds


def test_a_module_of_everything_passes() -> None:
    report = testing.check_module(Block(), X)
    assert set(report.passed) == set(CHECKS) - {"ties"}
    assert report.not_applicable == {"ties": "no parameter is shared"}
    assert report.skipped == ()


@pytest.mark.parametrize(
    ("model", "x"),
    [(Language(), np.array([0, 2])), (nested(), np.array([0, 2]))],
    ids=["Language", "nested"],
)
def test_what_is_shared_passes(model: Any, x: Any) -> None:
    if not isinstance(model, Language):
        # A table cannot be called with what another returns: only its abstract part is of use.
        report = testing.check_module(model, x, checks=("repr", "equality", "pickle", "ties"))
        assert report.passed == ("repr", "equality", "pickle", "ties")
        return
    assert "ties" in testing.check_module(model, x).passed


def test_a_model_of_layers_passes_but_for_what_jax_promotes() -> None:
    ids = np.array([[1, 2, 3]])
    text = only("dtypes", GPT(), ids, checks="abstract", training=False)
    assert "In funcparams module blocks.0.attn (Attention), called with bfloat16[1,3,8]" in text
    assert "y = jax.nn.dot_product_attention(q, k, v, is_causal=True)" in text
    report = testing.check_module(GPT(), ids, checks="abstract", skip="dtypes")
    assert {"repr", "equality", "ties", "call", "retrace"} <= set(report.passed)


# What does not hold: one wrong module for each check


class Opaque:
    """Equal by value, and without a text of its own."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque)

    def __hash__(self) -> int:
        return 1


class ByIdentity:
    """As most classes are."""

    def __repr__(self) -> str:
        return "ByIdentity()"


class Holder(fp.Module):
    """Multiplies, and holds a hyperparameter."""

    def __init__(self, held: Any = None) -> None:
        self.held = held
        self.scale = fp.param((3,), init.ones())

    def __call__(self, x: Any) -> Any:
        return x * self.scale


def test_repr_with_an_address() -> None:
    text = only("repr", Holder(Opaque()), X)
    assert "an address stands in it: Holder(held=<tests.testing.test_check.Opaque object at" in text
    assert "To mend: give the hyperparameter's class a __repr__" in text


class Restless(Holder):
    """Shows how often it was shown."""

    shown = 0

    def extra_repr(self) -> str:
        Restless.shown += 1
        return str(Restless.shown)


def test_repr_that_changes() -> None:
    text = only("repr", Restless(), X, checks="repr")
    assert "copy.deepcopy(model) is written 'Restless(2)', the model 'Restless(1)'" in text


def test_a_hyperparameter_that_is_compared_by_identity() -> None:
    found = failed(Holder(ByIdentity()), X)
    assert list(found) == ["equality", "pickle", "retrace"]
    assert "held: a ByIdentity is not equal to its copy: ByIdentity()" in found["equality"]
    assert "a frozen dataclass has them" in found["equality"]
    assert "pickle.loads(pickle.dumps(model)) is not equal to the model" in found["pickle"]
    assert "held: ByIdentity() comes back as ByIdentity()" in found["pickle"]
    assert (
        "with pickle.loads(pickle.dumps(model)) and the new state: call is traced"
        in (found["retrace"])
    )
    assert "model: Holder(held=ByIdentity()), before one of the same text" in found["retrace"]


def test_copies_that_are_not_equal() -> None:
    class Unlike(Holder):
        def __deepcopy__(self, memo: Any) -> Any:
            return self.replace(held=2)

    found = failed(Unlike(1), X, checks=("equality", "retrace", "repr"))
    assert "copy.deepcopy(model) is not equal to the model" in found["equality"]
    assert "copy.deepcopy(model) is written 'Unlike(held=2)', the model" in found["repr"]
    assert "training=False, with copy.deepcopy(model) and the new state" in found["retrace"]
    assert "model: Unlike(held=2), before Unlike(held=1)" in found["retrace"]


def test_a_function_that_has_no_name() -> None:
    text = only("pickle", nn.Sequential(nn.Linear(3, 2), lambda x: x * 2), X)
    assert "lambda" in text
    assert "use functions and classes that can be imported by name, no lambdas" in text


def test_local_classes_are_not_pickled() -> None:
    class Local(Holder):
        pass

    report = testing.check_module(Local(), X, checks=("pickle", "retrace"))
    assert report.passed == ("retrace",)
    assert "these are local: " in report.not_applicable["pickle"]
    assert "<locals>.Local" in report.not_applicable["pickle"]


class Untied(Language):
    """Draws the head's copy for itself."""

    def init(self, key: Any) -> Any:
        params = super().init(key)
        return {**params, "head": {"weight": params["wte"]["weight"] + 0}}


def test_ties_that_init_breaks() -> None:
    text = failed(Untied(), np.array([0, 1]))["ties"]
    assert "model.init(key): Untied shares 1 parameter that params do not:" in text
    assert "head.weight: shared with wte.weight, and float32[5,3] stands there" in text


def test_ties_that_given_params_break() -> None:
    model = Language()
    params = model.init(jax.random.key(0))
    found = failed(model, np.array([0]), params={**params, "head": params["wte"]})
    assert list(found) == ["ties", "call"]
    assert "the params of the call: Language shares 1 parameter" in found["ties"]


class Failing(Holder):
    """Fails while training."""

    def __call__(self, x: Any) -> Any:
        if self.training:
            raise RuntimeError("not while training")
        return super().__call__(x)


def test_a_call_that_fails_is_reported_once() -> None:
    with pytest.raises(AssertionError) as caught:
        testing.check_module(Failing(), X)
    text = str(caught.value)
    assert "Failing fails 1 of 17 checks:" in text
    assert "call, expected: it runs with these arguments, in each mode" in text
    assert "- training=True: RuntimeError: not while training" in text
    assert "In funcparams module Failing (Failing), called with float32[4,3]" in text
    assert 'raise RuntimeError("not while training")' in text
    assert "Not made, since what they need fails: dtypes (for call), keys (for call)" in text
    assert "skip=('call',)" in text
    assert testing.check_module(Failing(), X, training=False).passed


class Promoting(Holder):
    """Has a constant of its own dtype."""

    def __call__(self, x: Any) -> Any:
        return x * self.scale + np.ones(3, np.float32)


class Widening(Holder):
    """Always returns float32."""

    def __call__(self, x: Any) -> Any:
        y = x * self.scale
        return {"wide": y.astype(jnp.float32), "y": y}


def test_dtypes_that_are_promoted() -> None:
    text = only("dtypes", Promoting(), X)
    assert "bfloat16, training=False: TypePromotionError" in text
    assert "bfloat16, training=True: TypePromotionError" in text
    assert "float32, training" not in text.replace("bfloat16, training", "")
    text = only("dtypes", Widening(), X)
    assert "bfloat16, training=False: output wide is float32" in text
    assert "output y" not in text


class Reusing(fp.Module):
    """Draws twice from one key, while training."""

    def __call__(self, x: Any) -> Any:
        if not self.training:
            return x
        key = self.next_key()
        noise = jax.random.normal(key, x.shape, x.dtype)
        return x + noise * jax.random.uniform(key, x.shape, x.dtype)


def twice(key: Any, shape: Any, dtype: Any = jnp.float32) -> Any:
    return jax.random.normal(key, shape, dtype) + jax.random.uniform(key, shape, dtype)


class Declared(fp.Module):
    """Has a parameter of some initializer."""

    def __init__(self, initializer: Any) -> None:
        self.weight = fp.param((3,), initializer)

    def __call__(self, x: Any) -> Any:
        return x * self.weight


def test_keys_that_are_used_twice() -> None:
    text = only("keys", nn.Sequential(Reusing()), X)
    assert "training=True: KeyReuseError" in text
    assert "training=False" not in text
    assert "draw each array from a key of its own: self.next_key() again" in text
    text = only("keys", Declared(twice), X)
    assert "weight, drawn by <function twice at" in text
    assert "KeyReuseError" in text


def impure(key: Any, shape: Any, dtype: Any = jnp.float32) -> Any:
    return jnp.asarray(np.random.standard_normal(shape), dtype)


class Deaf(init.normal):
    """Draws from a key of its own."""

    def __call__(self, key: Any, shape: Any, dtype: Any = jnp.float32) -> Any:
        return super().__call__(jax.random.key(1), shape, dtype)


class Seeded(Declared):
    """Draws from always the same key."""

    def init(self, key: Any) -> Any:
        return super().init(jax.random.key(7))


def test_parameters_that_do_not_come_from_the_key() -> None:
    text = failed(Declared(impure), X)["init"]
    assert "gives other numbers for the same key: it: Mismatched elements: 3 / 3 (100%)" in text
    text = only("init", Seeded(init.normal()), X)
    assert "weight: normal(mean=0.0, std=1.0) draws the same numbers from another key" in text
    text = failed(Declared(init.constant(float("nan"))), X)["init"]
    assert "model.init(key): weight: 3 of 3 numbers are NaN or infinite" in text


class Unlike(Holder):
    """Says that it is larger than it is."""

    def abstract(self) -> Any:
        return {"scale": jax.ShapeDtypeStruct((4,), jnp.bfloat16)}


def test_shapes_that_are_not_as_said() -> None:
    found = failed(Unlike(), X, params=Holder().init(None))
    assert list(found) == ["abstract"]
    expected = "model.init(key) and model.abstract(): scale: float32[3] and bfloat16[4]"
    assert expected in found["abstract"]


class Additional(Holder):
    """Draws what is not declared."""

    def init(self, key: Any) -> Any:
        return {**super().init(key), "more": jnp.ones(1)}


def test_parameters_that_are_not_declared() -> None:
    found = failed(Additional(), X, params=Holder().init(None))
    assert "params: more stands in what init draws only" in found["flatten"]
    assert "the structures differ" in found["abstract"]


class Forgetful(Holder):
    """Draws a table of another type than a dict."""

    def init(self, key: Any) -> Any:
        return types.MappingProxyType(super().init(key))


def test_params_that_do_not_come_back_as_they_went_out() -> None:
    found = failed(Forgetful(), X, checks=("flatten", "state_dict"), params=Holder().init(None))
    assert (
        "params: fp.load_state_dict gives another tree than went out: the structures differ"
        in (found["state_dict"])
    )
    assert "params: fp.unflatten gives another tree" in found["flatten"]


class Counting(Holder):
    """Keeps a count outside of the call."""

    calls = 0

    def __call__(self, x: Any) -> Any:
        Counting.calls += 1
        return x * self.scale + Counting.calls


def test_calls_that_are_not_pure() -> None:
    found = failed(Counting(), X)
    assert (
        "training=False: a second call with the same arguments differs in the output:"
        in (found["pure"])
    )
    assert set(found) <= {"pure", "jit", "vmap"}


LEAKING = """
import jax.numpy as jnp
import funcparams as fp
from funcparams import init, testing

class Leaking(fp.Module):
    kept = {}

    def __init__(self):
        self.scale = fp.param((3,), init.ones())

    def __call__(self, x):
        Leaking.kept["y"] = x * self.scale
        return Leaking.kept["y"]

testing.check_module(Leaking(), jnp.ones((2, 3)), checks="pure init call".split())
"""


def test_calls_that_leak() -> None:
    # In a process of its own: JAX looks through all objects that there are.
    done = subprocess.run([sys.executable, "-c", LEAKING], capture_output=True, text=True)
    assert "Leaking fails 1 of 3 checks:" in done.stderr
    assert "training=False: something outside of the call keeps a tracer of it" in done.stderr


class Updating(Counter):
    """Counts in every mode."""

    def __call__(self, x: Any) -> Any:
        self.calls = self.calls + 1
        return super().__call__(x)


def test_buffers_that_change_in_inference() -> None:
    text = only("state", Updating(), X)
    assert "calls: updated in a call with training=False" in text
    assert "- mean" not in text
    assert "assign buffers under `if self.training:` only" in text


class Otherwise(Holder):
    """Computes something else when it is compiled."""

    def __call__(self, x: Any) -> Any:
        return x * self.scale * (2 if isinstance(x, jax.core.Tracer) else 1)


def test_what_compiles_to_something_else() -> None:
    text = only("jit", Otherwise(), X)
    assert "training=False: compiled and not, it differs in the output: Mismatched" in text
    assert "training=True" in text


@jax.custom_batching.custom_vmap
def doubled(x: Any) -> Any:
    return 2 * x


@doubled.def_vmap
def _(axis_size: int, in_batched: Any, x: Any) -> Any:
    return 3 * x, in_batched[0]


class Batched(Holder):
    """Has a batching rule that is wrong."""

    def __call__(self, x: Any) -> Any:
        return doubled(jax.lax.stop_gradient(x * self.scale)) + x * self.scale


class Unbatched(Holder):
    """Has no batching rule."""

    def __call__(self, x: Any) -> Any:
        y = x * self.scale
        shape = jax.ShapeDtypeStruct(y.shape, y.dtype)
        return y + jax.pure_callback(lambda a: np.asarray(a), shape, jax.lax.stop_gradient(y))


def test_what_cannot_be_mapped() -> None:
    text = only("vmap", Batched(), X)
    assert "row 0, mapped and alone, differs in the output: Mismatched elements" in text
    text = only("vmap", Unbatched(), X)
    assert "vmap_method" in text


class Rooted(Holder):
    """Has an infinite derivative at zero."""

    def __call__(self, x: Any) -> Any:
        y = x * self.scale
        return jnp.where(y > 0, jnp.sqrt(y), 0).sum(-1)


def test_gradients_that_are_not_finite() -> None:
    text = only("gradients", Rooted(), np.abs(X) * [0, 1, 1])
    assert "gradient by scale: 1 of 3 numbers are NaN or infinite" in text
    assert "gradient by args[0]: 4 of 12 numbers are NaN or infinite" in text
    assert "jnp.where(ok, jnp.sqrt(jnp.where(ok, x, 1)), 0)" in text


# One error for all of it, and what is checked


class Bad(Promoting):
    """Wrong in several ways."""

    def extra_repr(self) -> str:
        return repr(object())


def test_one_error_lists_all_that_fails() -> None:
    with pytest.raises(AssertionError) as caught:
        testing.check_module(Bad(), X, checks=("repr", "dtypes", "call"), training=False)
    text = re.sub(r" at .*?(?=\n)| at 0x\w+", " at ...", str(caught.value))
    lines = text.splitlines()
    assert lines[0] == "Bad fails 2 of 3 checks:"
    assert lines[2] == (
        "repr, expected: a text that is the same for equal definitions, in every process."
    )
    assert "\ndtypes, expected: float32 gives float32 and bfloat16 bfloat16, " in text
    assert lines[-1] == "What is meant to be so is left out by skip=('repr', 'dtypes',)."


def test_what_is_skipped_is_not_checked() -> None:
    report = testing.check_module(Bad(), X, skip=("repr", "dtypes"))
    assert report.skipped == ("repr", "dtypes")
    assert testing.check_module(Bad(), X, checks="call").passed == ("call",)


def test_a_check_that_does_not_exist() -> None:
    with pytest.raises(fp.SelectionError) as caught:
        testing.check_module(Holder(), X, skip=("vmp", "jit", "grads"))
    assert str(caught.value) == (
        "check_module(skip=...): there is no check 'vmp'; did you mean 'vmap'?\n"
        "check_module(skip=...): there is no check 'grads'; did you mean 'gradients'?\n"
        f"  The checks are {', '.join(CHECKS)}."
    )
    with pytest.raises(fp.SelectionError, match=r"checks=\.\.\.\): there is no check 'everything'"):
        testing.check_module(Holder(), X, checks="everything")


def test_what_is_no_definition() -> None:
    text = "check_module: expected a definition, an instance of a Module, got "
    with pytest.raises(fp.DefinitionTypeError, match=f"{text}the class Holder"):
        testing.check_module(Holder, X)
    with pytest.raises(fp.DefinitionTypeError, match=f"{text}dict"):
        testing.check_module({}, X)  # pyright: ignore
    with pytest.raises(fp.DefinitionTypeError, match=f"{text}Holder"):
        testing.check_module(Holder().bind({"scale": jnp.ones(3)}), X)


def test_the_report_is_a_table() -> None:
    report = testing.check_module(Drop(), X, checks=("repr", "keys", "ties"))
    lines = str(report).splitlines()
    assert lines[0] == "Drop: 2 checks passed"
    assert lines[1].startswith("  repr       a text that is the same")
    assert lines[2] == "  ties       not applicable: no parameter is shared"
    assert lines[3].startswith("  keys       no key is used twice")
    assert lines[4].startswith("  left out: equality, pickle, call")


# What it is given


def test_shapes_alone_are_checked_without_computing() -> None:
    huge = nn.Linear(1 << 20, 1 << 20)
    report = testing.check_module(huge, jax.ShapeDtypeStruct((8, 1 << 20), jnp.float32))
    assert set(report.passed) == set(ABSTRACT) - {"ties"}
    assert report.not_applicable["jit"] == "an argument has a shape and no numbers"


class Everything(fp.Module):
    """Takes arguments of every kind."""

    def encode(self, x: Any, *, mask: Any, twice: bool, names: tuple[str, ...], key: Any) -> Any:
        assert names == ("a",)
        x = x * 2 if twice else x
        return x * mask.astype(x.dtype) + jax.random.normal(key, x.shape, x.dtype)


def test_arguments_of_every_kind() -> None:
    options = {"mask": np.array([1, 0, 1]), "twice": True, "names": ("a",)}

    class Encoder(Everything):
        def __call__(self, x: Any, noise: Any, **options: Any) -> Any:
            return self.encode(x, key=noise, **options)

    report = testing.check_module(Encoder(), X, jax.random.key(1), **options)
    assert {"jit", "vmap", "gradients"} <= set(report.passed)


def test_another_method_is_called() -> None:
    class Shifted(Holder):
        def shift(self, x: Any) -> Any:
            return x + self.scale + float("nan")

    assert testing.check_module(Shifted(), X).passed
    text = only("gradients", Shifted(), X, method="shift")
    assert "the output itself: 12 of 12 numbers are NaN or infinite" in text


def test_a_raw_key_and_given_state() -> None:
    model = Counter()
    state = {"calls": np.int32(3), "mean": np.ones(3, np.float32)}
    report = testing.check_module(model, X, key=jax.random.PRNGKey(0), state=state)
    assert "state" in report.passed


def test_tolerances_are_those_given() -> None:
    class Rough(Holder):
        def __call__(self, x: Any) -> Any:
            return x * self.scale * (1.01 if isinstance(x, jax.core.Tracer) else 1)

    assert list(failed(Rough(), X)) == ["jit"]
    assert testing.check_module(Rough(), X, rtol=0.1).passed
    # Half precision is rough by itself.
    assert testing.check_module(Rough().astype("bfloat16"), jnp.asarray(X, "bfloat16")).passed


def test_integers_only() -> None:
    class Rank(fp.Module):
        def __call__(self, ids: Any) -> Any:
            return ids.argsort()

    report = testing.check_module(Rank(), np.array([2, 0, 1]))
    assert report.not_applicable["gradients"] == ("there is no floating array to differentiate by")
    assert "vmap" in report.not_applicable


def test_complex_numbers() -> None:
    class Phase(fp.Module):
        def __init__(self) -> None:
            self.phase = fp.param((3,), init.normal(), jnp.complex64)

        def __call__(self, x: Any) -> Any:
            return self.phase * x

    report = testing.check_module(Phase(), X.astype(np.complex64))
    assert {"dtypes", "jit", "vmap", "gradients"} <= set(report.passed)


# What it stands on


def test_without_chex_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from funcparams.testing import compare

    compare.chex.cache_clear()
    monkeypatch.setitem(sys.modules, "chex", None)
    with pytest.raises(ImportError, match=r"pip install 'funcparams\[testing\]'"):
        testing.check_module(Linear(3, 2), X)


def test_disabled_assertions_are_not_taken_for_success() -> None:
    chex.disable_asserts()
    try:
        with pytest.raises(RuntimeError, match=r"call chex\.enable_asserts\(\) first"):
            testing.check_module(Linear(3, 2), X)
    finally:
        chex.enable_asserts()


def test_the_docstring_lists_every_check() -> None:
    listed = re.findall(r"^- `(\w+)`:", testing.check_module.__doc__ or "", re.MULTILINE)
    indented = re.findall(r"^    - `(\w+)`:", testing.check_module.__doc__ or "", re.MULTILINE)
    assert (listed or indented) == list(CHECKS)
