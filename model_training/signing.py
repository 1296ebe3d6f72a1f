"""Make signing keys and sign versions: tabular keys --help."""

import sys

from model_artifact.commands.signing import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
