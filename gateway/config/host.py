"""The `host` of a device: a name or an address, and nothing around it."""

import re
from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")


def checked(text: str) -> str:
    """Validates a host. Raises ValueError that says what would be right."""
    if "://" in text:
        raise ValueError(f"{text!r} is a URL: write the name or the address only, like 192.168.1.10")
    if text.count(":") == 1 and not text.startswith("["):
        name, _, port = text.partition(":")
        raise ValueError(f"{text!r} has a port in it: write `host: {name}` and `port: {port}`")
    if text.startswith("["):
        raise ValueError(f"{text!r} is an address as in a URL: write it without brackets")
    bare = text.removesuffix(".")
    if ":" in bare or re.fullmatch(r"[0-9.]+", bare):
        try:
            ip_address(bare)
        except ValueError:
            raise ValueError(f"{text!r} is not an IP address: four numbers from 0 to 255, or a name") from None
    elif not bare or len(bare) > 253 or not all(_LABEL.fullmatch(label) for label in bare.split(".")):
        raise ValueError(f"{text!r} is not a host: write a name or an address, like plc1.plant.lan or 192.168.1.10")
    return text


Host = Annotated[str, AfterValidator(checked)]
