"""Where this program keeps what must outlive it, when nobody says otherwise."""

import os
from pathlib import Path


def state_folder(name: str) -> Path:
    """A folder below NEXUS_STATE_DIR: by default `/var/lib/nexus` for who may write there, else `~/.local/state/nexus`.

    Not made yet.
    """
    if given := os.environ.get("NEXUS_STATE_DIR"):
        return Path(given) / name
    if os.access("/var/lib", os.W_OK):
        return Path("/var/lib/nexus") / name
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "nexus" / name
