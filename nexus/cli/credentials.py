"""All secrets of a deployment, checked before anything starts with them; and the broker's users made of them."""

import hashlib
import json
import os
import re
import secrets
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

from nexus.process.errors import ConfigError
from nexus.process.settings import SHORTEST_SECRET

USER, SECRET = "MQTT_USER_", "SECRET_"
SAMPLES = frozenset(
    {"changeme", "changemechangeme", "password", "secret", "admin", "public", "postgres", "nexus", "grafana", "emqx"}
)
_REMEDY = "generate a real one with scripts/k8s-secrets or `openssl rand -hex 24`"
_TURNS = 1_000  # of the hash: the passwords are long and random, and Mosquitto checks one at each connection
_UNSAFE = re.compile(r"[^A-Za-z0-9._~-]")


def faults(environment: Mapping[str, str], *, development: bool) -> list[str]:
    """What is wrong with the secrets in MQTT_USER_… and SECRET_…, one line each; never with a secret in it."""
    found = []
    for name, secret in sorted(environment.items()):
        if name.startswith(USER) and _UNSAFE.search(name.removeprefix(USER)):
            found.append(f"{name}: a user name has only letters, digits, - and _")
        if name.startswith((USER, SECRET)) and (fault := _fault(secret, development=development)):
            found.append(f"{name}: {fault}")
    return found


def _fault(secret: str, *, development: bool) -> str | None:
    if not secret:
        return "it is empty"
    if _UNSAFE.search(secret):
        return "only letters, digits and . _ ~ - are allowed: it becomes part of a URL"
    if development:
        return None
    if re.sub(r"[\W_0-9]", "", secret).lower() in SAMPLES:
        return f"this is a sample; {_REMEDY}"
    if len(secret) < SHORTEST_SECRET:
        return f"shorter than {SHORTEST_SECRET} characters; {_REMEDY}"
    return None


def check(environment: Mapping[str, str], *, development: bool, users: Path | None) -> int:
    """How many secrets there are. Writes the broker's users to `users`, for EMQX if it is .json, else for Mosquitto.

    Raises ConfigError.
    """
    named = [name for name in environment if name.startswith((USER, SECRET))]
    if not named:
        raise ConfigError(f"no secrets: set them in variables {USER}name and {SECRET}name")
    if wrong := faults(environment, development=development):
        raise ConfigError("\n".join(wrong))
    if users is not None:
        passwords = {one.removeprefix(USER): environment[one] for one in sorted(named) if one.startswith(USER)}
        text = _for_emqx(passwords) if users.suffix == ".json" else _for_mosquitto(passwords)
        with open(users, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(text)
    return len(named)


def _for_emqx(passwords: Mapping[str, str]) -> str:
    return json.dumps(
        [{"user_id": name, "password": password, "is_superuser": False} for name, password in passwords.items()]
    )


def _for_mosquitto(passwords: Mapping[str, str]) -> str:
    """As mosquitto_passwd writes them: `$7$turns$salt$key`, which is PBKDF2 with SHA-512."""
    lines = []
    for name, password in passwords.items():
        salt = secrets.token_bytes(12)
        key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _TURNS)
        lines.append(f"{name}:$7${_TURNS}${b64encode(salt).decode()}${b64encode(key).decode()}\n")
    return "".join(lines)
