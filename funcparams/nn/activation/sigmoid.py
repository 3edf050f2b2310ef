"""Activations made of exponentials, and the pieces that stand in for them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from funcparams.module import Module
from funcparams.nn.activation.rectifier import clamp
from funcparams.nn.checks import ArgumentError, choice, floating, number


class Sigmoid(Module):
    r"""$\sigma(x) = 1 / (1 + e^{-x})$, entry by entry.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.Sigmoid().apply({}, jnp.array([0.0, 100.0])).tolist()
        [0.5, 1.0]

    References:
        [torch.nn.Sigmoid](https://docs.pytorch.org/docs/stable/generated/torch.nn.Sigmoid.html)
    """

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        return jax.nn.sigmoid(floating(self, x))


class LogSigmoid(Module):
    r"""$\log \sigma(x) = -\log(1 + e^{-x})$, entry by entry, exact far out on either side.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.LogSigmoid().apply({}, jnp.array([-1000.0, 1000.0])).tolist()
        [-1000.0, -0.0]

    References:
        [torch.nn.LogSigmoid](https://docs.pytorch.org/docs/stable/generated/torch.nn.LogSigmoid.html)
    """

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        return jax.nn.log_sigmoid(floating(self, x))


class Hardsigmoid(Module):
    r"""$\min(\max(x + 3, 0), 6) / 6$: a sigmoid of three straight pieces.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.Hardsigmoid().apply({}, jnp.array([-3.0, 0.0, 3.0])).tolist()
        [0.0, 0.5, 1.0]

    References:
        [torch.nn.Hardsigmoid](https://docs.pytorch.org/docs/stable/generated/torch.nn.Hardsigmoid.html)
    """

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        return clamp(floating(self, x) + 3, 0, 6) / 6


class SiLU(Module):
    r"""$x\, \sigma(x)$, entry by entry; also called swish.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.SiLU().apply({}, jnp.array([0.0, 100.0])).tolist()
        [0.0, 100.0]

    References:
        [torch.nn.SiLU](https://docs.pytorch.org/docs/stable/generated/torch.nn.SiLU.html)
    """

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        return jax.nn.silu(floating(self, x))


class Hardswish(Module):
    r"""$x \min(\max(x + 3, 0), 6) / 6$: SiLU with a sigmoid of straight pieces.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.Hardswish().apply({}, jnp.array([-3.0, 1.5, 3.0])).tolist()
        [-0.0, 1.125, 3.0]

    References:
        Howard et al., [Searching for MobileNetV3](https://arxiv.org/abs/1905.02244), 2019;
        [torch.nn.Hardswish](https://docs.pytorch.org/docs/stable/generated/torch.nn.Hardswish.html)
    """

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        x = floating(self, x)
        return x * clamp(x + 3, 0, 6) / 6


class Mish(Module):
    r"""$x \tanh(\log(1 + e^x))$, entry by entry.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.Mish().apply({}, jnp.array([0.0, 100.0])).tolist()
        [0.0, 100.0]

    References:
        Misra, [Mish](https://arxiv.org/abs/1908.08681), 2019;
        [torch.nn.Mish](https://docs.pytorch.org/docs/stable/generated/torch.nn.Mish.html)
    """

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        return jax.nn.mish(floating(self, x))


class GELU(Module):
    r"""$x\, \Phi(x)$ with the normal distribution function $\Phi$, entry by entry.

    Args:
        approximate: "none", or "tanh" for
            $\frac x 2 (1 + \tanh(\sqrt{2 / \pi} (x + 0.044715 x^3)))$.

    Raises:
        ArgumentError: For any other word.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.GELU().apply({}, jnp.array([0.0, 100.0])).tolist()
        [0.0, 100.0]

    References:
        Hendrycks and Gimpel, [Gaussian error linear units](https://arxiv.org/abs/1606.08415), 2016;
        [torch.nn.GELU](https://docs.pytorch.org/docs/stable/generated/torch.nn.GELU.html)
    """

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = choice(approximate, ("none", "tanh"), "GELU", "approximate")

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        return jax.nn.gelu(floating(self, x), approximate=self.approximate == "tanh")


class Tanh(Module):
    r"""$\tanh x$, entry by entry.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.Tanh().apply({}, jnp.array([0.0, 100.0])).tolist()
        [0.0, 1.0]

    References:
        [torch.nn.Tanh](https://docs.pytorch.org/docs/stable/generated/torch.nn.Tanh.html)
    """

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        return jnp.tanh(floating(self, x))


class Tanhshrink(Module):
    r"""$x - \tanh x$, entry by entry.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.Tanhshrink().apply({}, jnp.array([0.0, 100.0])).tolist()
        [0.0, 99.0]

    References:
        [torch.nn.Tanhshrink](https://docs.pytorch.org/docs/stable/generated/torch.nn.Tanhshrink.html)
    """

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        x = floating(self, x)
        return x - jnp.tanh(x)


class Softplus(Module):
    r"""$\frac 1 \beta \log(1 + e^{\beta x})$, entry by entry; x itself where $\beta x$ is large.

    Args:
        beta: $\beta$, not 0.
        threshold: Where $\beta x$ is above it, the result is x.

    Raises:
        ArgumentError: If beta is 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> print(nn.Softplus().apply({}, jnp.array([0.0, 100.0])).round(4))
        [  0.6931 100.    ]

    References:
        [torch.nn.Softplus](https://docs.pytorch.org/docs/stable/generated/torch.nn.Softplus.html)
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta = number(beta, "Softplus", "beta")
        self.threshold = number(threshold, "Softplus", "threshold")
        if beta == 0:
            raise ArgumentError("Softplus(beta=0): beta cannot be 0, since it divides.")

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        x = floating(self, x)
        steep = x * self.beta
        return jnp.where(steep > self.threshold, x, jax.nn.softplus(steep) / self.beta)


class Softsign(Module):
    r"""$x / (1 + |x|)$, entry by entry.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.Softsign().apply({}, jnp.array([-1.0, 3.0])).tolist()
        [-0.5, 0.75]

    References:
        [torch.nn.Softsign](https://docs.pytorch.org/docs/stable/generated/torch.nn.Softsign.html)
    """

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        return jax.nn.soft_sign(floating(self, x))


class Softshrink(Module):
    r"""x moved towards 0 by $\lambda$, and 0 between $-\lambda$ and $\lambda$.

    Args:
        lambd: $\lambda$, not negative.

    Raises:
        ArgumentError: If lambd is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.Softshrink().apply({}, jnp.array([-1.0, 0.2, 2.0])).tolist()
        [-0.5, 0.0, 1.5]

    References:
        [torch.nn.Softshrink](https://docs.pytorch.org/docs/stable/generated/torch.nn.Softshrink.html)
    """

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = number(lambd, "Softshrink", "lambd")
        if lambd < 0:
            raise ArgumentError(f"Softshrink(lambd={lambd}): expected a number >= 0.")

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        x = floating(self, x)
        return jnp.where(jnp.abs(x) <= self.lambd, 0, x - jnp.sign(x) * self.lambd)

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        return f"{self.lambd}"


class Hardshrink(Module):
    r"""x, but 0 from $-\lambda$ to $\lambda$.

    Args:
        lambd: $\lambda$.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.Hardshrink().apply({}, jnp.array([-1.0, 0.2, 2.0])).tolist()
        [-1.0, 0.0, 2.0]

    References:
        [torch.nn.Hardshrink](https://docs.pytorch.org/docs/stable/generated/torch.nn.Hardshrink.html)
    """

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = number(lambd, "Hardshrink", "lambd")

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        x = floating(self, x)
        return jnp.where(jnp.abs(x) <= self.lambd, 0, x)

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        return f"{self.lambd}"
