"""Addresses that no request goes to unless somebody has named them."""

import ipaddress

import pytest

from proxy_cli.config.destination import is_metadata, leads_to_metadata, literal, refused
from proxy_cli.shapes import Backend


@pytest.mark.row("A-20")
@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254", "169.254.0.1", "0xa9fea9fe", "0xa9.0xfe.0xa9.0xfe", "2852039166", "169.16689662",
        "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::a9fe:a9fe",
        "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192",
        "metadata.google.internal", "METADATA.GOOGLE.INTERNAL.", "metadata", "instance-data",
    ],
)  # fmt: skip
def test_metadata_services_are_refused_in_every_spelling(host):
    """As a resolver reads it, and however IPv6 wraps it."""
    assert "metadata service" in (refused(Backend("http", host, 80)) or "")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"])
def test_what_is_no_servers_address_is_refused(host):
    """Nobody listens there, or everybody."""
    assert refused(Backend("http", host, 80)) == "is no address of a server"


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "192.168.1.9", "127.0.0.1", "::1", "localhost", "gpu-box", "api.openai.com", "100.64.0.1"]
)
def test_servers_of_ones_own_and_others_are_fine(host):
    """Private addresses are where servers of one's own are."""
    assert refused(Backend("http", host, 8000)) is None


@pytest.mark.parametrize("named", ["169.254.169.254", "169.254.169.254:8080"])
def test_a_host_that_is_named_is_fine(named):
    """With its port or without; a named port is that port alone."""
    assert refused(Backend("http", "169.254.169.254", 8080), [named]) is None
    assert refused(Backend("http", "169.254.169.254", 80), ["169.254.169.254:8080"]) is not None


@pytest.mark.parametrize("host", ["", "a.b", "1.2.3.4.5", "1 2", "日本", "0x", "example.com"])
def test_a_name_is_no_address(host):
    """Only a resolver knows where it leads."""
    assert literal(host) is None


def test_addresses_around_the_refused_ones_are_fine():
    """The rule takes no more than it says."""
    assert not is_metadata(ipaddress.ip_address("169.253.255.255"))
    assert not is_metadata(ipaddress.ip_address("169.255.0.0"))
    assert not is_metadata(ipaddress.ip_address("::1"))


@pytest.mark.row("A-20")
def test_a_name_may_not_lead_to_a_metadata_service():
    """Whatever it has led to before; who writes the address itself means it."""
    assert leads_to_metadata("harmless.example", "169.254.169.254")
    assert leads_to_metadata("harmless.example", "::ffff:169.254.169.254")
    assert not leads_to_metadata("169.254.169.254", "169.254.169.254")
    assert not leads_to_metadata("box.local", "fe80::1")
    assert not leads_to_metadata("box.local", "169.254.7.7")
    assert not leads_to_metadata("gpu-box", "10.0.0.1")
