"""OPC UA certificates: our own, and those that we trust."""

import os
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from asyncua import ua
from asyncua.crypto import security_policies
from asyncua.crypto.cert_gen import dump_private_key_as_pem, generate_private_key, generate_self_signed_app_certificate
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from gateway.config import secret_files
from gateway.drivers.driver import DeviceError
from nexus.process import paths

OWN_DAYS = 5 * 365
_DEFAULT_PORT = 4840
_NAMES = (x509.UniformResourceIdentifier, x509.DNSName, x509.IPAddress)
_File = Annotated[Path | None, AfterValidator(secret_files.allowed)]
POLICIES = ("None", "Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")


class Security(BaseModel):
    """`security:` of a device. Without `certificate` and `key`, our own ones, made at first use.

    `trust` is a file or folder of certificates (PEM or DER) of servers or of who issued theirs, or `any`. With
    `application_uri` the server's certificate must carry this name, instead of the endpoint's host.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    policy: Literal["None", "Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"] = "None"
    mode: Literal["Sign", "SignAndEncrypt"] = "SignAndEncrypt"
    certificate: _File = None
    key: _File = None
    trust: Annotated[Path | Literal["any"] | None, AfterValidator(secret_files.allowed)] = None
    application_uri: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> "Security":
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: give both, or neither for our own")
        for name, file in (("certificate", self.certificate), ("key", self.key)):
            if file is not None and not file.is_file():
                raise ValueError(f"{name}: there is no file {file}")
        if isinstance(self.trust, Path) and not self.trust.exists():
            raise ValueError(f"trust: there is no file or folder {self.trust}")
        return self


def pki() -> Path:
    """The folder of our certificate and of those that we trust: `NEXUS_PKI_DIR`, or beside our other state."""
    return Path(os.environ.get("NEXUS_PKI_DIR") or paths.state_folder("pki"))


def own() -> tuple[Path, Path]:
    """The files of our own certificate (DER) and key (PEM), made if they are not there. Raises DeviceError."""
    certificate, key = pki() / "own" / "certificate.der", pki() / "own" / "key.pem"
    try:
        if not (certificate.is_file() and key.is_file()):
            create(certificate, key)
    except OSError as error:
        raise DeviceError(
            f"our own certificate cannot be made: {error}; see NEXUS_PKI_DIR", kind="certificate"
        ) from None
    return certificate, key


def create(certificate: Path, key: Path, host: str | None = None) -> None:
    """Makes a self-signed certificate whose subject alternative names carry the application's URI. Raises OSError."""
    host = host or socket.gethostname()
    private = generate_private_key()
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(f"urn:{host}:nexus:edge"), x509.DNSName(host)]
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    made = generate_self_signed_app_certificate(
        private, f"Nexus Edge@{host}", {"organizationName": "Nexus Edge"}, names, usages, OWN_DAYS
    )
    certificate.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(dump_private_key_as_pem(private))
    certificate.write_bytes(made.public_bytes(serialization.Encoding.DER))


def load(file: Path) -> x509.Certificate:
    """Reads a certificate, PEM or DER. Raises ValueError and OSError."""
    data = file.read_bytes()
    return x509.load_pem_x509_certificate(data) if b"-----BEGIN" in data else x509.load_der_x509_certificate(data)


def application_uri(certificate: x509.Certificate) -> str:
    """The URI that servers compare with the application's. Raises ValueError when there is none."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.UniformResourceIdentifier)[0]
    except (x509.ExtensionNotFound, IndexError):
        raise ValueError("the certificate's subject alternative names hold no URI, as OPC UA wants") from None


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256, as people compare it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def days_left(certificate: x509.Certificate) -> float:
    """Until it expires; negative after."""
    return (certificate.not_valid_after_utc - datetime.now(UTC)).total_seconds() / 86_400


def check_trust(server: x509.Certificate, security: Security, endpoint: str) -> None:
    """Raises DeviceError when we do not trust a server's certificate; it says how to change that.

    It must be valid now, be trusted or issued by an authority that is, and be meant for this endpoint: by its names, or
    because somebody trusts this very certificate for this very endpoint.
    """
    name = server.subject.rfc4514_string()
    _check_dates(server, f"the server's certificate ({name})")
    if security.trust == "any":
        return
    trusted = security.trust or pki() / "trusted"
    vouching = [(file, other) for file, other in _certificates(trusted) if _vouches(other, server)]
    if not vouching:
        raise DeviceError(
            f"we do not trust the server's certificate ({name}, SHA-256 {fingerprint(server)}): compare it with the "
            f"server's own, then run `nexus opcua trust {endpoint}`, or put it into {trusted}",
            kind="certificate",
        )
    themselves = [file for file, other in vouching if other == server]
    if any(file == security.trust or file.name.startswith(pinned(endpoint)) for file in themselves):
        return
    if not themselves:
        for _, issuer in vouching:
            _check_dates(issuer, f"the certificate of the server's issuer ({issuer.subject.rfc4514_string()})")
    _check_names(server, security, endpoint)


def pinned(endpoint: str) -> str:
    """How the file names begin of certificates that are trusted for one endpoint only."""
    parts = urlsplit(endpoint)
    return f"{_host(endpoint).replace(':', '_')}_{parts.port or _DEFAULT_PORT}-"


def _check_dates(certificate: x509.Certificate, what: str) -> None:
    if days_left(certificate) < 0:
        raise DeviceError(f"{what} expired on {certificate.not_valid_after_utc:%Y-%m-%d}", kind="certificate")
    if certificate.not_valid_before_utc > datetime.now(UTC):
        raise DeviceError(
            f"{what} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC: check both clocks",
            kind="certificate",
        )


def _check_names(server: x509.Certificate, security: Security, endpoint: str) -> None:
    """Checks that the certificate names this server: otherwise one trusted server could pass for another."""
    names = _names(server)
    said = f"the server's certificate is for {', '.join(names) or 'nobody'}, and not for"
    if security.application_uri is not None:
        if security.application_uri not in names:
            raise DeviceError(f"{said} {security.application_uri}", kind="certificate")
    elif _host(endpoint).casefold() not in (name.casefold() for name in names):
        raise DeviceError(
            f"{said} {_host(endpoint)}: name the server's `application_uri` under `security`, or trust it for this "
            f"endpoint with `nexus opcua trust {endpoint}`",
            kind="certificate",
        )


def _names(certificate: x509.Certificate) -> list[str]:
    """Application URI, host names and addresses that a certificate carries."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names if isinstance(name, _NAMES)]


def _host(endpoint: str) -> str:
    return urlsplit(endpoint).hostname or ""


def find_endpoint(found: Sequence[ua.EndpointDescription], security: Security) -> ua.EndpointDescription:
    """The endpoint with the policy and mode wanted. Raises DeviceError that names what the server offers."""
    uri = getattr(security_policies, f"SecurityPolicy{security.policy}").URI
    mode = getattr(ua.MessageSecurityMode, security.mode)
    for endpoint in found:
        if endpoint.SecurityPolicyUri == uri and endpoint.SecurityMode == mode:
            return endpoint
    raise not_offered(security, found)


def not_offered(security: Security, found: Sequence[ua.EndpointDescription]) -> DeviceError:
    """The message for a server without an endpoint of that policy and mode."""
    wanted = "connections without security" if security.policy == "None" else f"{security.policy}/{security.mode}"
    offers = ", ".join(sorted({offer(one) for one in found})) or "nothing"
    return DeviceError(f"the server does not offer {wanted}, but {offers}: choose one of these in `security`")


def offer(endpoint: ua.EndpointDescription) -> str:
    """Policy and mode of an endpoint, like Basic256Sha256/SignAndEncrypt."""
    policy: str = endpoint.SecurityPolicyUri.rpartition("#")[2]
    return policy if policy == "None" else f"{policy}/{endpoint.SecurityMode.name}"


def _vouches(trusted: x509.Certificate, server: x509.Certificate) -> bool:
    """Whether this is the same certificate, or belongs to the authority that issued it."""
    if trusted == server:
        return True
    try:
        server.verify_directly_issued_by(trusted)
        is_authority = trusted.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return is_authority


def _certificates(place: Path) -> Iterator[tuple[Path, x509.Certificate]]:
    files = sorted(place.iterdir()) if place.is_dir() else [place] if place.is_file() else []
    for file in files:
        try:
            yield file, load(file)
        except (ValueError, OSError):
            continue
