"""Initializers: frozen values that are called as `(key, shape, dtype) -> Array`.

They have the names, arguments and formulas of torch.nn.init, and fans as PyTorch's layout has them:
`fan_in = shape[1] * receptive field`, `fan_out = shape[0] * receptive field`. What
jax.nn.initializers adds is here too, under its own names. Initializers are equal by value, their
repr evaluates to them, and any function of the same signature can stand in their place.

Example:
    >>> import jax
    >>> from funcparams import init
    >>> init.normal(std=0.02)
    normal(mean=0.0, std=0.02)
    >>> init.normal(std=0.02) == init.normal(0, 0.02)
    True
    >>> init.normal(std=0.02)(jax.random.key(0), (3, 4)).shape
    (3, 4)

References:
    [torch.nn.init](https://docs.pytorch.org/docs/stable/nn.init.html),
    [jax.nn.initializers](https://docs.jax.dev/en/latest/jax.nn.initializers.html)
"""

from funcparams.init.fan import calculate_gain, fans
from funcparams.init.fixed import array, constant, dirac, eye, ones, zeros
from funcparams.init.noise import (
    kaiming_normal,
    kaiming_uniform,
    normal,
    trunc_normal,
    uniform,
    xavier_normal,
    xavier_uniform,
)
from funcparams.init.structured import delta_orthogonal, orthogonal, sparse
from funcparams.init.variance import (
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
    variance_scaling,
)

__all__ = [
    "array",
    "calculate_gain",
    "constant",
    "delta_orthogonal",
    "dirac",
    "eye",
    "fans",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "sparse",
    "trunc_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]
