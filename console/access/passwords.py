"""Passwords: kept as scrypt, and compared in the same time whether there is such a person or not."""

import hashlib
import hmac
import secrets
import unicodedata
from base64 import b64decode, b64encode

from nexus.process.settings import SHORTEST_SECRET

LONGEST = 1000  # characters
_LOG_N, _R, _P = 15, 8, 1  # 32 MB and a tenth of a second
_SALT_BYTES, _KEY_BYTES = 16, 32


def fault(password: str) -> str | None:
    """What is wrong with a new password."""
    if len(password) < SHORTEST_SECRET:
        return f"a password has at least {SHORTEST_SECRET} characters: four words make a good one"
    if len(password) > LONGEST:
        return f"a password has at most {LONGEST} characters"
    if len(set(password)) < 4:
        return "a password of so few different characters is guessed at once"
    return None


def hashed(password: str) -> str:
    """What is kept of it: `scrypt$log2(N)$r$p$salt$key`."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return _written(salt, _derived(password, _LOG_N, _R, _P, salt))


def matches(password: str, kept: str | None) -> bool:
    """Whether this is the password; without one that is kept it takes as long, and is not."""
    _, log_n, r, p, salt, key = (kept or _NOBODYS).split("$")
    found = _derived(password, int(log_n), int(r), int(p), b64decode(salt))
    return hmac.compare_digest(found, b64decode(key))


def _derived(password: str, log_n: int, r: int, p: int, salt: bytes) -> bytes:
    typed = unicodedata.normalize("NFKC", password).encode(errors="surrogatepass")
    memory = 256 * r * 2**log_n  # twice what it takes
    return hashlib.scrypt(typed, salt=salt, n=2**log_n, r=r, p=p, maxmem=memory, dklen=_KEY_BYTES)


def _written(salt: bytes, key: bytes) -> str:
    return f"scrypt${_LOG_N}${_R}${_P}${b64encode(salt).decode()}${b64encode(key).decode()}"


_NOBODYS = _written(secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_KEY_BYTES))
