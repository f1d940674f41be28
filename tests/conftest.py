"""What every test may ask for: tools of the machine, and whether long rows run whole."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy_cli.store.settings import StoreSettings, settings_of
from tests.fakes.store import PostgresServer
from tests.fakes.store import postgres_server as shared_postgres_server

ROOT = Path(__file__).resolve().parent.parent
STRICT = os.environ.get("LLMPROXY_TESTS_STRICT") == "1"
DEEP = os.environ.get("LLMPROXY_DEEP") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave tests that are marked `deep` to `make deep`."""
    if DEEP:
        return
    for item in items:
        if item.get_closest_marker("deep"):
            item.add_marker(pytest.mark.skip(reason="runs in `make deep` only"))


@pytest.fixture(scope="session")
def require() -> Callable[[str], str]:
    """`require("openssl")`: the path of a program; without it the test is skipped, or fails where nothing may be."""

    def path_of(tool: str) -> str:
        found = shutil.which(tool)
        if found:
            return found
        if STRICT:
            pytest.fail(f"{tool} is not installed, and LLMPROXY_TESTS_STRICT=1 allows no skips")
        pytest.skip(f"{tool} is not installed")

    return path_of


@pytest.fixture(scope="session")
def postgres_server() -> PostgresServer:
    """A real PostgreSQL; without it the test is skipped, or fails where nothing may be."""
    server = shared_postgres_server()
    if server is None:
        absent = pytest.fail if STRICT else pytest.skip
        absent("PostgreSQL is not installed")
    return server


@pytest.fixture
def postgres(postgres_server: PostgresServer, tmp_path: Path) -> StoreSettings:
    """A new database of a real PostgreSQL, with all our tables in it."""
    return settings_of(postgres_server.url(postgres_server.new()), {}, tmp_path, pool=4)


@pytest.fixture(scope="session")
def deep() -> bool:
    """Whether a test may take its time: a small sample of the long rows otherwise."""
    return DEEP


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout's own folder."""
    return ROOT
