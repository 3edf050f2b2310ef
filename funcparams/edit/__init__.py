"""Surgery on definitions and params: tie, untie, take out a part, draw again, parametrize."""

from funcparams.edit.parts import reinit, subtree
from funcparams.edit.places import Place, materialize, parametrize
from funcparams.edit.ties import tie, untie

__all__ = ["Place", "materialize", "parametrize", "reinit", "subtree", "tie", "untie"]
