"""Where this program keeps what must outlive it, when nobody says otherwise."""

import os
from pathlib import Path


def folder(name: str) -> Path:
    """`/var/lib/nexus/{name}` for who may write there, else `~/.local/state/nexus/{name}`. Not made yet."""
    if os.access("/var/lib", os.W_OK):
        return Path("/var/lib/nexus") / name
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "nexus" / name
