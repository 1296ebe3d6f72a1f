"""Make signing keys and sign versions: python -m model_training.signing --help."""

import sys

from model_artifact.commands.signing import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
