"""A broker in EMQX's place: Mosquitto with the same users, rules and pages, made of EMQX's own files.

Also the entry point of a container that stands in for EMQX's image. Knows only what emqx/acl.conf uses.
"""

import base64
import hashlib
import http.server
import json
import os
import re
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

USER = r'\{user, (?:"(?P<user>[\w-]+)"|\{re, "(?P<pattern>[^"]+)"\})\}'
LISTENER = r'\{client_attr, "listener", "(?P<listener>\w+)"\}'
WHO = rf"all|{USER}|\{{'and', \[{USER.replace('<user>', '<user2>').replace('<pattern>', '<pattern2>')}, "
WHO += rf"{LISTENER}\]\}}|{LISTENER.replace('<listener>', '<listener2>')}"
RULE = re.compile(
    rf"\{{(?P<verdict>allow|deny), (?:{WHO}), (?P<action>publish|subscribe|all), \[(?P<topics>.*?)\]\}}\."
)
TOPIC = re.compile(r'(\{eq, )?"([^"]+)"(?(1)\})')
ACCESS = {"publish": "write", "subscribe": "read", "all": "readwrite"}


@dataclass(frozen=True)
class Rule:
    """One of EMQX's rules: who on which listener may, or may not, do what on which topics; None is anybody, anywhere."""

    allows: bool
    user: str | None
    listener: str | None
    action: str
    topics: tuple[tuple[bool, str], ...]  # whether just this filter is meant, not what it matches; and the filter

    def speaks_of(self, user: str, listener: str) -> bool:
        return (self.user is None or re.search(self.user, user) is not None) and self.listener in (None, listener)


def parsed(text: str) -> list[Rule]:
    """The rules but for the last, which denies the rest."""
    lines = [line for line in text.splitlines() if line and not line.startswith("%")]
    assert lines[-1] == "{deny, all}.", "what no rule names must be denied"
    found = []
    for line in lines[:-1]:
        match = RULE.fullmatch(line)
        assert match, f"a rule that this does not understand: {line}"
        exact, pattern = match["user"] or match["user2"], match["pattern"] or match["pattern2"]
        user = f"^{re.escape(exact)}$" if exact else pattern
        topics = tuple((bool(eq), name) for eq, name in TOPIC.findall(match["topics"]))
        assert ", ".join(one[0] for one in TOPIC.finditer(match["topics"])) == match["topics"], line
        listener = match["listener"] or match["listener2"]
        found.append(Rule(match["verdict"] == "allow", user, listener, match["action"], topics))
    return found


def may(rules: list[Rule], user: str, action: str, topic: str, listener: str = "default") -> bool:
    """What EMQX decides, on a topic or a filter: the first rule that fits.

    Shared subscriptions go by their real filter, and are off but on ingestion's listener (emqx.conf).
    """
    if topic.startswith("$share/"):
        if listener != "ingestion":
            return False
        topic = topic.split("/", 2)[2]
    for rule in rules:
        if rule.speaks_of(user, listener) and rule.action in (action, "all"):
            for exactly, name in rule.topics:
                own = name.replace("${username}", user)
                if topic == own if exactly else _matches(topic, own):
                    return rule.allows
    return False


def _matches(topic: str, pattern: str) -> bool:
    """As EMQX compares the two: a wildcard in `topic` is a word like any other."""
    words, wanted = topic.split("/"), pattern.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    if wanted[-1] == "#":
        wanted.pop()
        words = words[: len(wanted)]
    return len(words) == len(wanted) and all(want in ("+", word) for want, word in zip(wanted, words, strict=True))


def translated(rules: str, users: list[str]) -> str:
    """EMQX's rules as Mosquitto's, which knows no listeners, and judges messages where EMQX judges filters.

    So it has the rules that allow, each user's on its own listener, and denies the rest.
    """
    text = ""
    for user in users:
        text += f"user {user}\n"
        for rule in parsed(rules):
            if rule.allows and rule.speaks_of(user, "ingestion" if user == "ingestion" else "default"):
                names = [name.replace("${username}", user) for _, name in rule.topics]
                text += "".join(f"topic {ACCESS[rule.action]} {name}\n" for name in names)
    return text


def configured(folder: Path, users: dict[str, str], rules: str, *ports: int) -> Path:
    """Mosquitto's files, in a folder; gives the main one. `users` with their passwords."""
    passwords = folder / "passwords"
    passwords.write_text("".join(f"{user}:{_hashed(password)}\n" for user, password in users.items()))
    acl = folder / "acl"
    acl.write_text(translated(rules, list(users)))
    main = folder / "mosquitto.conf"
    main.write_text(
        f"allow_anonymous false\npassword_file {passwords}\nacl_file {acl}\n"
        "max_queued_messages 0\nmax_inflight_messages 65535\n" + "".join(f"listener {port}\n" for port in ports)
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
    given = {one["user_id"]: one["password"] for one in json.loads(Path("/run/nexus/users.json").read_text())}
    file = configured(own, given, (etc / "nexus-acl.conf").read_text(), 1883, 1884)
    os.environ["PATH"] += ":/usr/sbin"
    server = http.server.ThreadingHTTPServer(("", 18083), _Status)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    raise SystemExit(subprocess.run(["mosquitto", "-c", str(file)], check=False).returncode)
