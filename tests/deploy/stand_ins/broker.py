"""A broker in EMQX's place: Mosquitto with the same users, rules and pages, made of EMQX's own files.

Also the entry point of a container that stands in for EMQX's image. Knows only what emqx/acl.conf uses.
"""

import base64
import hashlib
import http.server
import os
import re
import subprocess
import threading
from pathlib import Path

RULE = re.compile(r'\{(allow|deny), (?:\{user, "(\w+)"\}, (publish|subscribe|all), \[(.*?)\]|all)\}\.')
ACCESS = {"publish": "write", "subscribe": "read", "all": "readwrite"}


def translated(rules: str) -> str:
    """EMQX's rules as Mosquitto's: both allow what a rule names; the last EMQX rule denies the rest, as Mosquitto does."""
    lines = [line for line in rules.splitlines() if line and not line.startswith("%")]
    found = [RULE.fullmatch(line) for line in lines]
    assert all(found), "a rule that this cannot translate"
    assert lines[-1] == "{deny, all}.", "what no rule names must be denied"
    text = ""
    for match in found[:-1]:
        assert match is not None
        verdict, user, action, topics = match.groups()
        assert verdict == "allow"
        text += f"user {user}\n" + "".join(f"topic {ACCESS[action]} {name}\n" for name in re.findall('"(.*?)"', topics))
    return text


def configured(folder: Path, users: str, rules: str, port: int, host: str = "") -> Path:
    """Mosquitto's files, in a folder; gives the main one. `users` as EMQX's bootstrap file has them."""
    passwords = folder / "passwords"
    entries = [line.split(",") for line in users.splitlines()[1:]]
    passwords.write_text("".join(f"{user}:{_hashed(password)}\n" for user, password, _ in entries))
    acl = folder / "acl"
    acl.write_text(translated(rules))
    main = folder / "mosquitto.conf"
    main.write_text(
        f"listener {port} {host}\nallow_anonymous false\npassword_file {passwords}\nacl_file {acl}\n"
        "max_queued_messages 0\nmax_inflight_messages 65535\n"
    )
    for file in (passwords, acl, main):
        file.chmod(0o644)
    return main


def _hashed(password: str) -> str:
    """As mosquitto_passwd does."""
    salt, turns = os.urandom(12), 101
    made = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, turns)
    return f"$7${turns}${base64.b64encode(salt).decode()}${base64.b64encode(made).decode()}"


class _Status(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/status" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    own = Path("/tmp/broker")
    own.mkdir(exist_ok=True)
    etc = Path("/opt/emqx/etc")
    file = configured(own, Path("/run/nexus/users.csv").read_text(), (etc / "nexus-acl.conf").read_text(), 1883)
    os.environ["PATH"] += ":/usr/sbin"
    server = http.server.ThreadingHTTPServer(("", 18083), _Status)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    raise SystemExit(subprocess.run(["mosquitto", "-c", str(file)], check=False).returncode)
