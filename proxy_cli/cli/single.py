"""One model without a file: what is wrong with it is told by its options, for there is no file with lines."""

from typing import Final

import click

from proxy_cli.config.flags import Flags
from proxy_cli.config.models import ModelParams
from proxy_cli.config.problem import Problem, Severity
from proxy_cli.config.reading import Unreadable

_KEY_BY_HAND: Final = """; without a file, --headers '{"Authorization": "Bearer ..."}' sends a key"""


def refuse_bad_values(flags: Flags) -> None:
    """Raise click.UsageError for options whose values no model can have."""
    given = {"model": flags.model, "api_base": flags.api_base, "api_version": flags.api_version}
    try:
        ModelParams.model_validate({name: value for name, value in given.items() if value is not None})
    except Unreadable as problem:
        sentences = [f"Invalid value for '--{each.path[0]}': {each}" for each in problem.mistakes]
        raise click.UsageError("\n".join(sentences)) from None


def spoken(problem: Problem) -> str:
    """A problem of the one model as a sentence about the command line."""
    kind = "" if problem.severity is Severity.ERROR else f"{problem.severity}: "
    cure = f" - {problem.cure}" if problem.cure else ""
    sentence = f"--model: {kind}{problem.message}{cure}"
    return sentence + _KEY_BY_HAND if "api_key" in sentence else sentence
