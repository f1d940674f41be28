"""Routes that the settings name, and that are not there.

A path that is meant to be closed and has a slip in it stays open, and nobody sees it: so each is told at the start,
with its place. What is named is compared with the whole table, whatever parts of it are shown.
"""

from collections.abc import Sequence
from typing import Final

from proxy_cli.access.routes import GROUPS
from proxy_cli.config.load import Loaded
from proxy_cli.config.problem import Path, Problem, Severity, did_you_mean
from proxy_cli.config.schema import Config
from proxy_cli.server.routes import Route, meaningless

_CURE: Final = "GET /routes lists what there is"


def misnamed(config: Config, loaded: Loaded, table: Sequence[Route]) -> list[Problem]:
    """A warning for each path and group of the settings that means no route."""
    general = config.general_settings
    lists: tuple[tuple[Path, Sequence[str]], ...] = (
        (("general_settings", "public_routes"), general.public_routes),
        (("general_settings", "admin_only_routes"), general.admin_only_routes),
        (("general_settings", "allowed_routes"), general.allowed_routes),
        (("litellm_settings", "public_routes"), config.litellm_settings.public_routes),
    )
    known = sorted({each.path_template for each in table} | GROUPS)
    return [
        loaded.problem((*path, index), *_told(name, known), severity=Severity.WARNING)
        for path, listed in lists
        for index, name in enumerate(listed)
        if meaningless((name,), table)
    ]


def _told(name: str, known: Sequence[str]) -> tuple[str, str]:
    """What is wrong with a name, and its cure."""
    meant = did_you_mean(name, known)
    if name in GROUPS:
        return f"no route belongs to {name} yet, so this has no effect", "take it out"
    return f"no route is named {name!r}, so this has no effect", f"did you mean {meant!r}?" if meant else _CURE
