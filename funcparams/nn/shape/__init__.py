"""Layers that move numbers and compute nothing, or interpolate."""

from funcparams.nn.shape.flatten import Flatten, Unflatten

__all__ = ["Flatten", "Unflatten"]
