"""The command that lists, verifies and switches versions: python -m model_training.store --help."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from model_artifact.pickling import Artifact, ArtifactError, is_signed, load_artifact, read_card, read_card_bytes
from model_artifact.signature import SigningError, read_public_keys
from model_artifact.store import POINTER, ArtifactStore

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
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
        proven = _prove(store, version, keys)
        (store.activate if forward else store.roll_back)(version)
    except ArtifactError as error:
        print(f"store: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"store: cannot use {options.store}: {error.strerror}; choose another --store", file=sys.stderr)
        return 1
    was = f" (it was {before})" if before and before != version else ""
    print(f"version {version} is current in {options.store}{was}, {_signature(proven, store.folder(version))}")
    gate = proven.card.gate
    if gate and not gate.passed:
        print(f"the gate had not let it through: {' '.join(gate.reasons)}")
    return 0


def _prove(store: ArtifactStore, version: str, keys: Sequence[Ed25519PublicKey]) -> Artifact:
    """Open a version as the API will.

    Raises:
        ArtifactError: it is refused; the message names the version.
    """
    folder = store.existing(version)
    try:
        return load_artifact(folder, version, keys)
    except ArtifactError as error:
        raise ArtifactError(f"version {version} is refused, and nothing was switched: {error}") from error


def _seed(store: ArtifactStore, source: ArtifactStore, keys: Sequence[Ed25519PublicKey]) -> int:
    """Take over the source's current version, and say so; what is refused leaves the store as it is, and is no error.

    A first model is a convenience: without one the API waits for a training, and must not fail to start.
    """
    if (current := store.current_or_none()) is not None:
        print(f"version {current} stays current in {store.root}")
        return 0
    try:
        version = source.current()
        _prove(source, version, keys)
    except ArtifactError as error:
        print(f"store: nothing was taken over from {source.root}: {error}", file=sys.stderr)
        return 0
    if store.take_over(version, source):
        print(f"version {version} of {source.root} is current in {store.root}")
    else:
        print(f"the pointer of {store.root} stays as it is")
    return 0


def _verify(store: ArtifactStore, only: str | None, keys: Sequence[Ed25519PublicKey]) -> int:
    """Print what the API would say of one version, or of each and of the pointer; 1 if it refuses one."""
    refused = 0
    for version in [only] if only else store.versions():
        folder = store.existing(version)
        try:
            artifact = load_artifact(folder, version, keys)
        except ArtifactError as error:
            refused = 1
            print(f"refused  {version}: {error}")
        else:
            print(f"good     {version}, {_signature(artifact, folder)}")
    if only is None:
        try:
            store.existing(store.current())
        except ArtifactError as error:
            refused = 1
            print(f"refused  {POINTER}: {error}")
    return refused


def _list(store: ArtifactStore, keys: Sequence[Ed25519PublicKey]) -> list[str]:
    """A line for each version, oldest first, with the current one marked."""
    versions, current = store.versions(), store.current_or_none()
    if not versions:
        raise ArtifactError(f"there is no version in {store.root}; train a model first, or name another --store.")
    width = max(map(len, versions))
    lines = [f"  {'version':<{width}}  {'trained at':<20}  accuracy  signature"]
    for version in versions:
        folder = store.folder(version)
        # Of a card that somebody changed nothing is shown.
        trained_at, accuracy = "?", "?"
        signature = ("verified" if keys else "not checked") if is_signed(folder) else "none"
        try:
            if is_signed(folder):
                read_card_bytes(folder, keys)
        except ArtifactError:
            signature = "refused"
        else:
            with suppress(ArtifactError):
                card = read_card(folder, version)
                # Whatever stands there must not steer the terminal.
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
        help="refuse what is not signed by its owner: a PEM file or the key itself, several parted by commas"
        " (the environment's MODEL_PUBLIC_KEY, if set)",
    )
    parser = argparse.ArgumentParser(
        prog="tabular store",
        description="Look at the versions in the store and switch between them. A running API takes a switch up by"
        " itself, without a dropped request.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="list|activate|rollback|verify|seed")
    for name, summary, description in (
        ("list", "show every version", "Show every version with its signature; * marks the current one."),
        ("activate", "make a version current", "Prove a version as the API does, and make it current."),
        (
            "rollback",
            "go back to the version that was current before",
            "Prove the version that was current before this one, and make it current again. Each further roll-back"
            " goes one step further back; to go forward again, activate a version by its name.",
        ),
        (
            "verify",
            "prove one version or all",
            "Open one version, or each, as the API does, and print the outcome; the status is 1 if one is refused.",
        ),
        (
            "seed",
            "take over another store's current version, if this one has none",
            "Prove the current version of another store, copy it here and make it current, unless something is"
            " current here already. The status is 0, too, when it is refused and nothing is taken over.",
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
