"""Connections to OPC UA servers: the library's client, secured as the settings say."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from asyncua import Client, ua
from asyncua.crypto import security_policies
from asyncua.crypto.uacrypto import CertProperties
from cryptography import x509

from gateway.config import secret_files
from gateway.drivers import reach
from gateway.drivers.driver import DeviceError
from gateway.drivers.opcua import limits as opcua_limits
from gateway.drivers.opcua import security as opcua_security
from gateway.drivers.opcua.settings import Settings

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

# The library logs what it also raises, and every publish.
logging.getLogger("asyncua").setLevel(logging.CRITICAL)


@asynccontextmanager
async def session(settings: Settings, timeout: float, asked: int, changes: int = 0) -> AsyncIterator[Client]:
    """A session of the library's own, for as long as the block runs. Raises DeviceError.

    `asked` is how many values a call asks for at most, `changes` how many the server may report at once.
    """
    client = Client(settings.endpoint, timeout=timeout, watchdog_intervall=max(5.0, timeout))
    opcua_limits.bound(client, asked, changes)
    client.name = "Nexus Edge"
    client.session_timeout = _SESSION_MS
    try:
        try:
            await _open(client, settings, timeout)
        except (ua.UaError, OSError, AssertionError) as error:  # the last one for a refused secure channel
            raise explained(error, settings) from error
        yield client
    finally:
        try:
            with suppress(ua.UaError, OSError, TimeoutError):
                async with asyncio.timeout(_GOODBYE_SECONDS):
                    await client.disconnect()
        finally:
            client.disconnect_socket()


async def endpoints(url: str, timeout: float) -> list[ua.EndpointDescription]:
    """The endpoints that a server offers, asked without security. Raises DeviceError."""
    client = Client(url, timeout=timeout)
    opcua_limits.bound(client)
    try:
        found: list[ua.EndpointDescription] = await client.connect_and_get_server_endpoints()
        return found
    except (ua.UaError, OSError) as error:
        raise DeviceError(f"no connection to {url}: {_reason(error)}", kind=reach.kind(error)) from error
    finally:
        client.disconnect_socket()


async def _open(client: Client, settings: Settings, timeout: float) -> None:
    security = settings.security
    if settings.username is not None:
        client.set_user(settings.username)
        client.set_password(_password(settings))
    if security.policy != "None":
        endpoint = opcua_security.find_endpoint(await client.connect_and_get_server_endpoints(), security)
        server = x509.load_der_x509_certificate(endpoint.ServerCertificate)
        opcua_security.check_trust(server, security, settings.endpoint)
        certificate, key = (security.certificate, security.key) if security.certificate else opcua_security.own()
        try:
            client.application_uri = opcua_security.application_uri(opcua_security.load(Path(str(certificate))))
        except ValueError as error:
            raise DeviceError(f"{certificate}: {error}; make one with `nexus opcua cert`", kind="certificate") from None
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


def _password(settings: Settings) -> str:
    try:
        return secret_files.password(settings.password_file) if settings.password_file else settings.password or ""
    except (OSError, ValueError) as error:
        raise DeviceError(f"the password cannot be read: {error}") from None


def explained(error: Exception, settings: Settings) -> DeviceError:
    """Why there is no session, and what to do about it."""
    code = getattr(error, "code", None)
    if code in _LOGIN_REFUSALS:
        who = settings.username or "an anonymous user"
        return DeviceError(f"the server refuses the login of {who}: {_reason(error)}", kind="login")
    hung_up = isinstance(error, ConnectionError | AssertionError) and not isinstance(error, ConnectionRefusedError)
    if code in _THEIR_REFUSALS or (settings.security.policy != "None" and hung_up):
        file = settings.security.certificate or opcua_security.pki() / "own" / "certificate.der"
        return DeviceError(
            f"the server does not accept our certificate ({_reason(error)}): accept it there, it is {file} "
            "(`nexus opcua cert` shows it)",
            kind="certificate",
        )
    return DeviceError(f"no session with {settings.endpoint}: {_reason(error)}", kind=reach.kind(error))


def _reason(error: Exception) -> str:
    return reach.reason(error) or str(error) or type(error).__name__
