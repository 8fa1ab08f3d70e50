"""The `nexus` command: one module a group of commands. Nothing below knows of it."""

from nexus.cli.app import main

__all__ = ["main"]
