"""A small stand-in of Kubernetes' API server: Leases of one namespace, over TLS, for a bearer token."""

import asyncio
import itertools
import json
import ssl
import threading
from pathlib import Path
from typing import Any

import trustme
from aiohttp import web

from tests.parts import free_port, until

ROOT = "/apis/coordination.k8s.io/v1/namespaces/plant/leases"
TOKEN = "the-token"


class LeaseApi:
    """Serves until `close`; while `is_up` is false it refuses, as an API server that starts does.

    With `conflicts` somebody else creates each Lease just before we do.
    """

    def __init__(self, folder: Path) -> None:
        self.port, self.is_up, self.conflicts = free_port(), True, False
        self.leases: dict[str, dict[str, Any]] = {}
        self.requests = 0
        self._versions = itertools.count(1)
        authority = trustme.CA()
        self.account = folder / "account"
        self.account.mkdir()
        authority.cert_pem.write_to_path(self.account / "ca.crt")
        (self.account / "token").write_text(TOKEN)
        (self.account / "namespace").write_text("plant")
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(self._tls)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._thread.start()
        until(self._ready.is_set, "the stand-in listens")

    @property
    def environment(self) -> dict[str, str]:
        return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.port)}

    def spoil(self, name: str) -> None:
        """Somebody writes nonsense into a Lease."""
        metadata = self.leases[name]["metadata"]
        metadata["annotations"]["nexus-edge/presence"] = "nonsense"
        metadata["resourceVersion"] = str(next(self._versions))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(middlewares=[self._guarded])
        app.add_routes(
            [
                web.get(ROOT, self._list),
                web.post(ROOT, self._create),
                web.patch(ROOT + "/{name}", self._patch),
                web.delete(ROOT + "/{name}", self._delete),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=self._tls).start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.run_until_complete(asyncio.sleep(0.2))  # for the goodbyes of TLS

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests += 1
        if not self.is_up:
            return web.json_response({"kind": "Status", "code": 503}, status=503)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"kind": "Status", "code": 401}, status=401)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _list(self, request: web.Request) -> web.StreamResponse:
        label, _, value = request.query["labelSelector"].partition("=")
        found = [one for one in self.leases.values() if one["metadata"]["labels"].get(label) == value]
        text = json.dumps({"kind": "LeaseList", "items": found}).encode()
        answer = web.StreamResponse()
        await answer.prepare(request)
        for part in (text[:20], text[20:]):  # in pieces, as the real one answers
            await answer.write(part)
            await asyncio.sleep(0.01)
        return answer

    async def _create(self, request: web.Request) -> web.Response:
        lease = await request.json()
        name = lease["metadata"]["name"]
        if name in self.leases or self.conflicts:
            return web.json_response({"kind": "Status", "code": 409}, status=409)
        return self._stored(name, lease, 201)

    async def _patch(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.leases:
            return web.json_response({"kind": "Status", "code": 404}, status=404)
        assert request.content_type == "application/merge-patch+json"
        return self._stored(name, await request.json(), 200)

    async def _delete(self, request: web.Request) -> web.Response:
        found = self.leases.pop(request.match_info["name"], None)
        return web.json_response({"kind": "Status"}, status=200 if found else 404)

    def _stored(self, name: str, lease: dict[str, Any], status: int) -> web.Response:
        lease["metadata"]["resourceVersion"] = str(next(self._versions))
        self.leases[name] = lease
        return web.json_response(lease, status=status)
