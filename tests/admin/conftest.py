"""A desk over an empty store, for everything that is asked of the office."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from proxy_cli.admin.table import ENDPOINTS
from proxy_cli.store.opening import open_store
from tests.fakes.office import Desk, office_over
from tests.fakes.store import fresh_store


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Every endpoint, over an empty file of SQLite."""
    store = fresh_store(tmp_path)
    yield Desk(office_over(store), tuple(ENDPOINTS))
    await store.close()


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def any_desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    """The same over each of the databases."""
    store = fresh_store(tmp_path) if request.param == "sqlite" else open_store(request.getfixturevalue("postgres"))
    yield Desk(office_over(store), tuple(ENDPOINTS))
    await store.close()
