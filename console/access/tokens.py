"""What we sign and give to a browser to keep: its session, what marks a known device, a login that is under way."""

import hashlib
from typing import Any, Literal

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from psycopg import AsyncConnection

Purpose = Literal["session", "device", "login"]

SECRET_BYTES = 32
LONGEST = 4096  # characters
_ALGORITHM = "HS256"
_KEPT = """
WITH made AS (
    INSERT INTO console_secrets VALUES ('cookies', %s) ON CONFLICT DO NOTHING RETURNING secret
) SELECT secret FROM made UNION ALL SELECT secret FROM console_secrets WHERE name = 'cookies' LIMIT 1
"""


class Signer:
    """Signs claims for a purpose, and reads them again for that purpose only, until they expire."""

    def __init__(self, secret: bytes) -> None:
        self._key = OctKey.import_key(secret)

    def signed(self, purpose: Purpose, claims: dict[str, Any], expires: float) -> str:
        """A token; `expires` in epoch seconds."""
        content = {**claims, "aud": purpose, "exp": int(expires)}
        return jwt.encode({"alg": _ALGORITHM}, content, self._key, algorithms=[_ALGORITHM])

    def read(self, purpose: Purpose, token: str, now: float) -> dict[str, Any] | None:
        """The claims; None for a token that is not ours, has another purpose, or has expired."""
        if not token or len(token) > LONGEST:
            return None
        try:
            claims = jwt.decode(token, self._key, algorithms=[_ALGORITHM]).claims
        except (JoseError, ValueError):
            return None
        is_good = claims.get("aud") == purpose and claims.get("exp", 0) > now
        return claims if is_good else None


async def load_secret(connection: AsyncConnection, fresh: bytes) -> bytes:
    """The secret that all replicas sign with: what is kept, or `fresh`, which is kept from now on."""
    for _ in range(2):  # the second time sees what another replica made at the same moment
        found = await (await connection.execute(_KEPT, (fresh,))).fetchone()
        if found is not None:
            return bytes(found[0])
    raise LookupError("console_secrets holds no secret, and takes none")


def digest(secret: str) -> bytes:
    """What is kept of a random secret: who reads the table cannot use it."""
    return hashlib.sha256(secret.encode()).digest()
