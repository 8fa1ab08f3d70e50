"""A secret in a file of its own: a single line."""

from pathlib import Path

_MOST_BYTES = 1_000


def read_line(file: Path) -> str:
    """The single line of a file. Raises ValueError if it has more or none, and OSError."""
    with file.open("rb") as source:
        data = source.read(_MOST_BYTES + 1)
    text = data.decode(errors="replace").strip()
    if len(data) > _MOST_BYTES or not text.isprintable() or "\ufffd" in text:
        raise ValueError(f"must hold one line of text, of at most {_MOST_BYTES:,} bytes")
    return text
