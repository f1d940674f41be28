"""What the command line decides, as one plain value that the rooms below may read.

It holds only what was said: by an option, or by the variable that stands for it. `None` (for a switch: `False`)
means that nothing was said, so the file or the default decides. The command line fills it in; nobody changes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

DEFAULT_HOST: Final = "0.0.0.0"  # noqa: S104 - as LiteLLM: a proxy is there to be reached
LOCAL_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """One parsed command line, with the variables that stand for its options already in it."""

    config: Path | None = None

    host: str | None = None
    port: int | None = None
    num_workers: int = 1
    keepalive_timeout_s: float | None = None
    limit_concurrency: int | None = None  # per worker process; over it a 503
    max_requests_before_restart: int | None = None
    max_requests_before_restart_jitter: int = 0
    reload: bool = False  # take a changed file without being asked
    run_gunicorn: bool = False
    ssl_keyfile: Path | None = None
    ssl_certfile: Path | None = None

    # One model without a file: it answers under any requested name.
    model: str | None = None
    alias: str | None = None
    api_base: str | None = None
    api_version: str | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    temperature: float | None = None  # forced on every request, as LiteLLM does
    max_tokens: int | None = None  # forced on every request

    request_timeout_s: float | None = None
    drop_params: bool = False
    add_function_to_prompt: bool = False
    max_budget_usd: float | None = None

    debug: bool = False
    detailed_debug: bool = False
    local: bool = False  # loopback, and logs made for one developer's eyes

    def listen_host(self) -> str:
        """The address to listen on."""
        return self.host or (LOCAL_HOST if self.local else DEFAULT_HOST)

    def listen_port(self) -> int:
        """The port to listen on."""
        return self.port or DEFAULT_PORT
