"""The command that makes signing keys and signs versions: python -m model_training.signing --help."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from model_artifact.errors import ArtifactError, SigningError
from model_artifact.signature import (
    PRIVATE_KEY_FILE,
    PUBLIC_KEY_FILE,
    new_key,
    public_key_text,
    read_private_key,
    read_public_keys,
)
from model_artifact.store import ArtifactStore


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(argv)
    try:
        if options.command == "new-key":
            private, public = new_key(Path(options.folder))
            (key,) = read_public_keys(str(public))
            print(
                f"{private}: the private key, for train --sign-key; keep it away from where models are served\n"
                f"{public}: the public key; give the API its path or this text as\n"
                f"MODEL_PUBLIC_KEY={public_key_text(key)}"
            )
        else:
            if not options.key:
                raise SigningError("there is no key to sign with: name its file with --key or in MODEL_SIGN_KEY.")
            ArtifactStore(options.store).sign(options.version, read_private_key(Path(options.key)))
            print(f"version {options.version} is signed")
    except (SigningError, ArtifactError) as error:
        print(f"signing: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"signing: cannot write to {options.store}: {error.strerror}; choose another --store", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(prog="tabular keys", description="Make keys, and sign versions in the store.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="new-key|sign")
    make = commands.add_parser(
        "new-key",
        help="make a pair of keys",
        description=f"Make {PRIVATE_KEY_FILE} and {PUBLIC_KEY_FILE}; existing keys are never overwritten.",
    )
    make.add_argument("folder", metavar="FOLDER", help="folder for both files; created if missing")
    sign = commands.add_parser(
        "sign",
        help="sign a version, or sign it again with another key",
        description="Verify a version as the API does, then sign its card; an existing signature is replaced.",
        formatter_class=formatter,
    )
    sign.add_argument("version", metavar="VERSION", help="a name that `python -m model_training.store list` shows")
    sign.add_argument(
        "--key",
        metavar="FILE",
        default=os.environ.get("MODEL_SIGN_KEY") or None,
        help="the private key (the environment's MODEL_SIGN_KEY, if set)",
    )
    sign.add_argument(
        "--store",
        default=os.environ.get("MODEL_STORE") or "artifacts",
        help="folder of the artifact store (the environment's MODEL_STORE, if set)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
