"""The program: `llmproxy`, or `python -m proxy_cli`. Here is the command boundary.

Whatever a command raises ends here as one sentence on standard error and an exit code; a traceback is shown to
those who asked for debugging.
"""

import errno
import logging
import os
import sys
from typing import NoReturn

import click

from proxy_cli.cli import group

logger = logging.getLogger("proxy_cli.command")

_OUTPUT_IS_FULL = {errno.ENOSPC, errno.EDQUOT}
_INTERRUPTED = 130  # what shells report for a program that Ctrl-C ended


def main() -> NoReturn:
    """Run the command line and exit."""
    _open_closed_streams()
    try:
        sys.exit(run(sys.argv[1:]))
    finally:
        _leave_full_streams()


def _open_closed_streams() -> None:
    """Put /dev/null where a standard stream is closed: the next socket would become it, and be written to."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            setattr(sys, name, os.fdopen(descriptor, "w" if number else "r", encoding="utf-8"))


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
        return 1  # `llmproxy check | head`: the reader has left
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OUTPUT_IS_FULL:
            logger.error("llmproxy: what it has to say cannot be written: %s", error.strerror)
            return 1
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


def _leave_full_streams() -> None:
    """Drop what a stream does not take, or Python would try again at the very end, and complain."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
