"""nginx/make-certs.sh: makes what is missing or no longer valid, and keeps the others."""

import datetime
import ipaddress
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SCRIPT = Path(__file__).resolve().parents[3] / "nginx" / "make-certs.sh"
FILES = ("ca.crt", "ca.key", "tls.crt", "tls.key")

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is missing: apt install openssl")


def make(folder: Path, *names: str, **options: object) -> subprocess.CompletedProcess:
    return subprocess.run(["sh", SCRIPT, folder, *names], capture_output=True, text=True, check=False, **options)


def made(folder: Path, *names: str) -> str:
    run = make(folder, *names)
    assert run.returncode == 0, run.stderr
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES), "temporary files stay behind"
    return run.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def leaf(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "tls.crt").read_bytes())


def authority(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())


def names_of(certificate: x509.Certificate) -> set[str]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(extension.get_values_for_type(x509.DNSName)) | {
        str(address) for address in extension.get_values_for_type(x509.IPAddress)
    }


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "certs"
    made(folder)
    return folder


@pytest.fixture
def folder(good, tmp_path) -> Path:
    """A copy of good certificates to spoil."""
    return Path(shutil.copytree(good, tmp_path / "certs"))


def test_first_run_makes_an_authority_and_a_certificate(tmp_path):
    folder = tmp_path / "new" / "certs"
    said = made(folder)
    for word in ("update-ca-certificates", "add-trusted-cert", "Firefox", "curl --cacert"):
        assert word in said
    certificate, ca = leaf(folder), authority(folder)
    certificate.verify_directly_issued_by(ca)
    assert names_of(certificate) == {"localhost", "127.0.0.1", "::1"}
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    assert certificate.public_key().curve.name == "secp256r1"
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= datetime.timedelta(days=397)
    assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
    assert ca.not_valid_after_utc > certificate.not_valid_after_utc
    for key in ("ca.key", "tls.key"):
        assert stat.S_IMODE((folder / key).stat().st_mode) == 0o600


def test_second_run_changes_nothing(folder):
    before = contents(folder)
    assert "still valid" in made(folder)
    assert contents(folder) == before


def test_new_names_need_a_new_certificate_and_no_new_authority(folder):
    before = contents(folder)
    said = made(folder, "Iris.Example", "*.iris.example", "192.0.2.7", "2001:DB8::A:0", "localhost")
    after = contents(folder)
    assert "new authority" not in said
    assert (after["ca.crt"], after["ca.key"]) == (before["ca.crt"], before["ca.key"])
    assert names_of(leaf(folder)) == {
        "localhost",
        "127.0.0.1",
        "::1",
        "iris.example",
        "*.iris.example",
        "192.0.2.7",
        "2001:db8::a:0",
    }
    # Other spellings of the same names, and fewer of them, are all there.
    assert "still valid" in made(folder, "IRIS.example", "2001:db8:0:0:0:0:a:0")
    assert "still valid" in made(folder)


@pytest.mark.parametrize("address", ["::", "1::", "::ffff", "1:2:3:4:5:6:7:8", "fe80::1:0:2", "0::1"])
def test_every_spelling_of_ipv6_is_understood(folder, address):
    made(folder, address)
    assert str(ipaddress.ip_address(address)) in names_of(leaf(folder))
    assert "still valid" in made(folder, address)


def sign(folder: Path, days_left: float, names: list[x509.GeneralName]) -> None:
    """Put a certificate into the folder that is valid for so many days more."""
    key = ec.generate_private_key(ec.SECP256R1())
    ca_key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days_left)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]))
        .issuer_name(authority(folder).subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(end - datetime.timedelta(days=100))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName(names), False)
        .sign(ca_key, hashes.SHA256())
    )
    (folder / "tls.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "tls.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


ALL_NAMES = [
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("::1")),
]


@pytest.mark.parametrize(("days_left", "kept"), [(-1, False), (6.9, False), (7.1, True), (90, True)])
def test_certificate_is_renewed_seven_days_before_its_end(folder, days_left, kept):
    sign(folder, days_left, ALL_NAMES)
    before = contents(folder)
    made(folder)
    after = contents(folder)
    assert (after["tls.crt"] == before["tls.crt"]) == kept
    assert after["ca.crt"] == before["ca.crt"]


def test_certificate_without_a_standard_name_is_renewed(folder):
    sign(folder, 90, ALL_NAMES[:2])
    made(folder)
    assert "::1" in names_of(leaf(folder))


@pytest.mark.parametrize("spoiled", ["tls.crt", "tls.key"])
@pytest.mark.parametrize("how", ["empty", "garbage", "of another", "missing"])
def test_spoiled_certificate_is_made_anew(folder, tmp_path, spoiled, how):
    before = contents(folder)
    path = folder / spoiled
    if how == "empty":
        path.write_bytes(b"")
    elif how == "garbage":
        path.write_bytes(path.read_bytes().replace(b"M", b"N", 2)[:-40])
    elif how == "missing":
        path.unlink()
    else:
        made(tmp_path / "other")
        path.write_bytes((tmp_path / "other" / spoiled).read_bytes())
    made(folder)
    after = contents(folder)
    assert after["ca.crt"] == before["ca.crt"]
    assert after["tls.crt"] != before["tls.crt"]
    leaf(folder).verify_directly_issued_by(authority(folder))
    key = serialization.load_pem_private_key(after["tls.key"], None)
    assert key.public_key() == leaf(folder).public_key()


def test_authority_whose_key_does_not_fit_is_made_anew(folder, tmp_path):
    made(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "ca.key", folder / "ca.key")
    assert "new authority" in made(folder)
    leaf(folder).verify_directly_issued_by(authority(folder))


def test_a_foreign_certificate_is_kept(folder):
    (folder / "ca.key").unlink()
    (folder / "ca.crt").unlink()
    (folder / "tls.crt").write_text("from a public authority")
    run = make(folder, "another.name")
    assert run.returncode == 0
    assert "it was not made here" in run.stderr
    assert (folder / "tls.crt").read_text() == "from a public authority"


@pytest.mark.parametrize(
    "name", ["a b", "a_b", "-a", "a..b", "300.1.1.1", "1.2.3", "1::2::3", "1:2", "12345::", "a/b", "*", "$(id)", ""]
)
def test_odd_name_is_one_sentence(tmp_path, name):
    run = make(tmp_path / "certs", name)
    assert run.returncode == 1
    assert run.stderr == f"nginx/make-certs.sh: '{name}' is no host name and no IP address.\n"
    assert not (tmp_path / "certs").exists()


def test_failures_are_one_sentence(folder, tmp_path):
    no_folder = subprocess.run(["sh", SCRIPT], capture_output=True, text=True, check=False)
    assert no_folder.stderr.startswith("nginx/make-certs.sh: name the folder")

    no_openssl = make(tmp_path / "new", env={"PATH": "/nowhere"}, executable="/bin/sh")
    assert no_openssl.returncode == 1
    assert no_openssl.stderr == (
        "nginx/make-certs.sh: openssl is not installed: apt install openssl, or brew install openssl.\n"
    )

    (tmp_path / "file").write_text("")
    assert make(tmp_path / "file").stderr.splitlines()[-1].endswith("name a writable folder.")

    for name in ("ca.key", "tls.crt", "tls.key"):
        (folder / name).unlink()
    no_key = make(folder)
    assert no_key.returncode == 1
    assert "has no ca.key" in no_key.stderr
