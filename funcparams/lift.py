"""Managed forms of jax's transforms, for a part of a model inside its own call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

import jax

from funcparams.core import bind as binding
from funcparams.core.declarations import Buffer
from funcparams.core.definition import Definition
from funcparams.core.errors import MismatchError
from funcparams.core.names import Tree, dotted, leaves
from funcparams.core.nodes import Ref
from funcparams.core.walk import owned
from funcparams.module.call import call as run_call


class PureCall(Protocol):
    """A bound child as a pure function: `f(params, state, *args, key=, training=, **kwargs)`."""

    def __call__(
        self,
        params: Tree,
        state: Tree,
        /,
        *args: Any,
        key: jax.Array | None = None,
        training: bool | None = None,
        **kwargs: Any,
    ) -> tuple[Any, Tree]:
        """Return (what the child returns, its new state)."""
        ...


def pure(child: Definition) -> tuple[PureCall, Tree, Tree]:
    """Take a bound child apart into a pure function and its arrays, for any jax transform.

    Args:
        child: A part of a bound view, as `self.block` is inside `__call__`.

    Returns:
        (f, params, state): `f(params, state, *args, key=None, training=None, **kwargs)` gives
        (result, new state). Keys are derived from the `key` given to f and the child's full name;
        the mode is the call's own where None. Put the new state back with
        [`assign_state`][funcparams.assign_state].

    Raises:
        UnboundError: For a definition.

    Example:
        >>> import funcparams as fp, jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> class Rows(fp.Module):
        ...     def __init__(self):
        ...         self.layer = nn.Linear(3, 2)
        ...     def __call__(self, x):
        ...         f, params, state = fp.pure(self.layer)
        ...         y, _ = jax.vmap(f, in_axes=(None, None, 0))(params, state, x)
        ...         return y
        >>> model = Rows()
        >>> model.apply(model.init(jax.random.key(0)), jnp.ones((5, 3))).shape
        (5, 2)
    """
    known = binding.bound(child, "pure")
    mode = known.context.training

    def call(
        params: Tree,
        state: Tree,
        /,
        *args: Any,
        key: jax.Array | None = None,
        training: bool | None = None,
        **kwargs: Any,
    ) -> tuple[Any, Tree]:
        mode_now = mode if training is None else training
        view = binding.bind(known.definition, params, state, key, mode_now, known)
        result = run_call(view, args, kwargs)
        return result, binding.state_of(view)

    return call, binding.params_of(child), binding.state_of(child)


def assign_state(child: Definition, state: Tree) -> None:
    """Put new state on a bound child: the counterpart of [`pure`][funcparams.pure].

    Args:
        child: A part of a bound view, as `self.block` is inside `__call__`.
        state: Its new state, as the function from `pure` returns it.

    Raises:
        UnboundError: For a definition.
        MismatchError: If the state has other names than the child's buffers.
        StateUpdateError: If a shape or dtype differs, or inside a transform begun after bind.

    Example:
        >>> import funcparams as fp, jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> class Scanned(fp.Module):
        ...     def __init__(self):
        ...         self.norm = nn.BatchNorm1d(2)
        ...     def __call__(self, xs):
        ...         f, params, state = fp.pure(self.norm)
        ...         def body(state, x):
        ...             y, state = f(params, state, x)
        ...             return state, y
        ...         state, ys = jax.lax.scan(body, state, xs)
        ...         fp.assign_state(self.norm, state)
        ...         return ys
        >>> model = Scanned()
        >>> params, state = model.init(jax.random.key(0)), model.init_state()
        >>> y, state = model.apply_with_state(params, state, jnp.ones((3, 4, 2)), training=True)
        >>> int(state["norm"]["num_batches_tracked"])
        3
    """
    known = binding.bound(child, "assign_state")
    given = {
        dotted(path): value for path, value in leaves(state) if not isinstance(value, Ref | None)
    }
    buffers = owned(known.definition, Buffer)
    wrong = [f"{name}: missing" for name in buffers if name not in given]
    wrong += [f"{name}: unexpected" for name in given if name not in buffers]
    if wrong:
        raise MismatchError(
            f"state does not fit {known.name}:\n  " + "\n  ".join(wrong) + "\n"
            "To mend: give the state that the function from fp.pure returned."
        )
    old = known.context.values
    changed = [name for name, declared in buffers.items() if given[name] is not old[id(declared)]]
    for name in changed:  # all are checked before the first is set
        binding.fitting(dotted((*known.path, name)), given[name], old[id(buffers[name])])
    for name in changed:
        binding.set_buffer(known, buffers[name], dotted((*known.path, name)), given[name])


def remat(
    child: Definition, *, policy: Callable[..., bool] | None = None, prevent_cse: bool = True
) -> Callable[..., Any]:
    """Give a bound child whose activations are computed again in the backward pass.

    The same as calling the child, buffers and random numbers included, with `jax.checkpoint`
    around it: less memory for more arithmetic.

    Args:
        child: A part of a bound view, as `self.block` is inside `__call__`.
        policy: What may be kept, one of `jax.checkpoint_policies`.
        prevent_cse: As in `jax.checkpoint`; False is safe, and faster, inside `lax.scan`.

    Returns:
        A function with the child's own arguments and result.

    Raises:
        UnboundError: For a definition.

    Example:
        >>> import funcparams as fp, jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> class Net(fp.Module):
        ...     def __init__(self):
        ...         self.block = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        ...     def __call__(self, x):
        ...         return fp.remat(self.block)(x).sum()
        >>> net = Net()
        >>> grads = jax.grad(net.apply)(net.init(jax.random.key(0)), jnp.ones((2, 3)))
        >>> grads["block"]["0"]["weight"].shape
        (3, 3)

    References:
        [jax.checkpoint](https://docs.jax.dev/en/latest/_autosummary/jax.checkpoint.html)
    """
    known = binding.bound(child, "remat")

    def call(*args: Any, **kwargs: Any) -> Any:
        context = known.context
        binding.same_trace(known, f"{known.name}: remat")
        flat, structure = cast("tuple[list[Any], Any]", jax.tree.flatten((args, kwargs)))
        # What is not an array (a flag, a string) stays python; jax.checkpoint takes only arrays.
        dynamic = {i: leaf for i, leaf in enumerate(flat) if hasattr(leaf, "dtype")}
        drawn: dict[str, int] = {}
        updated: list[int] = []  # no tracer may be kept here

        def run(params: Tree, state: Tree, key: jax.Array | None, arrays: dict[int, Any]) -> Any:
            merged = [arrays.get(i, leaf) for i, leaf in enumerate(flat)]
            inner_args, inner_kwargs = jax.tree.unflatten(structure, merged)
            view = binding.bind(
                known.definition, params, state, key, context.training, known, context.counts
            )
            result = run_call(view, inner_args, inner_kwargs)
            context_inside = binding.bound(view, "remat").context
            drawn.update(context_inside.counts)
            updated.extend(context_inside.updated)
            return result, binding.state_of(view)

        checkpointed = cast(Any, jax.checkpoint)(run, policy=policy, prevent_cse=prevent_cse)
        result, state = checkpointed(
            binding.params_of(child), binding.state_of(child), context.key, dynamic
        )
        context.counts.update(drawn)
        if updated:
            assign_state(child, state)
        return result

    return call
