"""From where a request comes, and who is let in from there."""

import pytest

from proxy_cli.access.addresses import Addresses, is_among
from proxy_cli.errors import Forbidden


@pytest.mark.parametrize(
    ("address", "listed", "inside"),
    [
        ("10.1.2.3", ("10.0.0.0/8",), True),
        ("10.1.2.3", ("10.1.2.3",), True),
        ("11.1.2.3", ("10.0.0.0/8",), False),
        ("::ffff:10.1.2.3", ("10.0.0.0/8",), True),
        ("fe80::1%eth0", ("fe80::/10",), True),
        ("2001:db8::5", ("2001:db8::/32", "10.0.0.0/8"), True),
        ("", ("0.0.0.0/0",), False),
        ("localhost", ("127.0.0.1",), False),
        ("10.1.2.3", ("no network",), False),
    ],
)
def test_an_address_is_among_those_listed_or_not(address, listed, inside):
    """Both families, single addresses and networks; what is no address is in no network."""
    assert is_among(address, listed) is inside


@pytest.mark.row("A-14")
@pytest.mark.parametrize(
    ("peer", "told", "client"),
    [
        ("198.51.100.7", ["10.1.2.3"], "198.51.100.7"),
        ("192.0.2.1", ["10.1.2.3"], "10.1.2.3"),
        ("192.0.2.1", ["1.1.1.1, 10.1.2.3"], "10.1.2.3"),
        ("192.0.2.1", ["10.1.2.3, 192.0.2.2"], "10.1.2.3"),
        ("192.0.2.1", ["1.1.1.1", "10.1.2.3"], "10.1.2.3"),
        ("192.0.2.1", ["192.0.2.9"], "192.0.2.9"),
        ("192.0.2.1", ["10.1.2.3, nonsense"], "192.0.2.1"),
        ("192.0.2.1", [], "192.0.2.1"),
    ],
)
def test_a_proxy_in_front_is_believed_only_if_it_is_known(peer, told, client):
    """The last address that is no proxy of ours counts: what stands before it anybody may have written."""
    addresses = Addresses(trusted=["192.0.2.0/24"])

    assert addresses.client_of(tuple(("x-forwarded-for", each) for each in told), peer) == client


def test_without_known_proxies_the_header_is_not_looked_at():
    """Who connects is the client."""
    assert Addresses().client_of((("x-forwarded-for", "10.1.2.3"),), "192.0.2.1") == "192.0.2.1"


def test_calls_from_elsewhere_are_refused():
    """With the address they came from, for whoever has to add it to the list."""
    addresses = Addresses(allowed=["10.0.0.0/8"])

    addresses.let_in("10.1.1.1")
    with pytest.raises(Forbidden, match=r"198\.51\.100\.7") as caught:
        addresses.let_in("198.51.100.7")

    assert caught.value.code == "ip_not_allowed"
