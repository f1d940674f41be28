"""How many files this process may open: as many as it is allowed to, and a warning when that is few.

Every client and every connection to a backend is one. Systems start programs with a small number that each program
may raise to a large one; who does not do so runs out of files for no reason.
"""

from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit
from typing import Final

_MOST: Final = 1_048_576
_FEW: Final = 1024


def raise_limit() -> str | None:
    """Allow ourselves what we may allow ourselves; a sentence when that is few files."""
    soft, hard = getrlimit(RLIMIT_NOFILE)
    wanted = _MOST if hard == RLIM_INFINITY else min(hard, _MOST)
    if soft != RLIM_INFINITY and soft < wanted:
        try:
            setrlimit(RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            wanted = soft
    return warning(max(soft, wanted))


def warning(limit: int) -> str | None:
    """What is to be said of a limit."""
    if limit >= _FEW:
        return None
    clients = max(1, (limit - 32) // 2)
    return (
        f"this process may open {limit} files only, enough for some {clients} requests at a time; "
        "raise the limit: ulimit -n 65536"
    )
