"""The address that the command line decides on."""

import dataclasses

import pytest

from proxy_cli.config.flags import Flags


def test_flags_nothing_said_listens_as_litellm_does():
    """Without options the address is LiteLLM's: every interface, port 4000."""
    flags = Flags()

    assert (flags.listen_host(), flags.listen_port()) == ("0.0.0.0", 4000)


def test_flags_local_listens_on_loopback_unless_a_host_is_named():
    """`--local` keeps others out, and an explicit host wins over it."""
    assert Flags(local=True).listen_host() == "127.0.0.1"
    assert Flags(local=True, host="::1").listen_host() == "::1"


def test_flags_are_not_changed_once_made():
    """Every room reads the same command line."""
    flags = Flags(port=10080)

    with pytest.raises(dataclasses.FrozenInstanceError):
        flags.port = 1  # type: ignore[misc]
