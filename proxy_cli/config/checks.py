"""What only shows when settings are looked at together."""

from collections.abc import Collection, Mapping

from proxy_cli.config.variables import Finding
from proxy_cli.shapes import Json


def cross_checks(values: Mapping[str, Json], public_names: Collection[str]) -> list[Finding]:
    """All that is wrong between settings."""
    del values, public_names
    return []
