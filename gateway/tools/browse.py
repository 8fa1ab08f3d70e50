"""`nexus browse` and `nexus opcua`: the variables of an OPC UA server, and certificates."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from asyncua import Client, ua
from cryptography import x509

from gateway.drivers.driver import DeviceError
from gateway.drivers.opcua import client as opcua
from gateway.drivers.opcua import security as opcua_security
from gateway.drivers.opcua.client import endpoints
from gateway.drivers.opcua.limits import MOST_BYTES
from gateway.drivers.opcua.settings import Settings
from gateway.tools.sheet import quoted, tag_name

_DEEPEST = 12


async def browse(settings: Settings, timeout: float, most: int) -> list[str]:
    """A device file with the variables of the server, at most so many. Raises DeviceError."""
    async with opcua.session(settings, timeout, asked=MOST_BYTES) as client:
        try:
            names: dict[str, str] = {}
            namespaces = await client.get_namespace_array()
            async for path, node in _variables(client):
                name = ".".join(tag_name(part) for part in path)
                unique = name if name not in names else f"{name}_{len(names)}"
                names[unique] = _written(node, namespaces)
                if len(names) >= most:
                    break
        except (ua.UaError, OSError) as error:
            raise DeviceError(f"the server cannot be browsed: {error}") from error
    host = settings.endpoint.split("//")[1].split(":")[0].split("/")[0]
    head = ["devices:", f"  - name: {quoted(tag_name(host))}", "    protocol: opcua", *_connecting(settings)]
    tags = [f"      - {{name: {quoted(name)}, address: {quoted(node)}}}" for name, node in names.items()]
    return [*head, "    tags:", *tags] if tags else ["the server shows no variables to this user"]


def _written(node: ua.NodeId, namespaces: Sequence[str]) -> str:
    """A node with the URI of its namespace: indexes may change when the server restarts."""
    text: str = node.to_string()
    uri = namespaces[node.NamespaceIndex] if node.NamespaceIndex < len(namespaces) else ""
    return f"nsu={uri};{text.partition(';')[2]}" if uri and ";" not in uri else text


def _connecting(settings: Settings) -> list[str]:
    """The device file's keys for the connection, as the server was reached."""
    security = settings.security
    lines = [f"    endpoint: {quoted(settings.endpoint)}"]
    if security.policy != "None":
        lines.append(f"    security: {{policy: {security.policy}, mode: {security.mode}}}")
    if settings.username is not None:
        lines.append(f"    username: {quoted(settings.username)}")
    if settings.password_file is not None:
        lines.append(f"    password_file: {quoted(str(settings.password_file))}")
    if settings.insecure_password:
        lines.append("    insecure_password: true")
    return lines


async def _variables(client: Client) -> AsyncIterator[tuple[list[str], ua.NodeId]]:
    """The variables below Objects, with the names on the way to them; not the server's own."""
    waiting: list[tuple[list[str], ua.NodeId]] = [([], ua.NodeId(ua.ObjectIds.ObjectsFolder))]
    seen = {ua.NodeId(ua.ObjectIds.Server)}
    while waiting:
        path, at = waiting.pop(0)
        for child in await client.get_node(at).get_children_descriptions():
            node = child.NodeId
            if node in seen:
                continue
            seen.add(node)
            name = [*path, child.BrowseName.Name or node.to_string()]
            if child.NodeClass == ua.NodeClass.Variable and node.NamespaceIndex != 0:
                yield name, node
            if len(name) < _DEEPEST and child.NodeClass in (ua.NodeClass.Object, ua.NodeClass.Variable):
                waiting.append((name, node))


def certificate(new: bool, out: Path | None) -> list[str]:
    """Our own certificate, created if there is none; exported as DER to `out`. Raises DeviceError."""
    folder = opcua_security.pki() / "own"
    if new:
        opcua_security.create(folder / "certificate.der", folder / "key.pem")
    file, key = opcua_security.own()
    own = opcua_security.load(file)
    if out is not None:
        out.write_bytes(file.read_bytes())
    return [
        f"certificate  {file}",
        f"key          {key}",
        *([f"exported to  {out}"] if out else []),
        *_described(own),
        "Servers must trust it: copy it there, or connect once and move it from their rejected certificates.",
    ]


async def trust(endpoint: str, timeout: float, pinned: str | None) -> list[str]:
    """Shows a server's certificate; trusts it if `pinned` is its fingerprint. Raises DeviceError."""
    found = {one.ServerCertificate for one in await endpoints(endpoint, timeout) if one.ServerCertificate}
    if not found:
        raise DeviceError(f"{endpoint} offers no security, and shows no certificate")
    lines = []
    for data in found:
        server = x509.load_der_x509_certificate(data)
        fingerprint = opcua_security.fingerprint(server)
        lines += _described(server)
        if pinned is None:
            lines.append(
                f"if the server itself shows the same: nexus opcua trust {endpoint} --fingerprint {fingerprint}"
            )
        elif pinned.upper().replace(":", "") == fingerprint.replace(":", ""):
            name = f"{opcua_security.pinned(endpoint)}{fingerprint.replace(':', '')[:16].lower()}.der"
            file = opcua_security.pki() / "trusted" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            lines.append(f"trusted from now on: {file}")
        else:
            raise DeviceError(f"the server's certificate is another one: SHA-256 {fingerprint}")
    return lines


def _described(one: x509.Certificate) -> list[str]:
    try:
        uri = opcua_security.application_uri(one)
    except ValueError as error:
        uri = f"none: {error}"
    return [
        f"subject      {one.subject.rfc4514_string()}",
        f"URI          {uri}",
        f"SHA-256      {opcua_security.fingerprint(one)}",
        f"expires      {one.not_valid_after_utc:%Y-%m-%d}, in {opcua_security.days_left(one):.0f} days",
    ]
