"""`python -m funcparams`."""

import sys

from funcparams.checkpoint.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
