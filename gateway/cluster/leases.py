"""Kubernetes Leases as a second witness: four requests to the API server, by hand.

A Lease's annotation carries the same presence as the broker does. Renewals are observed as client-go does, by change
and by our own clock: whose clock `renewTime` was written by does not matter.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from nexus.contract.presence import Presence, encode_presence
from nexus.process import tls
from nexus.process.errors import ConfigError

REQUEST_SECONDS = 3.0
_GROUP = "nexus-edge/group"
_MEMBER, _PRESENCE = "nexus-edge/member", "nexus-edge/presence"
_MOST_BYTES = 4 * 1024 * 1024


class LeasesError(Exception):
    """The API server is away, or refuses the request. The text is for the operator."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A member's Lease; `version` changes with each write."""

    member: str
    presence: str
    version: str


def is_there(account: Path) -> bool:
    """Whether we are a pod with a service account."""
    return "KUBERNETES_SERVICE_HOST" in os.environ and (account / "token").exists()


class Leases:
    """The Leases of one group in our namespace."""

    def __init__(self, session: aiohttp.ClientSession, account: Path, group: str) -> None:
        host = os.environ.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        namespace = _read(account / "namespace")
        host = f"[{host}]" if ":" in host else host
        self._url = f"https://{host}:{port}/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._session, self._token, self._group = session, account / "token", _short(group)

    async def list(self) -> list[Lease]:
        """All members' Leases, as the API server has them now. Raises LeasesError."""
        _, found = await self._ask("GET", f"{self._url}?labelSelector={_GROUP}%3D{self._group}")
        leases = []
        for item in found.get("items") or ():
            metadata = item.get("metadata") or {}
            notes = metadata.get("annotations") or {}
            if _MEMBER in notes and _PRESENCE in notes:
                leases.append(Lease(notes[_MEMBER], notes[_PRESENCE], str(metadata.get("resourceVersion"))))
        return leases

    async def renew(self, member: str, presence: Presence, seconds: float) -> None:
        """Renews our Lease. Raises LeasesError."""
        name = self._name(member)
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": name,
                "labels": {_GROUP: self._group, "app.kubernetes.io/part-of": "nexus"},
                "annotations": {_MEMBER: member, _PRESENCE: encode_presence(presence).decode()},
            },
            "spec": {
                "holderIdentity": presence.id,
                "leaseDurationSeconds": max(1, round(seconds)),
                "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            },
        }
        status, _ = await self._ask("PATCH", f"{self._url}/{name}", lease, "application/merge-patch+json")
        if status == 404:
            await self._ask("POST", self._url, lease)

    async def clear(self, member: str) -> None:
        """Removes a member's Lease: it left, or is gone. Raises LeasesError."""
        await self._ask("DELETE", f"{self._url}/{self._name(member)}")

    def _name(self, member: str) -> str:
        return f"nexus-gateway-{_short(f'{self._group}/{member}')}"

    async def _ask(
        self, method: str, url: str, body: object = None, kind: str = "application/json"
    ) -> tuple[int, dict[str, Any]]:
        try:
            # Read anew each time: the kubelet renews it.
            headers = {"Authorization": f"Bearer {_read(self._token)}", "Content-Type": kind}
            async with self._session.request(method, url, json=body, headers=headers) as answer:
                data = await _body(answer)
                if answer.status not in (200, 201, 404):
                    raise LeasesError(f"the API server refuses to {method} Leases: {answer.status} {answer.reason}")
                if answer.status == 404 and method not in ("PATCH", "DELETE"):
                    raise LeasesError("the API server has no Leases in this namespace: 404")
                found = await asyncio.to_thread(_parsed, data) if len(data) > 65_536 else _parsed(data)
                return answer.status, found
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise LeasesError(f"no answer from the API server: {str(error) or type(error).__name__}") from error
        except ConfigError as error:
            raise LeasesError(str(error)) from error


@asynccontextmanager
async def connected(account: Path, group: str) -> AsyncIterator[Leases]:
    """Leases of `group`, while entered. Raises ConfigError when the service account's files are not there."""
    try:
        context = tls.trusting(account / "ca.crt")
    except OSError as error:
        raise ConfigError(f"NEXUS_SERVICE_ACCOUNT: {account / 'ca.crt'} cannot be read: {error.strerror}") from None
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    connector = aiohttp.TCPConnector(ssl=context, limit=4)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        yield Leases(session, account, group)


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """All of it: what is longer than a packet comes in several."""
    body = bytearray()
    async for part in answer.content.iter_any():
        body += part
        if len(body) > _MOST_BYTES:
            raise LeasesError(f"the API server answers with more than {_MOST_BYTES} bytes")
    return bytes(body)


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(f"it is not JSON: {error}") from error
    return found if isinstance(found, dict) else {}


def _short(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"NEXUS_SERVICE_ACCOUNT: {file} cannot be read: {error}") from None
