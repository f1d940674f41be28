"""Addresses that no request of ours goes to unless somebody who may decide it has named them: metadata services.

A cloud's metadata service hands out the machine's own credentials to whoever asks from it. Private addresses and this
machine are not among them: that is where servers of one's own are. Owns the list and every spelling of an address that
a resolver would accept.
"""

import ipaddress
import socket
from collections.abc import Collection
from typing import Final

from proxy_cli.shapes import Backend

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAMES: Final = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)
_ADDRESSES: Final = frozenset(
    ipaddress.ip_address(each)
    for each in (
        "169.254.169.254",  # most clouds
        "169.254.170.2",  # Amazon's containers
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure's own side of a virtual machine
        "192.0.0.192",  # Oracle Cloud
        "fd00:ec2::254",  # Amazon, over IPv6
        "fd20:ce::254",  # Google, likewise
        "fe80::a9fe:a9fe",  # OpenStack, likewise
    )
)
_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address behind a translator


def refused(backend: Backend, allowed: Collection[str] = ()) -> str | None:
    """Why an address that came over the API is not used, as the end of a sentence; None for one that is fine.

    `allowed` are hosts, or hosts with a port, that are fine whatever they are.
    """
    if backend.host in allowed or f"{backend.host}:{backend.port}" in allowed or backend.authority in allowed:
        return None
    name = backend.host.lower().rstrip(".")
    address = literal(name)
    if name in _NAMES or (address is not None and (is_metadata(address) or _unwrapped(address).is_link_local)):
        return "leads to a metadata service or a link-local address"
    if address is not None and (address.is_multicast or address.is_unspecified or _is_broadcast(address)):
        return "is no address of a server"
    return None


def literal(host: str) -> Address | None:
    """The address that a host is when no resolver is asked: also `0x7f.1` and `2130706433`, which resolvers accept."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host)) if host.isascii() and " " not in host else None
    except (OSError, ValueError):
        return None


def is_metadata(address: Address) -> bool:
    """Whether a metadata service answers at an address, in whatever form of IPv6 it is wrapped."""
    return _unwrapped(address) in _ADDRESSES


def leads_to_metadata(name: str, resolved: str) -> bool:
    """Whether a name, which is no address itself, was resolved to a metadata service."""
    address = literal(resolved)
    return address is not None and is_metadata(address) and literal(name) is None


def _unwrapped(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    # ::a.b.c.d is long out of use, and systems differ in what they make of it.
    if int(address) >> 32 == 0 and int(address) > 0xFFFF:
        return ipaddress.IPv4Address(int(address))
    return address.ipv4_mapped or address.sixtofour or address


def _is_broadcast(address: Address) -> bool:
    return address == ipaddress.IPv4Address("255.255.255.255")
