"""Simulated OPC UA servers: nodes whose values follow signals, on a connection with switchable faults."""

import asyncio
import logging
import socket
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from asyncua import Server as UaServer
from asyncua import ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.crypto.permission_rules import User, UserRole
from cryptography.x509.oid import ExtendedKeyUsageOID
from pydantic import BaseModel, ConfigDict, Field

from nexus.process.duration import Seconds
from simulators.fault import Faults, send
from simulators.line import listening
from simulators.plant import Signal

_NAMESPACE = "urn:nexus:simulator"
_TYPES = {
    "bool": ua.VariantType.Boolean,
    "int32": ua.VariantType.Int32,
    "int64": ua.VariantType.Int64,
    "float": ua.VariantType.Float,
    "double": ua.VariantType.Double,
    "string": ua.VariantType.String,
}

# It logs each client that disconnects without closing its session.
logging.getLogger("asyncua.server").setLevel(logging.CRITICAL)


class Point(BaseModel):
    """One node, `ns=2;s={node}`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    node: str = Field(min_length=1)
    type: Literal["bool", "int32", "int64", "float", "double", "string"] = "double"
    signal: Signal


class Device(BaseModel):
    """One server, as described in a simulation file. Its values change every `interval`.

    With `secure` it also offers the signed and encrypted policies, with a certificate of its own; with `users`, only
    these may log in.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    protocol: Literal["opcua"]
    host: str = "127.0.0.1"
    port: int = Field(4840, ge=0, le=65535)
    interval: Seconds = Field(1.0, gt=0)
    secure: bool = False
    users: dict[str, str] = {}
    points: list[Point] = Field(min_length=1)


class _Users:
    """The users that may log in, in the library's interface."""

    def __init__(self, users: dict[str, str]) -> None:
        self._users = users

    def get_user(self, iserver, username=None, password=None, certificate=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
        known = username is not None and self._users.get(username) == password
        return User(role=UserRole.User, name=username) if known else None


class Server:
    """One OPC UA server; `connections` holds who is connected now."""

    def __init__(self, device: Device, faults: Faults) -> None:
        self.connections: set[asyncio.StreamWriter] = set()
        self._device = device
        self._faults = faults
        self._inner = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Serves while entered; gives the port."""
        async with AsyncExitStack() as stack:
            server = await self._started(stack)
            self._inner = server.bserver.port
            device = self._device
            serving = listening(self._pass_on, device.host, device.port, self.connections)
            port = await stack.enter_async_context(serving)
            updating = asyncio.create_task(self._update(server), name=f"simulate {self._device.name}")
            stack.callback(updating.cancel)
            yield port

    async def _started(self, stack: AsyncExitStack) -> UaServer:
        device = self._device
        server = UaServer(user_manager=_Users(device.users) if device.users else None)
        await server.init()
        # Clients connect through our own proxy, which applies the faults.
        server.set_endpoint("opc.tcp://127.0.0.1:0")
        policies = [ua.SecurityPolicyType.NoSecurity]
        if device.secure:
            await self._certify(server, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nexus-opcua-"))))
            policies += [
                ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
                ua.SecurityPolicyType.Basic256Sha256_Sign,
                ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
                ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
            ]
        server.set_security_policy(policies)
        await self._make_nodes(server)
        await stack.enter_async_context(server)
        return server

    async def _certify(self, server: UaServer, folder: Path) -> None:
        uri, host = "urn:nexus:simulator:server", socket.gethostname()
        await server.set_application_uri(uri)
        key, certificate = folder / "key.pem", folder / "certificate.der"
        usages = [ExtendedKeyUsageOID.SERVER_AUTH]
        await setup_self_signed_certificate(key, certificate, uri, host, usages, {"organizationName": "Nexus Edge"})
        await server.load_certificate(str(certificate))
        await server.load_private_key(str(key))

    async def _make_nodes(self, server: UaServer) -> None:
        index = await server.register_namespace(_NAMESPACE)
        parent = await server.nodes.objects.add_object(ua.NodeId(self._device.name, index), self._device.name)
        for point in self._device.points:
            kind = _TYPES[point.type]
            value = _cast(point.signal.start()(0.0), kind)
            node = await parent.add_variable(ua.NodeId(point.node, index), point.node, value, kind)
            await node.set_writable()

    async def _update(self, server: UaServer) -> None:
        index = await server.get_namespace_index(_NAMESPACE)
        live = [
            (ua.NodeId(point.node, index), _TYPES[point.type], point.signal.start())
            for point in self._device.points
            if point.signal.kind != "constant"
        ]
        clock = asyncio.get_running_loop().time
        began = due = clock()
        while True:
            fault = self._faults.of(self._device.name)
            bad = fault is not None and fault.kind == "bad"
            status = ua.StatusCode(ua.StatusCodes.BadSensorFailure if bad else ua.StatusCodes.Good)
            now = datetime.now(UTC)
            for number, (node, kind, wave) in enumerate(live):
                value = ua.Variant(_cast(wave(clock() - began), kind), kind)
                data = ua.DataValue(value, status, SourceTimestamp=now, ServerTimestamp=now)
                await server.write_attribute_value(node, data)
                if number % 200 == 199:
                    await asyncio.sleep(0)
            due += self._device.interval
            await asyncio.sleep(max(0.0, due - clock()))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(writer)
        server_writer: asyncio.StreamWriter | None = None
        try:
            if self._faults.refuses({self._device.name}):
                return
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._inner)
            flows = {
                asyncio.create_task(self._pump(reader, server_writer, spoilt=False)),
                asyncio.create_task(self._pump(server_reader, writer, spoilt=True)),
            }
            await asyncio.wait(flows, return_when=asyncio.FIRST_COMPLETED)
            for flow in flows:
                flow.cancel()
        except OSError:
            return
        finally:
            self.connections.discard(writer)
            writer.transport.abort()
            if server_writer is not None:
                server_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, spoilt: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await send(writer, data, self._faults.of(self._device.name) if spoilt else None)


def _cast(value: float | str, kind: ua.VariantType) -> float | int | bool | str:
    if kind == ua.VariantType.String:
        return str(value)
    if kind == ua.VariantType.Boolean:
        return bool(value)
    return float(value) if kind in (ua.VariantType.Float, ua.VariantType.Double) else int(float(value))


@asynccontextmanager
async def serve(devices: Iterable[Device], faults: Faults | None = None) -> AsyncIterator[dict[int, Server]]:
    """Serves while entered; gives the server of each port. Raises OSError when a port is taken."""
    servers: dict[int, Server] = {}
    async with AsyncExitStack() as stack:
        for device in devices:
            server = Server(device, faults or Faults(set()))
            servers[await stack.enter_async_context(server.running())] = server
        yield servers
