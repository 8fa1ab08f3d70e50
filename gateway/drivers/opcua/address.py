"""OPC UA addresses: nodes."""

import re
import struct
from dataclasses import dataclass

from asyncua import ua
from asyncua.ua import ua_binary

# For editors: what `parse` takes, nearly.
PATTERN = r"^\s*(nsu=[^;\s][^;]*;|ns=\d+;)?(i=\d+|s=.+|g=[0-9A-Fa-f-]+|b=.+)\s*$"
_FORM = re.compile(
    r"(?:nsu=(?P<uri>[^;\s][^;]*);|(?P<index>ns=-?\d+;))?\s*(?P<identifier>i=-?\d+|g=[^;]+|b=[^;]+|s=.+)"
)
_TWO_NAMESPACES = re.compile(r"(nsu?=[^;]*;\s*){2}")


@dataclass(frozen=True, slots=True)
class Address:
    """A node; with `uri` its namespace is looked up in the server, and `node` has no index."""

    node: str
    uri: str | None = None


def parse(text: str) -> Address:
    """Reads `ns=2;s=Press.Force`, `i=2258` or `nsu=urn:vendor;s=Force`. Raises ValueError that says what is right."""
    written = text.strip()
    if _TWO_NAMESPACES.match(written):
        raise ValueError("a node has one namespace, given once: by its index (ns=) or by its URI (nsu=)")
    match = _FORM.fullmatch(written)
    node = f"{match['index'] or ''}{match['identifier']}" if match else ""
    try:
        ua_binary.nodeid_to_binary(ua.NodeId.from_string(node))
    except struct.error:
        raise ValueError("a namespace's index is 0 to 65535, and a numeric identifier 0 to 4294967295") from None
    except (ua.UaError, ValueError):
        raise ValueError("write it like ns=2;s=Press.Force, ns=3;i=1001 or nsu=urn:vendor;s=Force") from None
    return Address(node, match["uri"] if match else None)
