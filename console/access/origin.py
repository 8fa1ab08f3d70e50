"""Where a request comes from: the client's address behind proxies, and the page that sent it."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

Networks = Sequence[IPv4Network | IPv6Network]

_PORTS = {"http": "80", "https": "443"}
_TLS = ("https", "wss")  # Traefik says wss of a WebSocket


def client_address(peer: str, forwarded_for: str, proxies: Networks) -> str:
    """The first address, from our side, that is none of our proxies; what stands before it anybody can have written."""
    here = peer
    for hop in reversed(forwarded_for.split(",")):
        if not is_in(here, proxies) or not _is_address(said := hop.strip()):
            break
        here = said
    return here


def is_secure(scheme: str, peer: str, forwarded_proto: str, proxies: Networks) -> bool:
    """Whether the browser speaks TLS, to us or to a proxy of ours."""
    if forwarded_proto and is_in(peer, proxies):
        return forwarded_proto.rpartition(",")[2].strip().lower() in _TLS
    return scheme in _TLS


def is_own_page(origin: str, host: str, ours: str | None, *, secure: bool) -> bool:
    """Whether an Origin header names a page of ours: from the Host that was asked, or `ours`.

    Ports count: another program of this machine, on another port, shares our cookies. Where the browser speaks TLS
    (`secure`), a page without it is not ours: anybody on the way can have written it.
    """
    if origin == ours:
        return True
    try:
        page = urlsplit(origin)
    except ValueError:
        return False
    if page.scheme not in _PORTS or not page.netloc or (secure and page.scheme != "https"):
        return False
    port = f":{_PORTS[page.scheme]}"
    return page.netloc.lower().removesuffix(port) == host.lower().removesuffix(port)


def network(address: str) -> str:
    """What counts as one for limits: an address, or of IPv6 the /64 that one subscriber has."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(ip_network(f"{address}/64", strict=False)) if found.version == 6 else address


def is_in(address: str, networks: Networks) -> bool:
    """Whether it is an address, and in one of these networks."""
    return _is_address(address) and any(ip_address(address) in one for one in networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
