"""`python -m arrayinit`."""

import sys

from arrayinit.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
