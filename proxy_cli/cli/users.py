"""`llmproxy users`: users of a running proxy, from the shell."""

from typing import Final

import click

from proxy_cli.callers import Role
from proxy_cli.cli.kinds import Text
from proxy_cli.cli.objects import LIMITS, Sort, command_of, limit_options

USERS: Final = Sort(
    name="user",
    root="/user",
    id="user_id",
    fields={"email": "user_email", "alias": "user_alias", "role": "user_role", "models": "models", **LIMITS},
    columns={
        "User": "user_id",
        "Email": "user_email",
        "Role": "user_role",
        "Teams": "teams",
        "Models": "models",
        "Spent": "spend",
        "Budget": "max_budget",
        "Lasts": "budget_duration",
    },
    deleted_by=lambda name: {"user_ids": [name]},
    listed_in="users",
    made={"auto_create_key": False},  # `llmproxy keys create --user` makes keys, and shows them once
)

users: Final = command_of(
    USERS,
    [
        click.Option(["--email"], type=Text(), help="The user's address."),
        click.Option(["--alias"], type=Text(), help="What the user is called."),
        click.Option(
            ["--role"],
            type=click.Choice([role.value for role in Role]),
            help="What the user may do beside asking models.",
        ),
        click.Option(["--models"], type=Text(), help="The models the user may ask for, with commas (all)."),
        *limit_options(),
    ],
    "Make users of a running proxy, see, change and delete them. NAME is a user's id; with a user go the user's keys.",
)
