"""List, verify and switch versions: tabular store --help."""

import sys

from model_artifact.commands.store import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
