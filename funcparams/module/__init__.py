"""`Module`: what users subclass, and all that a definition can do."""

from funcparams.module.module import Module

__all__ = ["Module"]
