"""Which program this is."""

from importlib.metadata import version


def program() -> str:
    """Its name and version."""
    return f"nexus-edge {version('nexus-edge')}"
