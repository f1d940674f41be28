"""Where tables are printed: as wide as the terminal, and wide enough in a pipe, which has no width of its own."""

from typing import Final

from rich.console import Console

_PIPE_WIDTH: Final = 160


def console_of(*, stderr: bool = False) -> Console:
    """The console for people's output, or for what is said beside it."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=_PIPE_WIDTH)
