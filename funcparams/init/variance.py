"""The initializers that jax.nn.initializers adds, under its names and with its formulas.

Two things differ from PyTorch's of the like names: the normal ones are truncated at two standard
deviations, and fans of jax.nn.initializers are those of axes -2 and -1. Here the axes are
PyTorch's, 1 and 0, unless `in_axis` and `out_axis` say otherwise.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, cast

from funcparams.core.errors import DefinitionTypeError, InitializerError, nearest
from funcparams.drawing.draw import Noisy, Recipe
from funcparams.init.fan import fan_mode, fans, number, settle

# The standard deviation of the standard normal distribution cut off at -2 and 2.
_TRUNCATED_STD = 0.87962566103423978
_MODES = ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
_DISTRIBUTIONS = ("truncated_normal", "normal", "uniform")
_Axis = int | tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class variance_scaling(Noisy):
    r"""Draw with mean 0 and variance $scale / n$, where n is a fan or a mean of both.

    Uniform values lie within $\pm\sqrt{3 \cdot scale / n}$. Truncated normal ones lie within two
    standard deviations of a normal distribution that is wide enough to have the variance asked
    for after the cut.

    Args:
        scale: The factor of the variance, not negative.
        mode: `"fan_in"`, `"fan_out"`, `"fan_avg"` or `"fan_geo_avg"`.
        distribution: `"truncated_normal"`, `"normal"` or `"uniform"`.
        in_axis: The axis, or axes, of the inputs; jax.nn.initializers has -2.
        out_axis: The axis, or axes, of the outputs; jax.nn.initializers has -1.

    Raises:
        InitializerError: For an unknown mode or distribution, a negative scale, or when called
            for a shape of fewer than two axes.

    Example:
        >>> import jax
        >>> weight = variance_scaling(2.0, "fan_in", "uniform")(jax.random.key(0), (3, 6))
        >>> bool((abs(weight) <= 1).all())
        True

    References:
        [jax.nn.initializers.variance_scaling](https://docs.jax.dev/en/latest/_autosummary/jax.nn.initializers.variance_scaling.html)
    """

    scale: float
    mode: str
    distribution: str
    in_axis: int | tuple[int, ...] = 1
    out_axis: int | tuple[int, ...] = 0

    def __post_init__(self) -> None:
        settle(
            self,
            scale=number(self.scale, "variance_scaling(scale)", least=0),
            mode=fan_mode(self.mode, "variance_scaling(mode)", _MODES),
            in_axis=_axis(self.in_axis, "variance_scaling(in_axis)"),
            out_axis=_axis(self.out_axis, "variance_scaling(out_axis)"),
        )
        if self.distribution not in _DISTRIBUTIONS:
            raise InitializerError(
                f"variance_scaling(distribution): {self.distribution!r} not supported, please use "
                f"one of {list(_DISTRIBUTIONS)}{nearest(str(self.distribution), _DISTRIBUTIONS)}"
            )

    def recipe(self, shape: tuple[int, ...]) -> Recipe:
        """Scale noise of the distribution by the fan."""
        inside, outside = fans(shape, self.in_axis, self.out_axis)
        fan = {
            "fan_in": inside,
            "fan_out": outside,
            "fan_avg": (inside + outside) / 2,
            "fan_geo_avg": math.sqrt(inside * outside),
        }[self.mode]
        std = math.sqrt(self.scale / fan)
        if self.distribution == "normal":
            return Recipe("normal", std)
        if self.distribution == "uniform":
            bound = math.sqrt(3) * std
            return Recipe("uniform", 2 * bound, -bound, -bound, bound)
        std /= _TRUNCATED_STD
        limit = math.erf(2 / math.sqrt(2))
        return Recipe("truncated", std, 0.0, -2 * std, 2 * std, (-limit, limit))


def _axis(axis: Any, what: str) -> _Axis:
    several = isinstance(axis, tuple | list)
    axes: tuple[Any, ...] = tuple(cast("list[Any]", axis)) if several else (axis,)
    if not axes or not all(type(each) is int for each in axes):
        raise DefinitionTypeError(f"{what}: expected an int or a tuple of them, got {axis!r}")
    return axes if several else axes[0]


@dataclasses.dataclass(frozen=True)
class _Named(Noisy):
    """A variance scaling that has a name of its own."""

    in_axis: int | tuple[int, ...] = 1
    out_axis: int | tuple[int, ...] = 0

    rule: ClassVar[tuple[float, str, str]]

    def __post_init__(self) -> None:
        name = type(self).__name__
        settle(
            self,
            in_axis=_axis(self.in_axis, f"{name}(in_axis)"),
            out_axis=_axis(self.out_axis, f"{name}(out_axis)"),
        )

    def recipe(self, shape: tuple[int, ...]) -> Recipe:
        """Do as variance_scaling does."""
        return variance_scaling(*self.rule, self.in_axis, self.out_axis).recipe(shape)


@dataclasses.dataclass(frozen=True)
class lecun_uniform(_Named):
    r"""Draw from $\mathcal U(-b, b)$ with $b = \sqrt{3 / fan_{in}}$.

    Args:
        in_axis: The axis, or axes, of the inputs; jax.nn.initializers has -2.
        out_axis: The axis, or axes, of the outputs; jax.nn.initializers has -1.

    Raises:
        InitializerError: When called for a shape of fewer than two axes.

    Example:
        >>> import jax
        >>> weight = lecun_uniform()(jax.random.key(0), (5, 3))
        >>> bool((abs(weight) <= 1).all())
        True

    References:
        LeCun et al., Efficient BackProp, 1998;
        [jax.nn.initializers.lecun_uniform](https://docs.jax.dev/en/latest/_autosummary/jax.nn.initializers.lecun_uniform.html)
    """

    rule: ClassVar = (1.0, "fan_in", "uniform")


@dataclasses.dataclass(frozen=True)
class lecun_normal(_Named):
    r"""Draw from a truncated normal distribution of variance $1 / fan_{in}$.

    Args:
        in_axis: The axis, or axes, of the inputs; jax.nn.initializers has -2.
        out_axis: The axis, or axes, of the outputs; jax.nn.initializers has -1.

    Raises:
        InitializerError: When called for a shape of fewer than two axes.

    Example:
        >>> import jax
        >>> lecun_normal()(jax.random.key(0), (5, 3)).shape
        (5, 3)

    References:
        Klambauer et al., [Self-normalizing networks](https://arxiv.org/abs/1706.02515), 2017;
        [jax.nn.initializers.lecun_normal](https://docs.jax.dev/en/latest/_autosummary/jax.nn.initializers.lecun_normal.html)
    """

    rule: ClassVar = (1.0, "fan_in", "truncated_normal")


@dataclasses.dataclass(frozen=True)
class glorot_uniform(_Named):
    r"""Draw from $\mathcal U(-b, b)$ with $b = \sqrt{6 / (fan_{in} + fan_{out})}$.

    The values are those of [`xavier_uniform`][funcparams.init.xavier_uniform] with gain 1.

    Args:
        in_axis: The axis, or axes, of the inputs; jax.nn.initializers has -2.
        out_axis: The axis, or axes, of the outputs; jax.nn.initializers has -1.

    Raises:
        InitializerError: When called for a shape of fewer than two axes.

    Example:
        >>> import jax
        >>> weight = glorot_uniform()(jax.random.key(0), (2, 4))
        >>> bool((abs(weight) <= 1).all())
        True

    References:
        Glorot and Bengio, Understanding the difficulty of training deep feedforward neural
        networks, 2010;
        [jax.nn.initializers.glorot_uniform](https://docs.jax.dev/en/latest/_autosummary/jax.nn.initializers.glorot_uniform.html)
    """

    rule: ClassVar = (1.0, "fan_avg", "uniform")


@dataclasses.dataclass(frozen=True)
class glorot_normal(_Named):
    r"""Draw from a truncated normal distribution of variance $2 / (fan_{in} + fan_{out})$.

    [`xavier_normal`][funcparams.init.xavier_normal] has the same variance and is not truncated.

    Args:
        in_axis: The axis, or axes, of the inputs; jax.nn.initializers has -2.
        out_axis: The axis, or axes, of the outputs; jax.nn.initializers has -1.

    Raises:
        InitializerError: When called for a shape of fewer than two axes.

    Example:
        >>> import jax
        >>> glorot_normal()(jax.random.key(0), (5, 3)).shape
        (5, 3)

    References:
        Glorot and Bengio, Understanding the difficulty of training deep feedforward neural
        networks, 2010;
        [jax.nn.initializers.glorot_normal](https://docs.jax.dev/en/latest/_autosummary/jax.nn.initializers.glorot_normal.html)
    """

    rule: ClassVar = (1.0, "fan_avg", "truncated_normal")


@dataclasses.dataclass(frozen=True)
class he_uniform(_Named):
    r"""Draw from $\mathcal U(-b, b)$ with $b = \sqrt{6 / fan_{in}}$.

    The values are those of [`kaiming_uniform`][funcparams.init.kaiming_uniform] with its defaults.

    Args:
        in_axis: The axis, or axes, of the inputs; jax.nn.initializers has -2.
        out_axis: The axis, or axes, of the outputs; jax.nn.initializers has -1.

    Raises:
        InitializerError: When called for a shape of fewer than two axes.

    Example:
        >>> import jax
        >>> weight = he_uniform()(jax.random.key(0), (2, 6))
        >>> bool((abs(weight) <= 1).all())
        True

    References:
        He et al., [Delving deep into rectifiers](https://arxiv.org/abs/1502.01852), 2015;
        [jax.nn.initializers.he_uniform](https://docs.jax.dev/en/latest/_autosummary/jax.nn.initializers.he_uniform.html)
    """

    rule: ClassVar = (2.0, "fan_in", "uniform")


@dataclasses.dataclass(frozen=True)
class he_normal(_Named):
    r"""Draw from a truncated normal distribution of variance $2 / fan_{in}$.

    [`kaiming_normal`][funcparams.init.kaiming_normal] has the same variance and is not truncated:
    about one weight in 22 of it lies beyond two standard deviations.

    Args:
        in_axis: The axis, or axes, of the inputs; jax.nn.initializers has -2.
        out_axis: The axis, or axes, of the outputs; jax.nn.initializers has -1.

    Raises:
        InitializerError: When called for a shape of fewer than two axes.

    Example:
        >>> import jax
        >>> he_normal()(jax.random.key(0), (5, 3)).shape
        (5, 3)

    References:
        He et al., [Delving deep into rectifiers](https://arxiv.org/abs/1502.01852), 2015;
        [jax.nn.initializers.he_normal](https://docs.jax.dev/en/latest/_autosummary/jax.nn.initializers.he_normal.html)
    """

    rule: ClassVar = (2.0, "fan_in", "truncated_normal")
