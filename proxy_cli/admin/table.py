"""Every endpoint for operators, in one table: each file of this room says its own."""

from collections.abc import Sequence
from typing import Final

from proxy_cli.admin import (
    activity,
    budgets,
    customers,
    groups,
    key_lists,
    keys,
    members,
    models,
    organizations,
    places,
    reports,
    spend,
    tags,
    team_lists,
    teams,
    tokens,
    user_lists,
    users,
)
from proxy_cli.admin.base import Endpoint

ENDPOINTS: Final[Sequence[Endpoint]] = (
    *keys.ENDPOINTS,
    *key_lists.ENDPOINTS,
    *users.ENDPOINTS,
    *user_lists.ENDPOINTS,
    *teams.ENDPOINTS,
    *team_lists.ENDPOINTS,
    *members.ENDPOINTS,
    *organizations.ENDPOINTS,
    *places.ENDPOINTS,
    *customers.ENDPOINTS,
    *budgets.ENDPOINTS,
    *tags.ENDPOINTS,
    *spend.ENDPOINTS,
    *reports.ENDPOINTS,
    *activity.ENDPOINTS,
    *models.ENDPOINTS,
    *groups.ENDPOINTS,
    *tokens.ENDPOINTS,
)
