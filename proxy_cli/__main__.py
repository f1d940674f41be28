"""The program: `llmproxy`, or `python -m proxy_cli`. Here is the command boundary.

Whatever a command raises ends here as one sentence on standard error and an exit code; a traceback is shown to
those who asked for debugging.
"""

import logging
import os
import sys
from typing import NoReturn

import click

from proxy_cli.cli import group

logger = logging.getLogger("proxy_cli.command")

_INTERRUPTED = 130  # what shells report for a program that Ctrl-C ended


def main() -> NoReturn:
    """Run the command line and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; the exit code."""
    try:
        result = group.main(arguments, prog_name="llmproxy", standalone_mode=False)
    except click.ClickException as problem:
        click.echo(f"llmproxy: {problem.format_message()}", err=True)
        return problem.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except BrokenPipeError:
        # `llmproxy check | head`: the reader has left. Standard output must not be flushed again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        debugging = {"--debug", "--detailed_debug", "--detailed-debug"} & set(arguments)
        logger.error(
            "llmproxy: internal error: %s: %s%s",
            type(error).__name__,
            error,
            "" if debugging else "; with --debug this line shows where",
            exc_info=error if debugging else None,
        )
        return 1
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    main()
