"""Drawing: from declarations to arrays, each from a key of its own name."""

from funcparams.drawing.draw import Fixed, Noisy, Random, draw
from funcparams.drawing.initialise import abstract, initialise
from funcparams.drawing.noise import Recipe

__all__ = ["Fixed", "Noisy", "Random", "Recipe", "abstract", "draw", "initialise"]
