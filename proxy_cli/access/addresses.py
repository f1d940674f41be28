"""From where a request comes, and whether callers from there are let in.

Pure. A header is believed about it only where the peer itself is a proxy that the configuration names; else anybody
could say to come from anywhere.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from proxy_cli.errors import Forbidden
from proxy_cli.shapes import Headers

Network = IPv4Network | IPv6Network
_FORWARDED: Final = "x-forwarded-for"


class Addresses:
    """Who may call by address, and which proxies are believed."""

    __slots__ = ("allowed", "trusted")

    def __init__(self, *, allowed: Sequence[str] = (), trusted: Sequence[str] = ()) -> None:
        self.allowed = tuple(allowed)
        self.trusted = tuple(trusted)  # none: X-Forwarded-For is not looked at

    def client_of(self, headers: Headers, peer: str) -> str:
        """The client's address: the peer's own, or what trusted proxies in front say of it."""
        if not self.trusted or not is_among(peer, self.trusted):
            return peer
        told = [part.strip() for name, value in headers if name == _FORWARDED for part in value.split(",")]
        # Each proxy writes whom it was called by behind what it was told: the last one that is no proxy of ours counts.
        for address in reversed(told):
            if _parsed(address) is None:
                return peer
            peer = address
            if not is_among(address, self.trusted):
                break
        return peer

    def let_in(self, client: str) -> None:
        """Raise Forbidden where callers from there are not let in."""
        if self.allowed and not is_among(client, self.allowed):
            raise refusal(client)


def refusal(client: str) -> Forbidden:
    """What is told to a caller from elsewhere."""
    shown = client if _parsed(client) is not None else "there"
    return Forbidden(f"calls from {shown} are not allowed here; call from an allowed address", code="ip_not_allowed")


@lru_cache(maxsize=4096)
def is_among(address: str, ranges: tuple[str, ...]) -> bool:
    """Whether an address is one of those listed, or lies in a network that is."""
    parsed = _parsed(address)
    if parsed is None:
        return False
    return any(parsed in network for each in ranges if (network := network_of(each)) is not None)


@lru_cache(maxsize=1024)
def network_of(text: str) -> Network | None:
    """A network, or the one address, that a text names; None for other texts."""
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A listener for both families sees IPv4 clients in this form.
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
