"""What the machine tells: CPU time and memory of a tree of processes, free ports, limits, missing tools.

Everything comes from /proc, for any process alike: a gateway in C, Rust, Node or Python is measured the same way.
"""

import os
import resource
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_PACKAGES: Final = {"nginx": "nginx-light", "wrk": "wrk"}


class MissingTool(Exception):
    """A program of the machine that the run cannot do without."""


class Process(NamedTuple):
    """What is read of one process."""

    parent: int
    cpu_s: float  # its own and that of children it has waited for
    rss_bytes: int


def parse_stat(text: str) -> Process:
    """One line of /proc/PID/stat; the command's name may hold blanks and parentheses."""
    fields = text.rpartition(")")[2].split()
    ticks = sum(int(fields[index]) for index in range(11, 15))
    return Process(int(fields[1]), ticks * TICK_S, int(fields[21]) * PAGE_BYTES)


def read_processes() -> dict[int, Process]:
    """Every process of the machine."""
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - names are all that is needed, thousands of times
        if name.isdigit():
            try:
                found[int(name)] = parse_stat(Path("/proc", name, "stat").read_text("utf-8", "replace"))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended since the folder was listed
    return found


def tree(root: int) -> dict[int, Process]:
    """A process and all that descend from it."""
    everyone = read_processes()
    members = {root: everyone[root]} if root in everyone else {}
    fresh = set(members)
    while fresh:
        fresh = {pid for pid, process in everyone.items() if process.parent in fresh and pid not in members}
        members |= {pid: everyone[pid] for pid in fresh}
    return members


def cpu_s(root: int) -> float:
    """CPU time of a whole tree, user and system."""
    return sum(process.cpu_s for process in tree(root).values())


def rss_bytes(root: int) -> int:
    """Resident memory of a whole tree; pages that processes share count for each of them."""
    return sum(process.rss_bytes for process in tree(root).values())


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def raise_open_files(wanted: int) -> None:
    """Let this process and its children hold `wanted` open files; raises MissingTool where the machine forbids it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (ValueError, OSError) as error:
        raise MissingTool(f"{wanted} open files are needed and {hard} are allowed: raise `ulimit -Hn`") from error


def find_tools(names: Iterable[str]) -> dict[str, str]:
    """The paths of programs; raises MissingTool that names all that are not there and how to get them."""
    # Debian keeps nginx where only root's PATH looks.
    where = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = {name: shutil.which(name, path=where) for name in names}
    missing = sorted(name for name, path in found.items() if path is None)
    if missing:
        packages = " ".join(_PACKAGES.get(name, name) for name in missing)
        raise MissingTool(f"{' and '.join(missing)} not found: `apt-get install {packages}`")
    return {name: path for name, path in found.items() if path is not None}
