"""The command that lists, verifies and switches versions: tabular store --help."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from model_artifact.errors import ArtifactError, SigningError
from model_artifact.pickling import Artifact, is_signed, load_artifact, read_card, read_card_bytes
from model_artifact.signature import read_public_keys
from model_artifact.store import POINTER, ArtifactStore

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(argv)
    store = ArtifactStore(options.store)
    try:
        keys = read_public_keys(options.public_key)
    except SigningError as error:
        print(f"store: the public key cannot be used: {error}", file=sys.stderr)
        return 1
    try:
        if options.command == "list":
            print("\n".join(_list(store, keys)))
            return 0
        if options.command == "verify":
            return _verify(store, options.version, keys)
        if options.command == "seed":
            return _seed(store, ArtifactStore(options.source), keys)
        before = store.current_or_none()
        forward = options.command == "activate"
        version = options.version if forward else store.previous()
        verified = _load(store, version, keys)
        (store.activate if forward else store.roll_back)(version)
    except ArtifactError as error:
        print(f"store: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"store: cannot use {options.store}: {error.strerror}; choose another --store", file=sys.stderr)
        return 1
    was = f" (it was {before})" if before and before != version else ""
    print(f"version {version} is current in {options.store}{was}, {_signature(verified, store.folder(version))}")
    gate = verified.card.gate
    if gate and not gate.passed:
        print(f"it did not pass the gate: {' '.join(gate.reasons)}")
    return 0


def _load(store: ArtifactStore, version: str, keys: Sequence[Ed25519PublicKey]) -> Artifact:
    """Verify and open a version as the API does.

    Raises:
        ArtifactError: it is rejected; the message names the version.
    """
    folder = store.existing(version)
    try:
        return load_artifact(folder, version, keys)
    except ArtifactError as error:
        raise ArtifactError(f"version {version} is rejected, and nothing was switched: {error}") from error


def _seed(store: ArtifactStore, source: ArtifactStore, keys: Sequence[Ed25519PublicKey]) -> int:
    """Copy the source's current version and make it current; a rejected version changes nothing and is not an error.

    The API must start without a first model, and wait for a training.
    """
    if (current := store.current_or_none()) is not None:
        print(f"version {current} stays current in {store.root}")
        return 0
    try:
        version = source.current()
        _load(source, version, keys)
    except ArtifactError as error:
        print(f"store: no version was copied from {source.root}: {error}", file=sys.stderr)
        return 0
    if store.take_over(version, source):
        print(f"version {version} of {source.root} is current in {store.root}")
    else:
        print(f"the pointer of {store.root} stays as it is")
    return 0


def _verify(store: ArtifactStore, only: str | None, keys: Sequence[Ed25519PublicKey]) -> int:
    """Print whether the API accepts one version, or each and the pointer; return 1 if one is rejected."""
    status = 0
    for version in [only] if only else store.versions():
        folder = store.existing(version)
        try:
            artifact = load_artifact(folder, version, keys)
        except ArtifactError as error:
            status = 1
            print(f"rejected  {version}: {error}")
        else:
            print(f"good      {version}, {_signature(artifact, folder)}")
    if only is None:
        try:
            store.existing(store.current())
        except ArtifactError as error:
            status = 1
            print(f"rejected  {POINTER}: {error}")
    return status


def _list(store: ArtifactStore, keys: Sequence[Ed25519PublicKey]) -> list[str]:
    """Return a line for each version, oldest first, with the current one marked."""
    versions, current = store.versions(), store.current_or_none()
    if not versions:
        raise ArtifactError(f"there is no version in {store.root}; train a model first, or name another --store.")
    width = max(map(len, versions))
    lines = [f"  {'version':<{width}}  {'trained at':<20}  accuracy  signature"]
    for version in versions:
        folder = store.folder(version)
        # Show nothing of a card with an invalid signature.
        trained_at, accuracy = "?", "?"
        signature = ("verified" if keys else "not checked") if is_signed(folder) else "none"
        try:
            if is_signed(folder):
                read_card_bytes(folder, keys)
        except ArtifactError:
            signature = "invalid"
        else:
            with suppress(ArtifactError):
                card = read_card(folder, version)
                # A card must not send control characters to the terminal.
                trained_at, accuracy = ascii(card.trained_at[:20])[1:-1], f"{card.metrics.accuracy:.4f}"
        mark = "*" if version == current else " "
        lines.append(f"{mark} {version:<{width}}  {trained_at:<20}  {accuracy:<8}  {signature}")
    return lines


def _signature(artifact: Artifact, folder: Path) -> str:
    if artifact.signature_verified:
        return "signature verified"
    return "signature not checked (no public key is set)" if is_signed(folder) else "not signed"


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--store",
        default=os.environ.get("MODEL_STORE") or "artifacts",
        help="folder of the artifact store (the environment's MODEL_STORE, if set)",
    )
    common.add_argument(
        "--public-key",
        metavar="KEY",
        default=os.environ.get("MODEL_PUBLIC_KEY", ""),
        help="reject versions that this key did not sign: a PEM file or the key itself, several separated by commas"
        " (the environment's MODEL_PUBLIC_KEY, if set)",
    )
    parser = argparse.ArgumentParser(
        prog="tabular store",
        description="List and verify the versions in the store, and switch between them. A running API loads the new"
        " version by itself, without dropping a request.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="list|activate|rollback|verify|seed")
    for name, summary, description in (
        ("list", "show every version", "Show every version with its signature; * marks the current one."),
        ("activate", "make a version current", "Verify a version as the API does, and make it current."),
        (
            "rollback",
            "go back to the version that was current before",
            "Verify the version that was current before this one, and make it current again. Each further roll-back"
            " goes one step further back; to go forward again, activate a version by its name.",
        ),
        (
            "verify",
            "verify one version or all",
            "Open one version, or each, as the API does, and print the outcome; the status is 1 if one is rejected.",
        ),
        (
            "seed",
            "copy another store's current version, if this one has none",
            "Verify the current version of another store, copy it here and make it current, unless this store has a"
            " current version. The status is 0 even if the version is rejected and not copied.",
        ),
    ):
        command = commands.add_parser(
            name,
            help=summary,
            description=description,
            parents=[common],
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        if name == "activate":
            command.add_argument("version", metavar="VERSION", help="a name that `list` shows")
        elif name == "seed":
            command.add_argument("source", metavar="FROM", help="folder of the other store")
        elif name == "verify":
            command.add_argument("version", metavar="VERSION", nargs="?", help="a name that `list` shows; all without")
    return parser


if __name__ == "__main__":
    sys.exit(main())
