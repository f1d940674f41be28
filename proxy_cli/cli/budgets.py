"""`llmproxy budgets`: named budgets of a running proxy, from the shell."""

from typing import Final

import click

from proxy_cli.cli.kinds import Number, Text
from proxy_cli.cli.objects import LIMITS, Sort, command_of, limit_options

BUDGETS: Final = Sort(
    name="budget",
    root="/budget",
    id="budget_id",
    fields={"id": "budget_id", "soft_budget": "soft_budget", **LIMITS},
    columns={
        "Budget": "budget_id",
        "USD": "max_budget",
        "Lasts": "budget_duration",
        "Requests a minute": "rpm_limit",
        "Tokens a minute": "tpm_limit",
        "At a time": "max_parallel_requests",
    },
    deleted_by=lambda name: {"id": name},
)

budgets: Final = command_of(
    BUDGETS,
    [
        click.Option(["--id"], type=Text(), help="What the budget is called (made up)."),
        click.Option(
            ["--soft-budget", "soft_budget"], type=Number(0, whole=False), help="From where on it is told, in USD."
        ),
        *limit_options(),
    ],
    "Make named budgets of a running proxy, see, change and delete them. NAME is a budget's id.",
)
