"""`Module`, the class that users write their definitions with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, overload

import jax

from funcparams.core import bind as binding
from funcparams.core.declarations import Buffer, Param
from funcparams.core.definition import Bound, record, sealed
from funcparams.core.errors import BoundError, DefinitionTypeError, SealedError
from funcparams.core.fingerprint import equal, hash_of
from funcparams.core.registration import assign, seal
from funcparams.drawing import initialise as drawing
from funcparams.module import represent
from funcparams.module.call import call, refuse_clash
from funcparams.module.method import HasCall, ModuleMeta, kept, register, scoped
from funcparams.module.rewrite import Editable, copied
from funcparams.module.traverse import Traversable

P = ParamSpec("P")
R = TypeVar("R")


class Module(Editable, Traversable, metaclass=ModuleMeta):
    """A definition: an immutable, hashable description of a model that holds no arrays.

    Subclass it, declare parameters and children by assignment in `__init__`, and compute in
    `__call__`, where every declaration is an array. After construction the instance is sealed.
    Two are equal if their classes, hyperparameters, declarations, children and sharing are.

    Example:
        >>> import funcparams as fp, jax, jax.numpy as jnp
        >>> from funcparams import init
        >>> class LinearModel(fp.Module):
        ...     def __init__(self, features: int):
        ...         self.features = features
        ...         self.weight = fp.param((features, 1), init.ones())
        ...         self.bias = fp.param((1,), init.constant(0.5))
        ...     def __call__(self, x):
        ...         return x @ self.weight + self.bias
        >>> model = LinearModel(3)
        >>> params = model.init(jax.random.key(0))
        >>> jax.jit(model.apply)(params, jnp.ones((2, 3))).tolist()
        [[3.5], [3.5]]

    References:
        [torch.nn.Module](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html)
    """

    __slots__ = ()

    if TYPE_CHECKING:
        # Every subclass's __call__ has arguments of its own; only Any lets all of them override.
        __call__: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if vars(cls).get("__slots__"):
            raise DefinitionTypeError(
                f"{cls.__name__} has __slots__, and the fields of a definition live in its "
                "__dict__.\n  Leave __slots__ out; with a dataclass, write @dataclass(eq=False)."
            )
        if "__call__" in vars(cls):
            cls.__call__ = scoped(vars(cls)["__call__"])
        register(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        known = record(self)
        if known is None:
            assign(self, name, value)
        elif isinstance(known, Bound):
            binding.assign_buffer(self, name, value)
        else:
            raise SealedError(
                f"{type(self).__name__}.{name}: definitions are sealed after construction.\n"
                f"  Make a changed one: model.replace({name}=...), or further down "
                f'model.replace({{"child.{name}": ...}}).'
            )

    def __delattr__(self, name: str) -> None:
        if record(self) is not None:
            raise SealedError(
                f"{type(self).__name__}.{name}: definitions are sealed after construction.\n"
                f"  Make one without it: model.replace({name}=None)."
            )
        object.__delattr__(self, name)

    def __getstate__(self) -> dict[str, Any]:
        if isinstance(record(self), Bound):
            raise BoundError(
                f"{type(self).__name__}: a bound view lives inside one apply and cannot be copied "
                "or pickled.\n  Pickle the definition, and save params."
            )
        return dict(sealed(self).fields)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        seal(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        self.__getstate__()  # refuses a bound view
        return copied(self, memo)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other) or not isinstance(other, Module):
            return NotImplemented
        if isinstance(record(self), Bound) or isinstance(record(other), Bound):
            return False  # equal views may hold different arrays
        return equal(self, other)

    def __hash__(self) -> int:
        return id(self) if isinstance(record(self), Bound) else hash_of(self)

    def __repr__(self) -> str:
        return represent.represent(self)

    def extra_repr(self) -> str:
        """Give the text between the parentheses of `repr`; override it to show other things.

        Returns:
            The hyperparameters as `name=value`.

        Example:
            >>> from funcparams import nn
            >>> nn.Linear(4, 3).extra_repr()
            'in_features=4, out_features=3, bias=True'
        """
        return represent.extra_repr(self)

    @kept
    def init(self, key: jax.Array) -> dict[str, Any]:
        """Draw the parameters.

        Every parameter draws from a key of its own, derived from `key` and its dotted name; so it
        does not depend on the others. Eagerly and under `jax.jit` the values are the same.

        Args:
            key: A PRNG key, `jax.random.key(seed)`; None will do where nothing is random.

        Returns:
            The parameters: a nested dict of arrays, keyed by the components of their names, with a
            [`Ref`][funcparams.Ref] at every shared place but the owner's.

        Raises:
            KeyArgumentError: If `key` is not one key.
            InitializerError: If an initializer returns another shape or dtype than declared.

        Example:
            >>> import jax
            >>> from funcparams import nn
            >>> jax.tree.map(jax.numpy.shape, nn.Linear(4, 3).init(jax.random.key(0)))
            {'bias': (3,), 'weight': (3, 4)}
        """
        return drawing.initialise(self, Param, key)

    @kept
    def init_state(self, key: jax.Array | None = None) -> dict[str, Any]:
        """Make the buffers, as `init` makes the parameters.

        Args:
            key: A PRNG key; only needed by buffers that start at random.

        Returns:
            The buffers: a nested dict of arrays; empty where the model has none.

        Raises:
            KeyArgumentError: If a buffer draws and no key was given.

        Example:
            >>> from funcparams import nn
            >>> nn.BatchNorm1d(2).init_state()["running_var"].tolist()
            [1.0, 1.0]
        """
        return drawing.initialise(self, Buffer, key)

    @kept
    def abstract(self) -> dict[str, Any]:
        """Give the parameters' shapes and dtypes without tracing or allocating anything.

        Returns:
            The tree that `init` returns, with `jax.ShapeDtypeStruct`s for arrays.

        Example:
            >>> from funcparams import nn
            >>> nn.Linear(4, 3).abstract()["weight"]
            ShapeDtypeStruct(shape=(3, 4), dtype=float32)
        """
        return drawing.abstract(self, Param)

    @kept
    def abstract_state(self) -> dict[str, Any]:
        """Give the buffers' shapes and dtypes, as `abstract` gives the parameters'.

        Returns:
            The tree that `init_state` returns, with `jax.ShapeDtypeStruct`s for arrays.

        Example:
            >>> from funcparams import nn
            >>> nn.BatchNorm1d(2).abstract_state()["running_var"]
            ShapeDtypeStruct(shape=(2,), dtype=float32)
        """
        return drawing.abstract(self, Buffer)

    def bind(
        self,
        params: Mapping[str, Any],
        /,
        state: Mapping[str, Any] | None = None,
        *,
        key: jax.Array | None = None,
        training: bool = False,
    ) -> Self:
        """Make a view of the definition in which declarations are arrays, to call any method of it.

        Args:
            params: The parameters, as `init` returns them; shared places may hold a `Ref`, None or
                nothing.
            state: The buffers, as `init_state` returns them.
            key: The key of this call, for modules that draw.
            training: The mode, `self.training` inside.

        Returns:
            The view: an object of the model's own class. It lives inside the function that made it
            and cannot pass through a jax transform.

        Raises:
            MismatchError: If a tree does not fit; it lists every name that does not.
            BoundError: If this is a view already.

        Example:
            >>> import jax, jax.numpy as jnp
            >>> from funcparams import nn
            >>> model = nn.Linear(2, 1)
            >>> model.bind(model.init(jax.random.key(0)))(jnp.ones((5, 2))).shape
            (5, 1)
        """
        return binding.bind(self, params, state, key, training)

    @overload
    def apply(
        self: HasCall[P, R], params: Mapping[str, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...

    @overload
    def apply(
        self: HasCall[..., R],
        params: Mapping[str, Any],
        /,
        *args: Any,
        state: Mapping[str, Any] | None = None,
        key: jax.Array | None = None,
        training: bool | None = None,
        **kwargs: Any,
    ) -> R: ...

    @kept
    def apply(
        self,
        params: Mapping[str, Any],
        /,
        *args: Any,
        state: Mapping[str, Any] | None = None,
        key: jax.Array | None = None,
        training: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call the model with these parameters: `__call__(*args, **kwargs)` on a bound view.

        It is pure, and one object a definition, equal for equal definitions: `jax.jit(model.apply)`
        written inline traces once.

        Args:
            params: The parameters, as `init` returns them.
            *args: What the model's `__call__` takes.
            state: The buffers, if the model has some.
            key: The key of this call, for modules that draw.
            training: The mode; False where nothing is said. Static under `jax.jit`.
            **kwargs: What the model's `__call__` takes.

        Returns:
            What `__call__` returns.

        Raises:
            MismatchError: If params or state do not fit; it lists every name that does not.
            StateUpdateError: If a buffer was updated, since its new value would be lost.
            DefinitionTypeError: If `__call__` has such a keyword itself: use `bind` then.

        Example:
            >>> import jax, jax.numpy as jnp
            >>> from funcparams import nn
            >>> model = nn.Linear(2, 1)
            >>> params = model.init(jax.random.key(0))
            >>> jax.jit(model.apply)(params, jnp.ones((5, 2))).shape
            (5, 1)
        """
        refuse_clash(self, state=state, key=key, training=training)
        view = binding.bind(self, params, state, key, False if training is None else training)
        result = call(view, args, kwargs)
        binding.refuse_lost_updates(view)
        return result

    @overload
    def apply_with_state(
        self: HasCall[P, R],
        params: Mapping[str, Any],
        state: Mapping[str, Any],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> tuple[R, dict[str, Any]]: ...

    @overload
    def apply_with_state(
        self: HasCall[..., R],
        params: Mapping[str, Any],
        state: Mapping[str, Any],
        /,
        *args: Any,
        key: jax.Array | None = None,
        training: bool | None = None,
        **kwargs: Any,
    ) -> tuple[R, dict[str, Any]]: ...

    @kept
    def apply_with_state(
        self,
        params: Mapping[str, Any],
        state: Mapping[str, Any],
        /,
        *args: Any,
        key: jax.Array | None = None,
        training: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call the model and give its new state too: what a training step needs.

        Args:
            params: The parameters, as `init` returns them.
            state: The buffers, as `init_state` returns them.
            *args: What the model's `__call__` takes.
            key: The key of this call, for modules that draw.
            training: The mode; False where nothing is said. Static under `jax.jit`.
            **kwargs: What the model's `__call__` takes.

        Returns:
            (what `__call__` returns, the new state of the same structure).

        Raises:
            MismatchError: If params or state do not fit; it lists every name that does not.

        Example:
            >>> import jax, jax.numpy as jnp
            >>> from funcparams import nn
            >>> model = nn.BatchNorm1d(1)
            >>> params, state = model.init(jax.random.key(0)), model.init_state()
            >>> x = jnp.array([[1.0], [2.0], [3.0], [6.0]])
            >>> y, state = model.apply_with_state(params, state, x, training=True)
            >>> print(state["running_mean"])
            [0.3]
        """
        refuse_clash(self, key=key, training=training)
        view = binding.bind(self, params, state, key, False if training is None else training)
        result = call(view, args, kwargs)
        return result, binding.state_of(view)

    @property
    def training(self) -> bool:
        """The mode of this call: True while training. Only a bound view has one."""
        return binding.bound(self, "self.training").context.training

    def next_key(self) -> jax.Array:
        """Give a fresh key, derived from the call's key, this module's name and a count.

        Returns:
            A PRNG key that nothing else in this call gets.

        Raises:
            UnboundError: On a definition.
            KeyRequiredError: If the call was given no key, or inside a transform begun after bind.

        Example:
            >>> import funcparams as fp, jax
            >>> class Noise(fp.Module):
            ...     def __call__(self, x):
            ...         return x + jax.random.normal(self.next_key(), x.shape)
            >>> Noise().apply({}, jax.numpy.ones(3), key=jax.random.key(0)).shape
            (3,)
        """
        return binding.next_key(self)
