"""OPC UA addresses: nodes."""

from dataclasses import dataclass

from asyncua import ua

# For editors: what `parse` takes, nearly.
PATTERN = r"^\s*((nsu=[^;]*|srv=\d+|ns=\d+);)*(i=\d+|s=.+|g=[0-9A-Fa-f-]+|b=.*)\s*$"


@dataclass(frozen=True, slots=True)
class Address:
    """A node; with `uri` its namespace is looked up in the server, and `node` has no index."""

    node: str
    uri: str | None = None


def parse(text: str) -> Address:
    """Reads `ns=2;s=Press.Force`, `i=2258` or `nsu=urn:vendor;s=Force`. Raises ValueError that says what is right."""
    uri, written = "", text.strip()
    if written.startswith("nsu="):
        uri, _semicolon, written = written.removeprefix("nsu=").partition(";")
    try:
        ua.NodeId.from_string(written)
    except (ua.UaError, ValueError):
        raise ValueError("write it like ns=2;s=Press.Force, ns=3;i=1001 or nsu=urn:vendor;s=Force") from None
    if uri and written.startswith("ns="):
        raise ValueError("a namespace is given by its index (ns=) or by its URI (nsu=), not by both")
    return Address(written, uri or None)
