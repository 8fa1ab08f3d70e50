"""The program's name and version."""

from importlib.metadata import version


def program() -> str:
    """Name and version, for peers and people."""
    return f"nexus-edge {version('nexus-edge')}"
