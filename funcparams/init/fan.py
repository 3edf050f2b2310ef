"""What several initializers need: fans, gains, and the checks of their arguments."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

from funcparams.core.errors import DefinitionTypeError, InitializerError, nearest

_GAINS = {
    "linear": 1.0,
    "conv1d": 1.0,
    "conv2d": 1.0,
    "conv3d": 1.0,
    "conv_transpose1d": 1.0,
    "conv_transpose2d": 1.0,
    "conv_transpose3d": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 3 / 4,
}
_MODES = ("fan_in", "fan_out")


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    r"""Return the gain that keeps the variance through a nonlinearity.

    It is 1 for linear, convolutions and sigmoid, 5/3 for tanh, $\sqrt 2$ for relu,
    $\sqrt{2 / (1 + \text{slope}^2)}$ for leaky_relu, and 3/4 for selu.

    Args:
        nonlinearity: The function's name in torch.nn.functional.
        param: The negative slope of leaky_relu, 0.01 where nothing is said; otherwise unused.

    Returns:
        The gain.

    Raises:
        InitializerError: For a name that is not known; a ValueError, as in PyTorch.
        DefinitionTypeError: For a slope that is not a number.

    Example:
        >>> calculate_gain("tanh")
        1.6666666666666667
        >>> round(calculate_gain("leaky_relu", 0.2), 5)
        1.38675

    References:
        [torch.nn.init.calculate_gain](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.calculate_gain)
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else number(param, "calculate_gain(param)")
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        known = ["leaky_relu", *_GAINS]
        raise InitializerError(
            f"Unsupported nonlinearity {nonlinearity!r}{nearest(str(nonlinearity), known)}\n"
            f"  Known are {', '.join(sorted(known))}."
        )
    return _GAINS[nonlinearity]


def fans(
    shape: Sequence[int],
    in_axis: int | tuple[int, ...] = 1,
    out_axis: int | tuple[int, ...] = 0,
) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a weight: the sizes of its two axes times the receptive field.

    The receptive field is the product of all other axes. jax.nn.initializers takes axes -2 and -1
    for in and out instead.

    Args:
        shape: The weight's shape, with two axes or more.
        in_axis: The axis, or axes, of the inputs.
        out_axis: The axis, or axes, of the outputs.

    Returns:
        The two fans.

    Raises:
        InitializerError: For fewer than two axes, or an axis that the shape does not have.

    Example:
        >>> fans((16, 6, 5, 5))
        (150, 400)
        >>> fans((5, 5, 6, 16), in_axis=-2, out_axis=-1)
        (150, 400)

    References:
        [torch.nn.init](https://docs.pytorch.org/docs/stable/nn.init.html)
    """
    shape = tuple(shape)
    if len(shape) < 2:
        raise InitializerError(
            "Fan in and fan out can not be computed for an array with fewer than 2 dimensions, "
            f"got shape {shape}: use init.uniform or init.normal with the bound or std itself"
        )
    try:
        sizes_in = [shape[axis] for axis in _axes(in_axis)]
        sizes_out = [shape[axis] for axis in _axes(out_axis)]
    except IndexError:
        raise InitializerError(
            f"in_axis={in_axis}, out_axis={out_axis}: shape {shape} has no such axis"
        ) from None
    inside, outside = math.prod(sizes_in), math.prod(sizes_out)
    field = math.prod(shape) // max(inside * outside, 1)
    return inside * field, outside * field


def _axes(axis: int | tuple[int, ...]) -> tuple[int, ...]:
    return (axis,) if isinstance(axis, int) else axis


def settle(initializer: Any, **fields: Any) -> None:
    """Set fields of a frozen dataclass while it is being constructed."""
    for name, value in fields.items():
        object.__setattr__(initializer, name, value)


def number(value: Any, what: str, *, least: float = -math.inf, infinite: bool = False) -> float:
    """Return a real number as a float, so that equal initializers are written alike."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise DefinitionTypeError(
            f"{what}: expected a number, got {value!r}, a {type(value).__name__}.\n"
            "  Initializers are values that are compared and hashed: give float(x) for an array."
        )
    result = float(value)
    if math.isnan(result) or (math.isinf(result) and not infinite):
        raise InitializerError(f"{what}: expected a finite number, got {result}")
    if result < least:
        raise InitializerError(f"{what}: expected a number >= {least:g}, but found {result:g}")
    return result


def fan_mode(mode: Any, what: str, modes: tuple[str, ...] = _MODES) -> str:
    """Return a mode in lower case, as PyTorch takes it."""
    lower = mode.lower() if isinstance(mode, str) else mode
    if lower not in modes:
        raise InitializerError(
            f"{what}: Mode {mode!r} not supported, please use one of {list(modes)}"
            f"{nearest(str(mode).lower(), modes)}"
        )
    return lower
