"""The figures of all processes as Prometheus reads them: text format 0.0.4."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from proxy_cli.shared import Shared
from proxy_cli.telemetry.families import ANSWERS, FAILED, KINDS, LAYOUTS, REQUESTS, TOKENS, UNTOLD, WORKERS, Family

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPED: Final = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})
_PROMPT: Final = next(index for index, each in enumerate(ANSWERS) if each.name.startswith("litellm_input_tokens"))

Series = dict[tuple[str, ...], list[float]]


def told(shared: Shared) -> bytes:
    """Every metric that anything was counted of."""
    merged = _merged(shared)
    lines: list[str] = []
    for kind, layout in enumerate(LAYOUTS):
        series = merged.get(kind, {})
        at = 0
        for family in layout:
            lines += _lines(family, ((labels, figures[at : at + family.size]) for labels, figures in series.items()))
            at += family.size
    lines += _lines(FAILED, _failed(merged.get(KINDS[REQUESTS[0].name], {})))
    lines += _lines(TOKENS, _tokens(merged.get(KINDS[ANSWERS[0].name], {})))
    lines += _lines(WORKERS, [((), [float(shared.processes())])])
    return ("\n".join(lines) + "\n").encode()


def _merged(shared: Shared) -> dict[int, Series]:
    """One series for each kind and labels, over all processes."""
    merged: dict[int, Series] = {}
    for entry in shared.entries():
        family = LAYOUTS[entry.kind][0]
        if not entry.alive and family.kind == "gauge":
            continue
        series = merged.setdefault(entry.kind, {})
        before = series.get(entry.labels)
        if before is None:
            series[entry.labels] = list(entry.figures)
        elif family.largest:
            series[entry.labels] = [max(pair) for pair in zip(before, entry.figures, strict=True)]
        else:
            series[entry.labels] = [sum(pair) for pair in zip(before, entry.figures, strict=True)]
    for kind, series in merged.items():
        # What is kept for names that find no room is worth a line only once there are any.
        kept = {"other"} if LAYOUTS[kind][0] is not UNTOLD else set()
        idle = [labels for labels, figures in series.items() if set(labels) == kept and not any(figures)]
        merged[kind] = {labels: series[labels] for labels in sorted(series) if labels not in idle}
    return merged


def _failed(requests: Series) -> Iterator[tuple[tuple[str, ...], list[float]]]:
    status = REQUESTS[0].labels.index("status_code")
    return ((labels, figures) for labels, figures in requests.items() if not labels[status].startswith(("1", "2", "3")))


def _tokens(answers: Series) -> Iterator[tuple[tuple[str, ...], list[float]]]:
    at = sum(each.size for each in ANSWERS[:_PROMPT])
    return ((labels, [figures[at] + figures[at + 1]]) for labels, figures in answers.items())


def _lines(family: Family, series: Iterable[tuple[tuple[str, ...], Sequence[float]]]) -> list[str]:
    lines = [line for labels, figures in series for line in _samples(family, labels, figures)]
    if not lines:
        return []
    return [f"# HELP {family.name} {family.text}", f"# TYPE {family.name} {family.kind}", *lines]


def _samples(family: Family, labels: tuple[str, ...], figures: Sequence[float]) -> Iterator[str]:
    named = [f'{name}="{value.translate(_ESCAPED)}"' for name, value in zip(family.labels, labels, strict=True)]
    if family.kind != "histogram":
        yield f"{family.name}{_braces(named)} {_number(figures[0])}"
        return
    total, buckets = figures[0], figures[1:]
    below = 0.0
    for bound, number in zip((*map(_number, family.buckets), "+Inf"), buckets, strict=True):
        below += number
        bucket = f'le="{bound}"'
        yield f"{family.name}_bucket{_braces([*named, bucket])} {_number(below)}"
    yield f"{family.name}_sum{_braces(named)} {_number(total)}"
    yield f"{family.name}_count{_braces(named)} {_number(below)}"


def _braces(named: Sequence[str]) -> str:
    return f"{{{','.join(named)}}}" if named else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
