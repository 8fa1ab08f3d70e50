"""Whose certificates are trusted, for which endpoint, and until when."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.drivers.driver import DeviceError
from gateway.drivers.opcua.security import Security, check_trust, pinned
from gateway.drivers.opcua.settings import Settings

ENDPOINT = "opc.tcp://10.0.0.1:4840/x"
DAY = timedelta(days=1)


class Issued:
    """A certificate and its key."""

    def __init__(
        self,
        name: str,
        issuer: "Issued | None" = None,
        *,
        authority: bool = False,
        start: timedelta = -DAY,
        end: timedelta = DAY,
        address: str = "10.0.0.1",
    ) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = [x509.UniformResourceIdentifier(f"urn:{name}"), x509.IPAddress(ip_address(address))]
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(issuer.name if issuer else self.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + start)
            .not_valid_after(now + end)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(issuer.key if issuer else self.key, hashes.SHA256())
        )

    def write(self, file: Path) -> Path:
        file.write_bytes(self.certificate.public_bytes(serialization.Encoding.DER))
        return file


def trusts(server: Issued, endpoint: str = ENDPOINT, **security: object) -> str:
    """Why not; empty if so."""
    try:
        check_trust(server.certificate, Security.model_validate({"policy": "Basic256Sha256", **security}), endpoint)
    except DeviceError as error:
        return str(error)
    return ""


def test_a_certificate_of_an_authority_that_is_trusted(tmp_path: Path) -> None:
    authority = Issued("ca", authority=True)
    authority.write(tmp_path / "ca.der")
    assert trusts(Issued("plc", authority), trust=tmp_path) == ""
    assert "do not trust" in trusts(Issued("plc", Issued("ca", authority=True)), trust=tmp_path)


def test_a_trusted_server_issues_no_certificates(tmp_path: Path) -> None:
    server = Issued("plc")
    server.write(tmp_path / "plc.der")
    assert trusts(server, trust=tmp_path) == ""
    assert "do not trust" in trusts(Issued("other", server), trust=tmp_path)


@pytest.mark.parametrize("trust", ["any", None])
def test_dates_hold_whoever_is_trusted(tmp_path: Path, trust: str | None) -> None:
    expired, future = Issued("old", end=-DAY / 2), Issued("new", start=DAY / 2)
    for one in (expired, future):
        one.write(tmp_path / f"{one.name.rfc4514_string()}.der")
    assert "expired on" in trusts(expired, trust=trust or tmp_path)
    assert "not valid before" in trusts(future, trust=trust or tmp_path)


def test_an_authority_that_has_expired_vouches_for_nobody(tmp_path: Path) -> None:
    authority = Issued("ca", authority=True, end=-DAY / 2)
    authority.write(tmp_path / "ca.der")
    assert "the certificate of the server's issuer (CN=ca) expired" in trusts(Issued("plc", authority), trust=tmp_path)


def test_a_certificate_is_good_for_its_own_server_only(tmp_path: Path) -> None:
    elsewhere = Issued("b", address="10.0.0.2")
    elsewhere.write(tmp_path / "b.der")
    assert "is for urn:b, 10.0.0.2, and not for 10.0.0.1" in trusts(elsewhere, trust=tmp_path)
    assert trusts(elsewhere, "opc.tcp://10.0.0.2:4840", trust=tmp_path) == ""
    # Three ways to say that it is meant.
    assert trusts(elsewhere, trust=tmp_path, application_uri="urn:b") == ""
    assert "not for urn:a" in trusts(elsewhere, trust=tmp_path, application_uri="urn:a")
    assert trusts(elsewhere, trust=tmp_path / "b.der") == ""
    elsewhere.write(tmp_path / f"{pinned(ENDPOINT)}b.der")
    assert trusts(elsewhere, trust=tmp_path) == ""
    assert trusts(elsewhere, "opc.tcp://10.0.0.3:4840", trust=tmp_path) != ""


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"username": "operator", "password": "x"}, "anybody on the way can read the password"),
        ({"password": "x"}, "needs a `username`"),
    ],
)
def test_a_password_in_clear_has_to_be_wanted(keys: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Settings.model_validate({"endpoint": ENDPOINT, **keys})
    Settings.model_validate({"endpoint": ENDPOINT, "insecure_password": True, "username": "a", **keys})
