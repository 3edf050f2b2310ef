"""Initializers whose values are independent: uniform, normal, and the two families of fans."""

from __future__ import annotations

import dataclasses
import math

from funcparams.core.errors import InitializerError
from funcparams.drawing.draw import Noisy, Recipe
from funcparams.init.fan import calculate_gain, fan_mode, fans, number, settle

_FAR = 12.0  # Further out, probabilities underflow float32.


@dataclasses.dataclass(frozen=True)
class uniform(Noisy):
    r"""Draw from the uniform distribution $\mathcal U(a, b)$.

    The defaults are PyTorch's. `jax.nn.initializers.uniform(scale)` is $\mathcal U(0, scale)$,
    with scale 0.01 by default.

    Args:
        a: The lower bound.
        b: The upper bound, not below `a`.

    Raises:
        InitializerError: If a > b.

    Example:
        >>> import jax
        >>> weight = uniform(-0.5, 0.5)(jax.random.key(0), (100,))
        >>> bool((abs(weight) <= 0.5).all())
        True

    References:
        [torch.nn.init.uniform_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.uniform_)
    """

    a: float = 0.0
    b: float = 1.0

    def __post_init__(self) -> None:
        settle(self, a=number(self.a, "uniform(a)"), b=number(self.b, "uniform(b)"))
        if self.a > self.b:
            raise InitializerError(
                f"uniform expects to draw from [a, b], but found a={self.a:g} > b={self.b:g}"
            )

    def recipe(self, shape: tuple[int, ...]) -> Recipe:
        """Scale uniform noise."""
        return _uniform(self.a, self.b)


@dataclasses.dataclass(frozen=True)
class normal(Noisy):
    r"""Draw from the normal distribution $\mathcal N(mean, std^2)$.

    For a complex dtype the real and the imaginary part have the variance $std^2 / 2$ each.

    Args:
        mean: The mean.
        std: The standard deviation, not negative.

    Raises:
        InitializerError: If std < 0.

    Example:
        >>> import jax
        >>> weight = normal(std=0.02)(jax.random.key(0), (1000,))
        >>> 0.018 < float(weight.std()) < 0.022
        True

    References:
        [torch.nn.init.normal_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.normal_)
    """

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        settle(
            self,
            mean=number(self.mean, "normal(mean)"),
            std=number(self.std, "normal(std)", least=0),
        )

    def recipe(self, shape: tuple[int, ...]) -> Recipe:
        """Scale normal noise."""
        return Recipe("normal", self.std, self.mean)


@dataclasses.dataclass(frozen=True)
class trunc_normal(Noisy):
    r"""Draw from the normal distribution $\mathcal N(mean, std^2)$, cut off outside [a, b].

    `a` and `b` are values, as in PyTorch. The `lower` and `upper` of
    `jax.nn.initializers.truncated_normal` count in standard deviations instead.

    Args:
        mean: The mean before the cut.
        std: The standard deviation before the cut, not negative.
        a: The least value; may be -inf.
        b: The greatest value; may be inf.

    Raises:
        InitializerError: If std < 0, if a > b, or if [a, b] is so far from the mean that float32
            cannot tell its probability from 0.

    Example:
        >>> import jax
        >>> weight = trunc_normal(std=0.02, a=-0.04, b=0.04)(jax.random.key(0), (1000,))
        >>> bool((abs(weight) <= 0.04).all())
        True

    References:
        [torch.nn.init.trunc_normal_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.trunc_normal_)
    """

    mean: float = 0.0
    std: float = 1.0
    a: float = -2.0
    b: float = 2.0

    def __post_init__(self) -> None:
        settle(
            self,
            mean=number(self.mean, "trunc_normal(mean)"),
            std=number(self.std, "trunc_normal(std)", least=0),
            a=number(self.a, "trunc_normal(a)", infinite=True),
            b=number(self.b, "trunc_normal(b)", infinite=True),
        )
        if self.a > self.b:
            raise InitializerError(
                f"trunc_normal expects to draw from [a, b], but found a={self.a:g} > b={self.b:g}"
            )
        distance = max(self.a - self.mean, self.mean - self.b)
        if distance > _FAR * self.std and self.std > 0:
            raise InitializerError(
                f"trunc_normal: mean is more than {_FAR:g} std from [a, b] = [{self.a:g}, "
                f"{self.b:g}], where float32 has no probabilities left.\n"
                "  a and b are values, not multiples of std."
            )

    def recipe(self, shape: tuple[int, ...]) -> Recipe:
        """Map uniform noise between the two probabilities."""
        mean, std, a, b = self.mean, self.std, self.a, self.b
        if std == 0:
            return Recipe("normal", 0.0, mean, a, b)
        low, high = (a - mean) / std, (b - mean) / std
        if low > 1 or high < -1:
            # erf rounds to 1 in a tail, where the distribution function still has all its digits;
            # it has them on the left side only, so the right one is drawn mirrored.
            sign = -1.0 if low > 1 else 1.0
            ends = sorted((sign * low, sign * high))
            limits = tuple(math.erfc(-end / math.sqrt(2)) / 2 for end in ends)
            return Recipe("tail", sign * std, mean, a, b, (limits[0], limits[1]))
        limits = (math.erf(low / math.sqrt(2)), math.erf(high / math.sqrt(2)))
        return Recipe("truncated", std, mean, a, b, limits)


@dataclasses.dataclass(frozen=True)
class xavier_uniform(Noisy):
    r"""Draw from $\mathcal U(-b, b)$ with $b = gain \sqrt{6 / (fan_{in} + fan_{out})}$.

    Args:
        gain: A factor, not negative, often from `calculate_gain`.

    Raises:
        InitializerError: When called for a shape of fewer than two axes.

    Example:
        >>> import jax
        >>> xavier_uniform()(jax.random.key(0), (3, 5)).shape
        (3, 5)

    References:
        Glorot and Bengio, Understanding the difficulty of training deep feedforward neural
        networks, 2010;
        [torch.nn.init.xavier_uniform_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.xavier_uniform_)
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        settle(self, gain=number(self.gain, "xavier_uniform(gain)", least=0))

    def recipe(self, shape: tuple[int, ...]) -> Recipe:
        """Scale uniform noise by both fans."""
        bound = self.gain * math.sqrt(6 / sum(fans(shape)))
        return _uniform(-bound, bound)


@dataclasses.dataclass(frozen=True)
class xavier_normal(Noisy):
    r"""Draw from $\mathcal N(0, std^2)$ with $std = gain \sqrt{2 / (fan_{in} + fan_{out})}$.

    It is not truncated; `jax.nn.initializers.glorot_normal` is: see
    [`glorot_normal`][funcparams.init.glorot_normal].

    Args:
        gain: A factor, not negative, often from `calculate_gain`.

    Raises:
        InitializerError: When called for a shape of fewer than two axes.

    Example:
        >>> import jax
        >>> xavier_normal(gain=calculate_gain("tanh"))(jax.random.key(0), (3, 5)).shape
        (3, 5)

    References:
        Glorot and Bengio, Understanding the difficulty of training deep feedforward neural
        networks, 2010;
        [torch.nn.init.xavier_normal_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.xavier_normal_)
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        settle(self, gain=number(self.gain, "xavier_normal(gain)", least=0))

    def recipe(self, shape: tuple[int, ...]) -> Recipe:
        """Scale normal noise by both fans."""
        return Recipe("normal", self.gain * math.sqrt(2 / sum(fans(shape))))


@dataclasses.dataclass(frozen=True)
class _Kaiming(Noisy):
    a: float = 0.0
    mode: str = "fan_in"
    nonlinearity: str = "leaky_relu"

    def __post_init__(self) -> None:
        name = type(self).__name__
        settle(self, a=number(self.a, f"{name}(a)"), mode=fan_mode(self.mode, f"{name}(mode)"))
        calculate_gain(self.nonlinearity, self.a)

    def _std(self, shape: tuple[int, ...]) -> float:
        fan = fans(shape)[0 if self.mode == "fan_in" else 1]
        return calculate_gain(self.nonlinearity, self.a) / math.sqrt(fan)


@dataclasses.dataclass(frozen=True)
class kaiming_uniform(_Kaiming):
    r"""Draw from $\mathcal U(-b, b)$ with $b = gain \sqrt{3 / fan}$.

    Args:
        a: The negative slope, for leaky_relu.
        mode: `"fan_in"` keeps the variance forward, `"fan_out"` backward.
        nonlinearity: The name that `calculate_gain` takes.

    Raises:
        InitializerError: For an unknown mode or nonlinearity, or when called for a shape of fewer
            than two axes.

    Example:
        >>> import jax
        >>> kaiming_uniform(mode="fan_out", nonlinearity="relu")(jax.random.key(0), (3, 5)).shape
        (3, 5)

    References:
        He et al., [Delving deep into rectifiers](https://arxiv.org/abs/1502.01852), 2015;
        [torch.nn.init.kaiming_uniform_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.kaiming_uniform_)
    """

    def recipe(self, shape: tuple[int, ...]) -> Recipe:
        """Scale uniform noise by one fan."""
        bound = math.sqrt(3) * self._std(shape)
        return _uniform(-bound, bound)


@dataclasses.dataclass(frozen=True)
class kaiming_normal(_Kaiming):
    r"""Draw from $\mathcal N(0, std^2)$ with $std = gain / \sqrt{fan}$.

    It is not truncated; `jax.nn.initializers.he_normal` is: see
    [`he_normal`][funcparams.init.he_normal].

    Args:
        a: The negative slope, for leaky_relu.
        mode: `"fan_in"` keeps the variance forward, `"fan_out"` backward.
        nonlinearity: The name that `calculate_gain` takes.

    Raises:
        InitializerError: For an unknown mode or nonlinearity, or when called for a shape of fewer
            than two axes.

    Example:
        >>> import jax
        >>> kaiming_normal(nonlinearity="relu")(jax.random.key(0), (16, 3, 3, 3)).shape
        (16, 3, 3, 3)

    References:
        He et al., [Delving deep into rectifiers](https://arxiv.org/abs/1502.01852), 2015;
        [torch.nn.init.kaiming_normal_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.kaiming_normal_)
    """

    def recipe(self, shape: tuple[int, ...]) -> Recipe:
        """Scale normal noise by one fan."""
        return Recipe("normal", self._std(shape))


def _uniform(a: float, b: float) -> Recipe:
    return Recipe("uniform", b - a, a, a, b)
