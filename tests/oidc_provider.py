"""A small OpenID provider: one user, who is asked nothing, and the lies that a test wants it to tell."""

import hashlib
import json
import threading
from base64 import b64decode, urlsafe_b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

CLIENT, SECRET = "nexus-console", "the client's secret"


class Provider:
    """Serves discovery, keys, the authorization endpoint and tokens; `claims` and `header` go into the ID token."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.key = self._new_key()
        self.signs_with: RSAKey | None = None  # another key than the one that it shows
        self.error: str | None = None
        self._codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider._get(self)

            def do_POST(self) -> None:
                provider._token(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}/realms/plant"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def rotate(self) -> None:
        """It signs with a new key from now on."""
        self.key = self._new_key()

    @staticmethod
    def _new_key() -> RSAKey:
        return RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)

    def _get(self, request: BaseHTTPRequestHandler) -> None:
        path, query = urlsplit(request.path).path, parse_qs(urlsplit(request.path).query)
        if path.endswith("/.well-known/openid-configuration"):
            _send(
                request,
                {
                    "issuer": self.issuer,
                    "authorization_endpoint": f"{self.issuer}/auth",
                    "token_endpoint": f"{self.issuer}/token",
                    "jwks_uri": f"{self.issuer}/keys",
                },
            )
        elif path.endswith("/keys"):
            keys: Any = KeySet([self.key]).as_dict(private=False)
            _send(request, {"keys": [{"kty": "of the future", "kid": "x"}, *keys["keys"]]})
        else:
            self._authorize(request, {name: values[0] for name, values in query.items()})

    def _authorize(self, request: BaseHTTPRequestHandler, query: dict[str, str]) -> None:
        code = f"code {len(self._codes)}"
        self._codes[code] = query
        back = {"error": self.error} if self.error else {"code": code}
        request.send_response(302)
        request.send_header("Location", f"{query['redirect_uri']}?{urlencode({**back, 'state': query['state']})}")
        request.end_headers()

    def _token(self, request: BaseHTTPRequestHandler) -> None:
        form = parse_qs(request.rfile.read(int(request.headers["Content-Length"])).decode())
        given = self._codes.pop(form["code"][0], None)
        challenge = urlsafe_b64encode(hashlib.sha256(form["code_verifier"][0].encode()).digest()).decode().rstrip("=")
        login = b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        is_right = login in (f"{CLIENT}:{SECRET}", f"{CLIENT}:{quote(SECRET)}")
        if given is None or challenge != given["code_challenge"] or not is_right:
            _send(request, {"error": "invalid_grant"}, 400)
            return
        claims = {
            **{"iss": self.issuer, "aud": CLIENT, "sub": "4711", "exp": int(time()) + 300, "iat": int(time())},
            **{"nonce": given["nonce"], "preferred_username": "anna", "groups": ["staff", "plant-engineers"]},
            **self.claims,
        }
        key = self.signs_with or self.key
        header = {"alg": "RS256", "kid": self.key.kid, **self.header}
        token = jwt.encode(header, claims, key)
        _send(request, {"access_token": "x", "token_type": "Bearer", "id_token": token})


def _send(request: BaseHTTPRequestHandler, content: object, status: int = 200) -> None:
    body = json.dumps(content).encode()
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
