"""Counts what happens, right across the processes of one server.

Every process adds to figures of its own in shared memory (`shared.py`); reading adds up those of all. What there is to
count stands in `families.py`, how it is told in `exposition.py`. Nothing here waits, and no name is taken from a
caller: the number of series is bounded by the configuration.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from proxy_cli.shapes import Deployment, Record
from proxy_cli.shared import Shared
from proxy_cli.telemetry import exposition, families
from proxy_cli.telemetry.families import ANSWERS, COUNTS, GAUGES, KINDS, LATENCY_S, OVERHEAD_S, REQUESTS, SIZES

OTHER: Final = "other"
_CLIENT_LEFT: Final = 499
_SLOT_BYTES: Final = 1024 * 1024  # some thousand deployments' figures; memory only as far as it is written
_CODES: Final = 64  # ways to fail that are told apart: a backend's codes are words of its own choice
_MODELS: Final = 256  # behind wildcards, likewise
_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,48}")
_REQUEST, _ANSWER, _FAILURE = (KINDS[each[0].name] for each in (REQUESTS, ANSWERS, families.FAILURES))
_UNTOLD: Final = KINDS[families.UNTOLD.name]
_RESERVED: Final = tuple((kind, len(families.LAYOUTS[kind][0].labels)) for kind in (_REQUEST, _ANSWER, _FAILURE))

# Where in a deployment's entry each figure stands.
_BACKEND: Final = ANSWERS[0].size  # the first is that of the whole
_FIRST: Final = _BACKEND + ANSWERS[1].size
_OVERHEAD: Final = _FIRST + ANSWERS[2].size
_PROMPT: Final = _OVERHEAD + ANSWERS[3].size
_COMPLETION, _CACHED, _COST, _BYTES = range(_PROMPT + 1, _PROMPT + 5)


class _Place(NamedTuple):
    """Where a kind of request is counted, and where the entry of its deployment begins."""

    requests: int
    answers: int
    deployment: Deployment  # after a reload another one may go by its id


class Metrics:
    """The figures of one server. Made before the fork; every process has its own object over the same memory."""

    def __init__(self, shared: Shared | None = None) -> None:
        self._shared = shared if shared is not None else Shared(slot_bytes=_SLOT_BYTES)
        self._cells = self._shared.cells
        # Owned here: what may be named, and where what was named before stands.
        self._routes: Collection[str] = frozenset()
        self._names: Collection[str] = frozenset()
        self._places: dict[tuple[str, str, int, bool], _Place] = {}
        self._counts: dict[tuple[str, tuple[str, ...]], int] = {}
        self._codes: set[str] = set()
        self._models: set[str] = set()
        self._sources: list[Callable[[], None]] = []
        self._reserve()

    def enter(self, slot: int) -> None:
        """Comes first in a new process: count in its own figures from now on."""
        self._shared.enter(slot)
        self._places.clear()
        self._counts.clear()
        self._reserve()

    def leave(self) -> None:
        """This process serves no more: what it has counted stays, how it is now does not count."""
        self._shared.leave()

    def know(self, *, routes: Collection[str], names: Collection[str]) -> None:
        """Which paths and public names may be told; any other is `other`. Said again after each reload."""
        self._routes, self._names = routes, names
        self._places.clear()

    def watch(self, source: Callable[[], None]) -> None:
        """Have this called before figures are read: it sets gauges, and counts what was counted elsewhere."""
        self._sources.append(source)

    def unwatch(self, source: Callable[[], None]) -> None:
        """Do not call it any more. May be said twice."""
        self._sources = [each for each in self._sources if each != source]

    def publish(self) -> None:
        """Let others see how this process is now; comes every second at least."""
        self._shared.beat()
        for source in self._sources:
            source()

    def count(self, name: str, *labels: str, amount: float = 1.0) -> None:
        """Count something that stands in `families.COUNTS`."""
        at = self._counts.get((name, labels)) or self._named(name, labels, COUNTS)
        self._cells[at] += amount

    def set(self, name: str, value: float, *labels: str) -> None:
        """Say how something of `families.GAUGES` is in this process now."""
        at = self._counts.get((name, labels)) or self._named(name, labels, GAUGES)
        if at == self._untold:
            self._cells[at] += 1.0
        else:
            self._cells[at] = value

    def add(self, record: Record) -> None:
        """Count a request that has ended."""
        cells, deployment = self._cells, record.deployment
        if deployment is None:
            cells[self._place_of_refused(record)] += 1.0
            if record.status == _CLIENT_LEFT:
                self.count("llmproxy_client_disconnects_total")
            return
        place = self._places.get((record.route, deployment.id, record.status, record.stream))
        if place is None or place.deployment is not deployment:
            place = self._place(record, deployment)
        base = place.answers
        cells[place.requests] += 1.0
        cells[base + _BYTES] += record.bytes_out
        if (usage := record.usage) is not None:
            cells[base + _PROMPT] += usage.prompt_tokens
            cells[base + _COMPLETION] += usage.completion_tokens
            if usage.cached_tokens:
                cells[base + _CACHED] += usage.cached_tokens
            if usage.problem:
                self.count("llmproxy_usage_problems_total", usage.problem)
        if record.cost_usd:
            cells[base + _COST] += record.cost_usd
        if record.status >= 400 or record.error is not None:
            self._failed(record, deployment)
        else:
            self._timed(record, base)

    def exposition(self, *, publish: bool = True) -> bytes:
        """All figures of all processes, in Prometheus's text format; `publish`: of this one as they are now."""
        if publish:
            self.publish()
        return exposition.told(self._shared)

    def _timed(self, record: Record, base: int) -> None:
        cells, total_s, waited_s = self._cells, record.ended_s - record.started_s, record.waited_s
        bucket = bisect_left(LATENCY_S, total_s)
        cells[base] += total_s
        cells[base + 1 + bucket] += 1.0
        if waited_s is None:
            return
        if not record.stream:
            overhead_s = total_s - waited_s
        elif record.first_byte_s is not None:
            # After its first bytes a stream goes at the backend's pace.
            overhead_s = record.first_byte_s - record.started_s - waited_s
            cells[base + _FIRST] += waited_s
            cells[base + _FIRST + 1 + bisect_left(LATENCY_S, waited_s)] += 1.0
        else:
            return
        backend_s = total_s - overhead_s
        cells[base + _OVERHEAD] += overhead_s
        cells[base + _OVERHEAD + 1 + bisect_left(OVERHEAD_S, overhead_s)] += 1.0
        cells[base + _BACKEND] += backend_s
        if bucket and backend_s <= LATENCY_S[bucket - 1]:  # else it is in the same bucket as the whole
            bucket = bisect_left(LATENCY_S, backend_s)
        cells[base + _BACKEND + 1 + bucket] += 1.0

    def _failed(self, record: Record, deployment: Deployment) -> None:
        if record.status == _CLIENT_LEFT:
            self.count("llmproxy_client_disconnects_total")
            return
        code = record.error_code or (f"http_{record.status}" if record.status >= 400 else "in_stream")
        if code not in self._codes:
            if len(self._codes) >= _CODES or not _CODE.fullmatch(code):
                code = OTHER
            self._codes.add(code)
        self._cells[self._entry(_FAILURE, (deployment.group, deployment.id, code))] += 1.0

    def _place(self, record: Record, deployment: Deployment) -> _Place:
        """Where a request is counted, and the entry of its deployment."""
        labels = (self._route(record), deployment.group, deployment.id, str(record.status), _said(record.stream))
        model, base = self._model(deployment), deployment.api_base
        names = (deployment.group, model, deployment.id, deployment.provider, base)
        place = _Place(self._entry(_REQUEST, labels), self._entry(_ANSWER, names), deployment)
        if record.route in self._routes:
            self._places[record.route, deployment.id, record.status, record.stream] = place
        return place

    def _model(self, deployment: Deployment) -> str:
        """The backend's name of its model; behind a wildcard it is the caller's word, and only some are told apart."""
        model = deployment.model
        if "*" in deployment.group and model not in self._models:
            if len(self._models) >= _MODELS:
                return OTHER
            self._models.add(model)
        return model

    def _place_of_refused(self, record: Record) -> int:
        name = record.model if not record.model or record.model in self._names else OTHER
        return self._entry(_REQUEST, (self._route(record), name, "", str(record.status), _said(record.stream)))

    def _route(self, record: Record) -> str:
        return record.route if record.route in self._routes else OTHER

    def _entry(self, kind: int, labels: tuple[str, ...]) -> int:
        """An entry's place; where there is no room for one more name, that of all others."""
        at = self._shared.place(kind, labels, SIZES[kind])
        if at is None:
            self._cells[self._untold] += 1.0
            at = self._others[kind]
        return at

    def _named(self, name: str, labels: tuple[str, ...], known: dict[str, families.Family]) -> int:
        family = known[name]
        assert len(labels) == len(family.labels), f"{name} has the labels {family.labels}"
        at = self._shared.place(KINDS[name], labels, 1)
        if at is None:
            return self._untold
        self._counts[name, labels] = at
        return at

    def _reserve(self) -> None:
        """Room for whatever will find none."""
        self._others: dict[int, int] = {}
        for kind, labels in _RESERVED:
            at = self._shared.place(kind, (OTHER,) * labels, SIZES[kind])
            assert at is not None, "a slot holds some entries at least"
            self._others[kind] = at
        untold = self._shared.place(_UNTOLD, (), 1)
        assert untold is not None, "a slot holds some entries at least"
        self._untold = untold


def _said(flag: bool) -> str:
    return "true" if flag else "false"
