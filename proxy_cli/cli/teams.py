"""`llmproxy teams`: teams of a running proxy, from the shell."""

from typing import Final

import click

from proxy_cli.cli.kinds import Text
from proxy_cli.cli.objects import LIMITS, Sort, command_of, limit_options

TEAMS: Final = Sort(
    name="team",
    root="/team",
    id="team_id",
    fields={"alias": "team_alias", "models": "models", "organization": "organization_id", **LIMITS},
    columns={
        "Team": "team_id",
        "Alias": "team_alias",
        "Organization": "organization_id",
        "Members": "members_with_roles",
        "Models": "models",
        "Spent": "spend",
        "Budget": "max_budget",
        "Lasts": "budget_duration",
    },
    deleted_by=lambda name: {"team_ids": [name]},
    list_path="/v2/team/list",
    listed_in="teams",
)

teams: Final = command_of(
    TEAMS,
    [
        click.Option(["--alias"], type=Text(), help="What the team is called."),
        click.Option(["--models"], type=Text(), help="The models it may ask for, with commas (all)."),
        click.Option(["--organization"], type=Text(), help="The organization it belongs to."),
        *limit_options(),
    ],
    "Make teams of a running proxy, see, change and delete them. NAME is a team's id; with a team go its keys.",
)
