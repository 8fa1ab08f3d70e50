"""Which authorities we take: the same on every Python."""

import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nexus.process import tls


@pytest.fixture(autouse=True)
def newest_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `ssl.create_default_context` gives from 3.13 on."""
    older: Callable[..., ssl.SSLContext] = ssl.create_default_context

    def strict(*arguments: object, **keywords: object) -> ssl.SSLContext:
        context = older(*arguments, **keywords)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)


def signed(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey) -> bytes:
    """A certificate as plain tools make it: of the extensions only the name, or that it is an authority."""
    now = datetime.now(UTC)
    extension: x509.ExtensionType = x509.SubjectAlternativeName([x509.DNSName(subject)])
    if subject == issuer:
        extension = x509.BasicConstraints(ca=True, path_length=None)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(extension, critical=subject == issuer)
        .sign(by, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """A handshake in memory. Raises what the client says to it."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(back, there, server_hostname=name)
    theirs = server.wrap_bio(there, back, server_side=True)
    for _ in range(2):
        for side in (ours, theirs):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    ours.do_handshake()


def test_an_authority_without_extensions_is_trusted_and_no_other(tmp_path: Path) -> None:
    authority, other, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    file = tmp_path / "ca.crt"
    file.write_bytes(signed("authority", "authority", authority, authority))
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )

    def server(by: ec.EllipticCurvePrivateKey) -> ssl.SSLContext:
        (tmp_path / "server.crt").write_bytes(signed("broker", "authority", key, by))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "server.crt", tmp_path / "key.pem")
        return context

    shake(server(authority), tls.trusting(file), "broker")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake(server(authority), tls.trusting(file), "elsewhere")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server(other), tls.trusting(file), "broker")
