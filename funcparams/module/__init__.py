"""`Module`, what users subclass, and all that a definition can do."""

from funcparams.core.declarations import Initializer
from funcparams.module.declare import buffer, param
from funcparams.module.module import Module

__all__ = ["Initializer", "Module", "buffer", "param"]
