"""OPC UA: heard by subscription, or polled in batches."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from asyncua import Client, ua
from asyncua.crypto import security_policies
from asyncua.crypto.uacrypto import CertProperties
from cryptography import x509
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.drivers import reach
from gateway.drivers.driver import Device, DeviceError, Link, Request
from gateway.drivers.opcua import limits as opcua_limits
from gateway.drivers.opcua import security as opcua_security
from gateway.drivers.opcua.security import Security
from gateway.drivers.opcua.session import Limits, Profile, Session
from gateway.drivers.opcua.subscription import Subscription
from gateway.drivers.opcua.values import Clock
from nexus.process.duration import Seconds

_SESSION_MS = 60_000
_GOODBYE_SECONDS = 2.0

_THEIR_REFUSALS = (
    ua.StatusCodes.BadSecurityChecksFailed,
    ua.StatusCodes.BadCertificateUntrusted,
    ua.StatusCodes.BadCertificateUriInvalid,
    ua.StatusCodes.BadCertificateInvalid,
    ua.StatusCodes.BadCertificateTimeInvalid,
    ua.StatusCodes.BadCertificateHostNameInvalid,
    ua.StatusCodes.BadCertificateUseNotAllowed,
)
_LOGIN_REFUSALS = (
    ua.StatusCodes.BadUserAccessDenied,
    ua.StatusCodes.BadIdentityTokenRejected,
    ua.StatusCodes.BadIdentityTokenInvalid,
)

# It logs what it also raises, and every publish.
logging.getLogger("asyncua").setLevel(logging.CRITICAL)


class Settings(BaseModel):
    """An OPC UA server's own keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    endpoint: str = Field(pattern=r"^opc\.tcp://[^/:]+(:\d+)?(/.*)?$", examples=["opc.tcp://192.168.1.30:4840"])
    security: Security = Security()
    username: str | None = None
    password: str | None = None
    password_file: Path | None = None
    insecure_password: bool = False
    mode: Literal["subscribe", "poll"] = "subscribe"
    clock: Clock = "source"
    sampling: Annotated[Seconds, Field(ge=0)] | None = None
    queue: int = Field(10, ge=1, le=10_000)
    profile: Literal["auto", "standard", "s7-1200"] = "auto"
    batch: int | None = Field(None, ge=1, le=10_000)

    @model_validator(mode="after")
    def _login(self) -> "Settings":
        if self.password is not None and self.password_file is not None:
            raise ValueError("password and password_file are two answers to one question: give one")
        if self.password_file is not None and not self.password_file.is_file():
            raise ValueError(f"password_file: there is no file {self.password_file}")
        if self.username is None and (self.password is not None or self.password_file is not None):
            raise ValueError("password: whose? give `username` too")
        if self.username is not None and self.security.policy == "None" and not self.insecure_password:
            raise ValueError(
                "username: without `security` anybody on the way can read the password; choose a policy, or say "
                "`insecure_password: true` if that is accepted"
            )
        return self


SETTINGS: Mapping[str, type[BaseModel]] = {"opcua": Settings}


@dataclass(frozen=True, slots=True)
class Address:
    """A node; with `uri` its namespace is looked up in the server, and `node` has no index."""

    node: str
    uri: str | None = None


def parse_address(text: str, _: Settings, /, *, writable: bool = False) -> Address:  # noqa: ARG001  servers tell
    """Reads `ns=2;s=Press.Force`, `i=2258` or `nsu=urn:vendor;s=Force`. Raises ValueError that says what is right."""
    uri, written = "", text.strip()
    if written.startswith("nsu="):
        uri, _semicolon, written = written.removeprefix("nsu=").partition(";")
    try:
        ua.NodeId.from_string(written)
    except (ua.UaError, ValueError):
        raise ValueError("write it like ns=2;s=Press.Force, ns=3;i=1001 or nsu=urn:vendor;s=Force") from None
    if uri and written.startswith("ns="):
        raise ValueError("a namespace is given by its index (ns=) or by its URI (nsu=), not by both")
    return Address(written, uri or None)


@asynccontextmanager
async def connect(device: Device) -> AsyncIterator[Link]:
    """A session with one server; in subscribe mode its tags are heard. Raises DeviceError."""
    settings: Settings = device.settings
    async with session(settings, device.timeout) as client:
        made = Session(client, device, settings.clock)
        try:
            await made.prepare(Profile(settings.profile), settings.batch)
            if settings.mode == "subscribe":
                subscription = Subscription(made)
                await subscription.subscribe(settings.sampling, settings.queue)
        except (ua.UaError, OSError) as error:
            raise DeviceError(_explained(error, settings)) from error
        hear = subscription.hear if settings.mode == "subscribe" else None
        yield Link(made.read, made.write, hear, made.refusals, _certificate_days(settings))


@asynccontextmanager
async def session(settings: Settings, timeout: float) -> AsyncIterator[Client]:
    """A session of the library's own, for as long as the block runs. Raises DeviceError."""
    client = Client(settings.endpoint, timeout=timeout, watchdog_intervall=max(5.0, timeout))
    opcua_limits.bound(client)
    client.name = "Nexus Edge"
    client.session_timeout = _SESSION_MS
    try:
        try:
            await _open(client, settings, timeout)
        except (ua.UaError, OSError, AssertionError) as error:  # the last for a refused secure channel
            raise DeviceError(_explained(error, settings)) from error
        yield client
    finally:
        try:
            with suppress(ua.UaError, OSError, TimeoutError):
                async with asyncio.timeout(_GOODBYE_SECONDS):
                    await client.disconnect()
        finally:
            client.disconnect_socket()


def requests(device: Device) -> list[Request]:
    """The read plan, as far as it is known without the server's limits."""
    settings: Settings = device.settings
    size = settings.batch or Limits().read
    found = []
    for interval in sorted({tag.interval for tag in device.tags}):
        names = [tag.name for tag in device.tags if tag.interval == interval]
        verb = "monitor" if settings.mode == "subscribe" else "read"
        for at in range(0, len(names), size):
            part = tuple(names[at : at + size])
            found.append(Request(f"{verb} {len(part)} nodes", part, len(part), 0, "nodes", interval))
    return found


def bus(_: Settings) -> None:
    """Servers share no line."""


async def endpoints(url: str, timeout: float) -> list[ua.EndpointDescription]:
    """What a server offers, asked without security. Raises DeviceError."""
    client = Client(url, timeout=timeout)
    opcua_limits.bound(client)
    try:
        found: list[ua.EndpointDescription] = await client.connect_and_get_server_endpoints()
        return found
    except (ua.UaError, OSError) as error:
        raise DeviceError(f"no connection to {url}: {_reason(error)}") from error
    finally:
        client.disconnect_socket()


async def _open(client: Client, settings: Settings, timeout: float) -> None:
    security = settings.security
    if settings.username is not None:
        client.set_user(settings.username)
        password = settings.password_file.read_text().strip() if settings.password_file else settings.password
        client.set_password(password or "")
    if security.policy != "None":
        endpoint = opcua_security.find_endpoint(await client.connect_and_get_server_endpoints(), security)
        server = x509.load_der_x509_certificate(endpoint.ServerCertificate)
        opcua_security.check_trust(server, security, settings.endpoint)
        certificate, key = (security.certificate, security.key) if security.certificate else opcua_security.own()
        try:
            client.application_uri = opcua_security.application_uri(opcua_security.load(Path(str(certificate))))
        except ValueError as error:
            raise DeviceError(f"{certificate}: {error}; make one with `nexus opcua cert`") from None
        await client.set_security(
            getattr(security_policies, f"SecurityPolicy{security.policy}"),
            str(certificate),
            str(key),
            server_certificate=CertProperties(endpoint.ServerCertificate, "der"),
            mode=getattr(ua.MessageSecurityMode, security.mode),
        )
    try:
        await client.connect()
    except ua.UaError as error:
        if "No matching endpoints" not in str(error):
            raise
        found = await endpoints(settings.endpoint, timeout)
        raise opcua_security.not_offered(security, found) from error


def _certificate_days(settings: Settings) -> float | None:
    if settings.security.policy == "None":
        return None
    return opcua_security.days_left(opcua_security.load(settings.security.certificate or opcua_security.own()[0]))


def _explained(error: Exception, settings: Settings) -> str:
    code = getattr(error, "code", None)
    if code in _LOGIN_REFUSALS:
        return f"the server refuses the login of {settings.username or 'an anonymous user'}: {_reason(error)}"
    hung_up = isinstance(error, ConnectionError | AssertionError) and not isinstance(error, ConnectionRefusedError)
    if code in _THEIR_REFUSALS or (settings.security.policy != "None" and hung_up):
        file = settings.security.certificate or opcua_security.pki() / "own" / "certificate.der"
        return (
            f"the server does not accept our certificate ({_reason(error)}): accept it there, it is {file} "
            "(`nexus opcua cert` shows it)"
        )
    return f"no session with {settings.endpoint}: {_reason(error)}"


def _reason(error: Exception) -> str:
    return reach.reason(error) or str(error) or type(error).__name__
