"""Every endpoint for operators, in one table: each file of this room says its own."""

from collections.abc import Sequence
from typing import Final

from proxy_cli.admin import (
    budgets,
    customers,
    key_lists,
    keys,
    members,
    organizations,
    places,
    tags,
    team_lists,
    teams,
)
from proxy_cli.admin.base import Endpoint

ENDPOINTS: Final[Sequence[Endpoint]] = (
    *keys.ENDPOINTS,
    *key_lists.ENDPOINTS,
    *teams.ENDPOINTS,
    *team_lists.ENDPOINTS,
    *members.ENDPOINTS,
    *organizations.ENDPOINTS,
    *places.ENDPOINTS,
    *customers.ENDPOINTS,
    *budgets.ENDPOINTS,
    *tags.ENDPOINTS,
)
