"""Signatures of the card: each faulty key or signature is rejected with its own sentence."""

import base64
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from model_artifact.errors import ArtifactError, SigningError
from model_artifact.pickling import CARD_FILE, load_artifact
from model_artifact.signature import (
    PRIVATE_KEY_FILE,
    PUBLIC_KEY_FILE,
    SIGNATURE_FILE,
    check_signature,
    new_key,
    public_key_text,
    read_private_key,
    read_public_keys,
    sign_card,
)
from model_artifact.store import ArtifactStore
from model_training import signing, train

CARD = b'{"card_format": 1}\n'


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The files of a private key and its public one."""
    return new_key(tmp_path_factory.mktemp("keys") / "new" / "folder")


@pytest.fixture(scope="module")
def key(pair: tuple[Path, Path]) -> ed25519.Ed25519PrivateKey:
    return read_private_key(pair[0])


@pytest.fixture(scope="module")
def other_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


@pytest.fixture
def signed(store: ArtifactStore, version: str, key: ed25519.Ed25519PrivateKey) -> Path:
    """The folder of a signed version."""
    store.sign(version, key)
    return store.folder(version)


def _sentence(error: pytest.ExceptionInfo[Exception]) -> str:
    sentence = str(error.value)
    assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 400, sentence
    return sentence


def _rejection(folder: Path, *keys: ed25519.Ed25519PrivateKey) -> str:
    with pytest.raises(ArtifactError) as error:
        load_artifact(folder, folder.name, [key.public_key() for key in keys])
    assert str(folder.parent) not in str(error.value)
    return _sentence(error)


# Key pairs


def test_a_new_pair_is_private_and_public_and_belongs_together(pair: tuple[Path, Path]) -> None:
    private, public = pair
    assert (private.name, public.name) == (PRIVATE_KEY_FILE, PUBLIC_KEY_FILE)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert private.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert public.read_bytes().startswith(b"-----BEGIN PUBLIC KEY-----\n")
    assert read_public_keys(str(public)) == (read_private_key(private).public_key(),)


@pytest.mark.parametrize("there", [PRIVATE_KEY_FILE, PUBLIC_KEY_FILE])
def test_a_key_is_never_overwritten(there: str, tmp_path: Path) -> None:
    (tmp_path / there).write_text("precious")
    with pytest.raises(SigningError, match="never overwritten") as error:
        new_key(tmp_path)
    assert there in _sentence(error)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there, "precious")]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SigningError, match="cannot be written: Not a directory") as error:
        new_key(tmp_path / "file" / "below")
    _sentence(error)


# Signatures


def test_a_signature_is_one_line_of_base64_that_openssl_could_check(key: ed25519.Ed25519PrivateKey) -> None:
    signature = sign_card(CARD, key)
    assert signature.endswith(b"\n") and len(signature.splitlines()) == 1
    key.public_key().verify(base64.b64decode(signature), CARD)


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.rstrip(b"\n"),
        lambda line: line.rstrip(b"\n") + b"\r\n",
        lambda line: b"\n" + line + b"\n\n",
        lambda line: line[:40] + b"\r\n" + line[40:],
    ],
)
def test_line_breaks_in_the_signature_do_not_matter(key: Any, change: Callable[[bytes], bytes]) -> None:
    check_signature(CARD, change(sign_card(CARD, key)), [key.public_key()])


@pytest.mark.parametrize(
    "change",
    [
        lambda card: card.rstrip(b"\n"),
        lambda card: card.replace(b"\n", b"\r\n"),
        lambda card: b"\xef\xbb\xbf" + card,
        lambda card: card.replace(b" ", b""),
        lambda card: card.replace(b"1", b"2"),
        lambda card: card[:0],
    ],
)
def test_every_byte_of_the_card_matters(key: Any, change: Callable[[bytes], bytes]) -> None:
    """Line ends included: the same values in other bytes are another card."""
    with pytest.raises(SigningError, match="not a signature of this card"):
        check_signature(change(CARD), sign_card(CARD, key), [key.public_key()])


def test_without_a_key_no_signature_is_valid(key: Any) -> None:
    with pytest.raises(SigningError, match="by a trusted key"):
        check_signature(CARD, sign_card(CARD, key), [])


def test_any_of_several_keys_may_have_signed(key: Any, other_key: Any) -> None:
    """While one key replaces another, both are trusted."""
    keys = [other_key.public_key(), key.public_key()]
    for signer in (key, other_key):
        check_signature(CARD, sign_card(CARD, signer), keys)


# Artifacts


def test_a_signed_artifact_is_opened_with_and_without_a_key(signed: Path, key: Any) -> None:
    verified = load_artifact(signed, signed.name, [key.public_key()])
    assert verified.signature_verified
    assert verified.card_bytes == (signed / CARD_FILE).read_bytes()
    assert not load_artifact(signed, signed.name).signature_verified


def test_tampering_is_rejected(signed: Path, key: Any, other_key: Any, second_version: Path) -> None:
    """Each fault in turn on a fresh copy, with the beginning of its sentence."""
    card, signature = (signed / CARD_FILE).read_bytes(), (signed / SIGNATURE_FILE).read_bytes()
    garbage = "model_card.json.sig holds no Ed25519 signature"
    wrong = "model_card.json.sig is not a signature of this card by a trusted key"
    flipped = bytearray(base64.b64decode(signature))
    flipped[10] ^= 1
    faults: list[tuple[str, bytes, bytes | None, str]] = [
        ("no signature", card, None, "model_card.json.sig is missing: this version is not signed"),
        ("empty", card, b"", garbage),
        ("truncated", card, signature[:-10], garbage),
        ("truncated to whole base64", card, signature[:84] + b"\n", garbage),
        ("longer", card, base64.b64encode(bytes(65)), garbage),
        ("raw bytes", card, base64.b64decode(signature), garbage),
        ("hex", card, base64.b64decode(signature).hex().encode(), garbage),
        ("not ASCII", card, "é".encode() * 44, garbage),
        ("zeros", card, base64.b64encode(bytes(64)), wrong),
        ("flipped", card, base64.b64encode(flipped), wrong),
        ("another key", card, sign_card(card, other_key), wrong),
        ("another card", card, sign_card((second_version / CARD_FILE).read_bytes(), key), wrong),
        ("changed", card.replace(b'"setosa"', b'"rosa"'), signature, wrong),
        ("CRLF", card.replace(b"\n", b"\r\n"), signature, wrong),
        ("no last line break", card.rstrip(), signature, wrong),
        ("large", card, b"A" * 2000, "model_card.json.sig is larger than"),
    ]
    for name, changed, given, sentence in faults:
        (signed / CARD_FILE).write_bytes(changed)
        (signed / SIGNATURE_FILE).unlink(missing_ok=True)
        if given is not None:
            (signed / SIGNATURE_FILE).write_bytes(given)
        assert _rejection(signed, key).startswith(sentence), name


def test_the_signature_is_checked_before_the_card_is_read(signed: Path, key: Any) -> None:
    """No parser reads a card without a trusted signature."""
    (signed / CARD_FILE).write_bytes(b'{"x":' + b"[" * 100_000)
    assert "is not a signature of this card" in _rejection(signed, key)


def test_a_signed_card_of_another_version_is_rejected(signed: Path, key: Any) -> None:
    """Both files of an old version in the folder of a new one."""
    moved = signed.rename(signed.with_name("v2"))
    assert f"is the card of version {signed.name}, but is in the folder of version v2" in _rejection(moved, key)


def test_a_signature_does_not_excuse_a_changed_pickle(signed: Path, key: Any, second_version: Path) -> None:
    (signed / "iris_model.pkl").write_bytes((second_version / "iris_model.pkl").read_bytes())
    assert "but its card records" in _rejection(signed, key)


def test_a_rejected_version_is_not_signed(store: ArtifactStore, version: str, key: Any) -> None:
    with (store.folder(version) / "iris_model.pkl").open("ab") as file:
        file.write(b"!")
    with pytest.raises(ArtifactError, match="bytes, but its card records"):
        store.sign(version, key)
    assert not (store.folder(version) / SIGNATURE_FILE).exists()


def test_signing_again_replaces_the_signature(signed: Path, store: ArtifactStore, key: Any, other_key: Any) -> None:
    store.sign(signed.name, other_key)
    load_artifact(signed, signed.name, [other_key.public_key()])
    assert "is not a signature of this card" in _rejection(signed, key)
    assert sorted(path.name for path in signed.iterdir()) == ["iris_model.pkl", CARD_FILE, SIGNATURE_FILE]
    assert stat.S_IMODE((signed / SIGNATURE_FILE).stat().st_mode) == 0o644


# Key files


def _public(key: Any, encoding: Encoding = Encoding.PEM) -> bytes:
    return bytes(key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo))


def _private(key: Any, encoding: Encoding = Encoding.PEM, encryption: Any = None) -> bytes:
    return bytes(key.private_bytes(encoding, PrivateFormat.PKCS8, encryption or NoEncryption()))


@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_an_empty_setting_has_no_keys(empty: str) -> None:
    assert read_public_keys(empty) == ()


def test_a_public_key_is_accepted_in_every_usual_form(key: Any, other_key: Any, tmp_path: Path) -> None:
    pem, other = _public(key).decode(), _public(other_key).decode()
    (tmp_path / "one.pub").write_text(pem)
    (tmp_path / "crlf.pub").write_bytes(pem.replace("\n", "\r\n").encode())
    (tmp_path / "both.pub").write_text(f"a comment\n{pem}\n{other}")
    (tmp_path / "base64.pub").write_text(public_key_text(key.public_key()) + "\n")
    one = [
        pem,
        pem.replace("\n", "\r\n"),
        pem.replace("\n", " "),
        pem.replace("\n", "\\n"),
        pem.strip(),
        public_key_text(key.public_key()),
        base64.b64encode(_public(key, Encoding.DER)).decode(),
        str(tmp_path / "one.pub"),
        str(tmp_path / "crlf.pub"),
        str(tmp_path / "base64.pub"),
        f" {tmp_path / 'one.pub'} ,",
    ]
    for setting in one:
        assert read_public_keys(setting) == (key.public_key(),), setting
    both = [
        pem + other,
        f"{public_key_text(key.public_key())},{public_key_text(other_key.public_key())}",
        f"{tmp_path / 'one.pub'}, {public_key_text(other_key.public_key())}",
        str(tmp_path / "both.pub"),
    ]
    for setting in both:
        assert read_public_keys(setting) == (key.public_key(), other_key.public_key()), setting


def test_an_invalid_public_key_is_rejected_without_repeating_a_secret(key: Any, tmp_path: Path) -> None:
    strange = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    secret = _private(key).decode()
    (tmp_path / "secret.key").write_text(secret)
    (tmp_path / "empty.pub").touch()
    (tmp_path / "folder.pub").mkdir()
    (tmp_path / "large.pub").write_bytes(b"A" * 100_000)
    (tmp_path / "binary.pub").write_bytes(_public(key, Encoding.DER))
    faults = {
        secret: "holds a private key, which must never be where models are served",
        str(tmp_path / "secret.key"): "holds a private key",
        base64.b64encode(_private(key, Encoding.DER)).decode(): "holds a private key",
        _private(strange).decode(): "holds a private key",
        _public(strange).decode(): "a key of another type than Ed25519",
        _public(ec.generate_private_key(ec.SECP256R1())).decode(): "a key of another type than Ed25519",
        certificate: "holds a certificate, not an Ed25519 public key",
        _public(key).decode()[:-20]: "truncated PEM",
        _public(key).decode() + secret[:60]: "truncated PEM",
        _public(key).decode().replace("MC", "!!"): "no public key in PEM or base64",
        str(tmp_path / "none.pub"): "none.pub' cannot be read: No such file",
        str(tmp_path / "empty.pub"): "is empty, so it is not a key",
        str(tmp_path / "folder.pub"): "cannot be read: Is a directory",
        str(tmp_path / "large.pub"): "is too large, so it is not a key",
        str(tmp_path / "binary.pub"): "no public key in PEM or base64",
        secret.split("\n")[1][:-3]: "cannot be read: No such file",
        "." * 5000: "cannot be read: File name too long",
        "yes": "cannot be read: No such file",
        ",": "it names no key",
        f"{tmp_path / 'none.pub'},{public_key_text(key.public_key())}": "cannot be read",
    }
    hidden = [line for line in secret.splitlines() if not line.startswith("-")]
    for setting, sentence in faults.items():
        with pytest.raises(SigningError) as error:
            read_public_keys(setting)
        assert sentence in _sentence(error), setting
        assert not any(line[:20] in str(error.value) for line in hidden)


def test_an_invalid_private_key_is_rejected(key: Any, tmp_path: Path) -> None:
    faults: dict[bytes, str] = {
        _public(key): "holds a public key, which cannot sign",
        _private(rsa.generate_private_key(public_exponent=65537, key_size=2048)): "another type than Ed25519",
        _private(key, encryption=BestAvailableEncryption(b"x")): "protected by a passphrase",
        _private(key)[:-30]: "is no private key in PEM",
        _private(key, Encoding.DER): "is no private key in PEM",
        b"": "is empty, so it is not a key",
        b"hello": "is no private key in PEM",
    }
    for content, sentence in faults.items():
        (tmp_path / "signing.key").write_bytes(content)
        with pytest.raises(SigningError, match=sentence) as error:
            read_private_key(tmp_path / "signing.key")
        _sentence(error)
    with pytest.raises(SigningError, match="cannot be read: No such file"):
        read_private_key(tmp_path / "none.key")


def test_a_private_key_with_windows_line_ends_signs(key: Any, tmp_path: Path) -> None:
    (tmp_path / "signing.key").write_bytes(_private(key).replace(b"\n", b"\r\n"))
    assert read_private_key(tmp_path / "signing.key").public_key() == key.public_key()


# Commands


def test_training_signs_with_the_key_of_the_option_or_the_environment(
    pair: tuple[Path, Path], key: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    arguments = ["--store", str(tmp_path), "--n-estimators", "1"]
    assert train.main([*arguments, "--sign-key", str(pair[0])]) == 0
    assert capsys.readouterr().out.endswith(", signed\n")
    monkeypatch.setenv("MODEL_SIGN_KEY", str(pair[0]))
    assert train.main(arguments) == 0
    store = ArtifactStore(tmp_path)
    for version in store.versions():
        load_artifact(store.folder(version), version, [key.public_key()])
    assert len(store.versions()) == 2


def test_a_bad_key_stops_training_before_it_begins(pair: tuple[Path, Path], tmp_path: Path, capsys: Any) -> None:
    assert train.main(["--store", str(tmp_path / "store"), "--sign-key", str(pair[1])]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("train: ") and "public key, which cannot sign" in said.err
    # Only the outcome is recorded, for alerts about scheduled trainings.
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["last_training.json"]


def test_the_commands_make_a_key_and_sign(store: ArtifactStore, version: str, tmp_path: Path, capsys: Any) -> None:
    assert signing.main(["new-key", str(tmp_path / "keys")]) == 0
    setting = capsys.readouterr().out.splitlines()[-1].removeprefix("MODEL_PUBLIC_KEY=")
    key_file = str(tmp_path / "keys" / PRIVATE_KEY_FILE)
    assert signing.main(["sign", version, "--key", key_file, "--store", str(store.root)]) == 0
    load_artifact(store.folder(version), version, read_public_keys(setting))


def test_failures_of_the_commands_are_one_sentence(
    store: ArtifactStore, version: str, pair: tuple[Path, Path], capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MODEL_SIGN_KEY", raising=False)
    root = ["--store", str(store.root)]
    for arguments, sentence in [
        (["new-key", str(pair[0].parent)], "never overwritten"),
        (["sign", version, *root], "no key to sign with: name its file with --key or in MODEL_SIGN_KEY"),
        (["sign", "v2", "--key", str(pair[0]), *root], "the store has no version v2"),
        (["sign", "../v2", "--key", str(pair[0]), *root], "is not the name of a version"),
        (["sign", version, "--key", "none.key", *root], "cannot be read: No such file"),
    ]:
        assert signing.main(arguments) == 1
        said = capsys.readouterr()
        assert said.out == "" and said.err.startswith("keys: ") and sentence in said.err
        assert len(said.err.splitlines()) == 1

    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", read_only)
    assert signing.main(["sign", version, "--key", str(pair[0]), *root]) == 1
    assert capsys.readouterr().err.endswith("Read-only file system; choose another --store\n")


def test_run_as_a_script_its_errors_are_sentences(repository: Path, tmp_path: Path) -> None:
    """A module that runs as `__main__` and is also imported would have two SigningError classes."""
    (tmp_path / "signing.key").write_text("x")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "model_training.signing", "new-key", str(tmp_path)],
        cwd=repository,
        env=os.environ,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
