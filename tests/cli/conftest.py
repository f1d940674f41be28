"""The command, in a folder of its own."""

import pytest

from tests.fakes.command import Command, free_port


@pytest.fixture
def command(tmp_path):
    """Runs `llmproxy` as a program; whatever still serves at the end is killed."""
    running = Command(tmp_path)
    yield running
    running.close()


@pytest.fixture
def port():
    """A port that nobody listens on."""
    return free_port()
