"""The account of a dry run as people read it: who is asked and why, what they may take, and what would be sent.

Refuses: to leave anything out that decides; and to let a terminal act on words that others have written, which is why
every cell is text and none is markup.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy_cli.cli.client import short_id
from proxy_cli.cli.console import console_of
from proxy_cli.shapes import Json
from proxy_cli.telemetry.escape import one_line

_KINDS: Final[Mapping[str, str]] = {
    "any": "after a failure",
    "context_window": "for a longer prompt",
    "content_policy": "for refused content",
}
_TIMERS: Final[Mapping[str, str]] = {
    "connect_s": "to connect",
    "first_byte_s": "to the first byte",
    "total_s": "in all",
    "gap_s": "between two pieces",
    "queue_s": "for a place",
}


def show(told: Json, console: Console | None = None) -> None:
    """Print an account."""
    console = console or console_of()
    for title, parts in _sections(told):
        for number, part in enumerate(parts):
            shown = title if number == 0 else ""
            if isinstance(part, Table):
                part.title = Text(shown) if shown else None
                part.title_justify = "left"
                console.print(part)
            else:
                console.print(_line(shown, part))


def _sections(told: Json) -> Iterable[tuple[str, Sequence[str | Table]]]:
    """All that is to be said, in the order in which a request is decided on."""
    if told["requested"]:
        yield "Request", [_requested(told["requested"])]
    if told["resolution"]:
        yield "Name", [_resolved(told["resolution"])]
    if told["candidates"]:
        yield f"Candidates ({told['strategy']})", [_candidates(told["candidates"])]
    if any(each["limits"] for each in told["limits"]):
        yield "Limits", [_limits(told["limits"])]
    yield "Fallbacks", list(_fallbacks(told["fallbacks"]))
    yield "Passed over", [f"{each['model']}: {each['error']}" for each in told["passed_over"]]
    if told["timeouts"]:
        yield "Time limits", [_timeouts(told["timeouts"])]
    if told["request"]:
        yield from _request(told["request"])
    if told["refused"]:
        yield "Refused", [_refused(told["refused"])]


def _requested(requested: Json) -> str:
    stream = ", as a stream" if requested["stream"] else ""
    named = f" (the body says {requested['in_body']})" if requested["in_body"] else ""
    return f"{requested['model']}{named}: {requested['operation']}{stream}"


def _resolved(resolution: Json) -> str:
    count = resolution["deployments"]
    return f"{resolution['words']}; {count} deployment{'' if count == 1 else 's'}"


def _candidates(candidates: Sequence[Json]) -> Table:
    table = Table("", "Deployment", "Model", "Server", "State", "Order", "Weight", "Score", "Why")
    for number, each in enumerate(candidates, 1):
        score = "" if each["score"] is None else f"{each['score']:.4g}"
        order = "" if each["order"] is None else str(each["order"])
        cells = [
            str(number) if each["kept"] else "-",
            short_id(each["id"]),
            each["model"],
            each["address"],
            each["state"],
            order,
            f"{each['weight']:g}",
            score,
            each["why"],
        ]
        table.add_row(*_cells(cells), style=None if each["kept"] else "dim")
    return table


def _limits(limits: Sequence[Json]) -> Table:
    table = Table("Deployment", "Limit", "In use", "Free", "In flight", "Waiting")
    for each in limits:
        for limit in each["limits"]:
            cells = [
                short_id(each["id"]),
                f"{limit['name']} {limit['limit']}",
                str(limit["in_use"]),
                str(limit["free"]),
                str(each["in_flight"]),
                str(each["waiting"]),
            ]
            table.add_row(*_cells(cells), style=None if limit["free"] else "yellow")
    return table


def _fallbacks(fallbacks: Mapping[str, Sequence[Json]]) -> Iterable[str]:
    """One line for each kind of failure that leads elsewhere than any other."""
    for kind, names in fallbacks.items():
        if names and (kind == "any" or names != fallbacks.get("any")):
            yield f"{_KINDS.get(kind, kind)}: {', then '.join(map(_fallback, names))}"


def _fallback(name: Json) -> str:
    fields = f" with other {', '.join(name['fields'])}" if name["fields"] else ""
    why_not = f" (passed over: {name['why_not']})" if name["why_not"] else ""
    return f"{name['model']}{fields}{why_not}"


def _timeouts(timeouts: Json) -> str:
    limits = [f"{timeouts[key]:g} s {words}" for key, words in _TIMERS.items() if timeouts[key] is not None]
    return f"{', '.join(limits)} (set by: {timeouts['set_by']})"


def _request(request: Json) -> Iterable[tuple[str, Sequence[str | Table]]]:
    waits = ", once it has a free place" if request["waits"] else ""
    yield "Asked", [f"{short_id(request['id'])}, as {request['for']}{waits}"]
    if request["url"] is None:
        yield "Sent", [f"nothing: its mock_response answers with status {request['answered_with_status']}"]
        return
    yield "Sent", [f"{request['method']} {request['url']}"]
    yield "Headers", [f"{name}: {value}" for name, value in request["headers"].items()]
    body = request["body"]
    if body["received_bytes"] is not None:
        yield "Body", [f"{body['received_bytes']} bytes received, {body['sent_bytes']} sent"]
    if note := body.get("note"):
        yield "Body", [note]
    if body["changes"]:
        yield "", [_changes(body["changes"])]


def _changes(changes: Sequence[Json]) -> Table:
    table = Table("Field", "Change", "Received", "Sent")
    for each in changes:
        table.add_row(*_cells([each["field"], each["change"], each["before"] or "", each["after"] or ""]))
    return table


def _refused(refused: Json) -> str:
    wait_s = refused["retry_after_s"]
    wait = f" (try again in {wait_s:.0f} s)" if wait_s is not None else ""
    return f"{refused['status']} {refused['code']}: {refused['message']}{wait}"


def _line(title: str, words: str) -> Text:
    style = "red" if title == "Refused" else ""
    return Text.assemble((f"{title:<13}", "bold"), (one_line(words), style))


def _cells(cells: Iterable[object]) -> list[Text]:
    return [Text(one_line(str(cell)), overflow="fold") for cell in cells]
