"""Every endpoint for operators, in one table: each file of this room says its own."""

from collections.abc import Sequence
from typing import Final

from proxy_cli.admin import key_lists, keys
from proxy_cli.admin.base import Endpoint

ENDPOINTS: Final[Sequence[Endpoint]] = (
    *keys.ENDPOINTS,
    *key_lists.ENDPOINTS,
)
