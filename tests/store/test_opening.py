"""Which store stands behind which settings, and what it costs a process."""

import json
import subprocess
import sys

from proxy_cli.store.opening import open_store
from proxy_cli.store.settings import settings_of
from tests.fakes.store import fresh_settings

PROBE = """
import json, sys, threading
from pathlib import Path
from proxy_cli.store.opening import open_store
from proxy_cli.store.schema import migrate
from proxy_cli.store.settings import settings_of
settings = settings_of(sys.argv[1], {}, Path("."))
migrate(settings)
open_store(settings)
loaded = [name for name in ("alembic", "asyncpg", "sqlalchemy.ext.asyncio") if name in sys.modules]
print(json.dumps([loaded, threading.active_count()]))
"""


def test_the_kind_of_store_goes_by_the_settings(tmp_path):
    """Opening connects to nothing: a server need not be there."""
    assert open_store(fresh_settings(tmp_path)).dialect == "sqlite"
    assert open_store(settings_of("postgresql://u:p@127.0.0.1:1/d", {}, tmp_path)).dialect == "postgresql"


def test_a_file_costs_no_process_a_servers_driver(tmp_path, root):
    """Nor Alembic, new database or not; and no thread begins before the first work, for a fork comes between."""
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "-c", PROBE, f"{tmp_path}/a.db"], cwd=root, capture_output=True, text=True, check=True
        )

        assert json.loads(run.stdout) == [[], 1]
