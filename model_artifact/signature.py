"""Sign a model card with Ed25519, and verify such a signature.

The signature covers the bytes of `model_card.json`; `model_card.json.sig` holds it as base64. The card contains the
pickle's digest, so a signature of the card covers the model.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from model_artifact.errors import SigningError

# Imported only where there is a key: cryptography costs each worker 7 MB.
if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE_FILE = "model_card.json.sig"
PRIVATE_KEY_FILE = "signing.key"
PUBLIC_KEY_FILE = "signing.pub"

MAX_KEY_BYTES = 64 * 1024
_SIGNATURE_BYTES = 64
_RAW_KEY_BYTES = 32
_PEM_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)


def sign_card(card: bytes, key: Ed25519PrivateKey) -> bytes:
    """Return the content of SIGNATURE_FILE for a card of these bytes."""
    return base64.b64encode(key.sign(card)) + b"\n"


def check_signature(card: bytes, signature: bytes, keys: Iterable[Ed25519PublicKey]) -> None:
    """Verify that one of the keys signed exactly these bytes; signature is the content of SIGNATURE_FILE.

    Raises:
        SigningError: it is not a signature, or not one of this card by one of these keys.
    """
    from cryptography.exceptions import InvalidSignature

    raw = _decode(signature)
    if raw is None or len(raw) != _SIGNATURE_BYTES:
        raise SigningError(
            f"{SIGNATURE_FILE} holds no Ed25519 signature (the base64 of {_SIGNATURE_BYTES} bytes): it is truncated or"
            " damaged; copy it again or sign again."
        )
    for key in keys:
        try:
            key.verify(raw, card)
        except InvalidSignature:
            continue
        return
    raise SigningError(
        f"{SIGNATURE_FILE} is not a signature of this card by a trusted key: the card was changed after it was signed,"
        " the signature is another card's, or another key signed; do not trust it before you know which."
    )


def new_key(folder: Path) -> tuple[Path, Path]:
    """Make a key pair in a folder, created if missing; return the paths of the private and the public key.

    Raises:
        SigningError: one of the files exists, or cannot be written.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = Ed25519PrivateKey.generate()
    contents = {
        folder / PRIVATE_KEY_FILE: (0o600, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())),
        folder / PUBLIC_KEY_FILE: (
            0o644,
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        ),
    }
    made: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, (mode, content) in contents.items():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            made.append(path)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
    except OSError as error:
        # Half a pair is useless, and would block the next attempt.
        for path in made:
            path.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise SigningError(
                f"{error.filename} exists, and a key is never overwritten; choose another folder."
            ) from None
        raise SigningError(f"{error.filename or folder} cannot be written: {error.strerror}.") from error
    return folder / PRIVATE_KEY_FILE, folder / PUBLIC_KEY_FILE


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Return the key to sign with, from a PEM file.

    Raises:
        SigningError: the file cannot be read, or holds no Ed25519 private key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    raw = _read_key_file(path)
    if b"PUBLIC KEY-----" in raw:
        raise SigningError(f"{path} holds a public key, which cannot sign; name the private one ({PRIVATE_KEY_FILE}).")
    try:
        key = load_pem_private_key(raw, password=None)
    except TypeError:
        raise SigningError(f"{path} is protected by a passphrase, which is not supported.") from None
    except (ValueError, UnsupportedAlgorithm):
        raise SigningError(f"{path} is no private key in PEM; {_HOW_TO_MAKE}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningError(f"{path} holds a key of another type than Ed25519; {_HOW_TO_MAKE}")
    return key


def read_public_keys(setting: str) -> tuple[Ed25519PublicKey, ...]:
    """Return the keys that a setting names: none if it is empty, several while one replaces another.

    The setting is PEM text of one or several keys, or a list, separated by commas, of PEM files' paths and keys in
    base64 (as `new-key` prints them).

    Raises:
        SigningError: a part is not an Ed25519 public key; the message never repeats what may be a secret.
    """
    if _looks_like_pem(setting):
        return tuple(_pem_keys(setting, "its text"))
    keys: list[Ed25519PublicKey] = []
    for part in (part.strip() for part in setting.split(",")):
        if not part:
            continue
        path = Path(part)
        decoded = _decode(part.encode())
        if decoded and len(decoded) >= _RAW_KEY_BYTES and not _is_file(path):
            keys.append(_key(decoded, "its base64 text"))
            continue
        text = _read_key_file(path).decode("utf-8", errors="replace")
        keys += _pem_keys(text, str(path)) if _looks_like_pem(text) else [_key(_decode(text.encode()), str(path))]
    if setting.strip() and not keys:
        raise SigningError("it names no key.")
    return tuple(keys)


_HOW_TO_MAKE = "make a pair with: tabular keys new-key FOLDER."


def public_key_text(key: Ed25519PublicKey) -> str:
    """Return the key as one line of base64, which `read_public_keys` accepts."""
    return base64.b64encode(key.public_bytes_raw()).decode()


def _looks_like_pem(text: str) -> bool:
    return "-----BEGIN" in text


def _pem_keys(text: str, where: str) -> list[Ed25519PublicKey]:
    # Environment files store a line break as backslash and n.
    text = text.replace("\\n", "\n")
    blocks = _PEM_BLOCK.findall(text)
    if len(blocks) != text.count("-----BEGIN"):
        raise SigningError(f"{where} is truncated PEM.")
    keys = []
    for label, content in blocks:
        if "PRIVATE" in label:
            raise SigningError(_private(where))
        if label != "PUBLIC KEY":
            raise SigningError(f"{where} holds a {label.lower()}, not an Ed25519 public key; {_HOW_TO_MAKE}")
        keys.append(_key(_decode(content.encode()), where))
    return keys


def _key(raw: bytes | None, where: str) -> Ed25519PublicKey:
    """Return a key from its 32 bytes, or from DER, the content of PEM."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

    if raw is not None and len(raw) == _RAW_KEY_BYTES:
        return Ed25519PublicKey.from_public_bytes(raw)
    try:
        key = load_der_public_key(raw or b"")
    except (ValueError, UnsupportedAlgorithm):
        pass
    else:
        if isinstance(key, Ed25519PublicKey):
            return key
        raise SigningError(f"{where} holds a key of another type than Ed25519; {_HOW_TO_MAKE}")
    try:
        load_der_private_key(raw or b"", password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        raise SigningError(f"{where} is no public key in PEM or base64; {_HOW_TO_MAKE}") from None
    raise SigningError(_private(where))


def _private(where: str) -> str:
    return (
        f"{where} holds a private key, which must never be where models are served: give {PUBLIC_KEY_FILE} instead,"
        " and make a new pair if this one was copied here."
    )


def _decode(text: bytes) -> bytes | None:
    """Decode base64 with whitespace anywhere; return None if it is not base64."""
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    # Not every system can look up the text of a key as a path.
    except (OSError, ValueError):
        return False


def _read_key_file(path: Path) -> bytes:
    # A path has a dot or begins with a slash; any other text may be a part of a secret.
    shown = f"{str(path)[:200]!r}" if "." in str(path) or path.is_absolute() else f"of {len(str(path))} characters"
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_KEY_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a path"
        raise SigningError(f"the key file {shown} cannot be read: {reason}.") from error
    if not raw.strip() or len(raw) > MAX_KEY_BYTES:
        raise SigningError(f"{path} is {'too large' if len(raw) > MAX_KEY_BYTES else 'empty'}, so it is not a key.")
    return raw
