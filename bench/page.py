"""The page of the documentation that shows a run: tables, how and where they were measured, and what failed."""

import re
from collections.abc import Sequence
from typing import Any, Final

from bench.report import AIMED, COMPARED, Column, failures, names, table
from bench.results import Results

_MARKED: Final = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->)", re.DOTALL)


class NoMarks(Exception):
    """The page has no place for the results."""


def filled(page: str, results: Results, run: dict[str, Any]) -> str:
    """The page with the results in place of the former ones; raises NoMarks."""
    text = measured(results, run)
    changed, count = _MARKED.subn(lambda found: f"{found[1]}\n{text}\n{found[2]}", page)
    if not count:
        raise NoMarks("the page has no line `<!-- measured -->` with an `<!-- end -->` behind it")
    return changed


def measured(results: Results, run: dict[str, Any]) -> str:
    """What was measured, as Markdown; `run` is what report.as_json tells."""
    machine = run["machine"]
    where = f"{machine['cpus']} cores, Linux {machine['kernel']}, Python {machine['python']}"
    load = f"load average {machine['load_before'][0]:.1f} before and {machine['load'][0]:.1f} after"
    parts = [
        f"Measured on {run['date'][:10]}: {where}; {load}. `{run['command']}`, medians of {run['rounds']} rounds.",
        *(markdown for columns in (COMPARED, AIMED) if (markdown := _table(results, columns))),
        _versions(results, run),
    ]
    if failed := failures(results):
        parts.append("Failed:\n\n" + "\n".join(f"- {_one_line(line)}" for line in failed))
    return "\n\n".join(filter(None, parts)) + "\n"


def _table(results: Results, columns: Sequence[Column]) -> str:
    """Contestants side by side and figures below each other: there are more figures than fit a line."""
    lines = table(results, columns)
    if not lines:
        return ""
    turned = [list(cells) for cells in zip(*lines, strict=True)]
    rows = [f"| {' | '.join(cells)} |" for cells in turned]
    rule = [" --- ", *[" --: "] * (len(turned[0]) - 1)]
    return "\n".join([rows[0], f"|{'|'.join(rule)}|", *rows[1:]])


def _versions(results: Results, run: dict[str, Any]) -> str:
    known = {name: run["gateways"][name] for name in names(results)}
    told = [f"{name} {one['version']} ({one['what']})" for name, one in known.items() if one.get("version")]
    return f"Versions: {'; '.join(told)}." if told else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())[:240].replace("<", "&lt;")
