"""A plot of a run as SVG: for each figure a panel of bars on a logarithmic scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from bench.report import names
from bench.results import Results

_WIDTH: Final = 760
_LABEL: Final = 120
_BAR: Final = 18
_GAP: Final = 8
_TITLE: Final = 34
_VALUE: Final = 165  # room for the figure behind the longest bar
_OURS: Final = "llmproxy"
_COLOURS: Final = {True: "#2563a8", False: "#9aa5b1"}
_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure of the plot."""

    title: str
    figure: str
    unit: str
    compared: bool = True  # whether a multiple of the floor says something


PANELS: Final[Sequence[Panel]] = (
    Panel("CPU for each request", "us_per_request", "µs"),
    Panel("CPU for each stream event", "us_per_event", "µs"),
    Panel("Memory under load", "loaded_mb", "MB", compared=False),
    Panel("CPU until the first answer", "start_cpu_s", "s", compared=False),
)


def draw(results: Results) -> str:
    """The whole picture; figures that failed or were not measured are left out."""
    parts: list[str] = []
    top = 0.0
    for panel in PANELS:
        bars = [(name, value) for name in names(results) if (value := results.median(name, panel.figure))]
        if bars:
            parts += _panel(panel, bars, top)
            top += _TITLE + len(bars) * (_BAR + _GAP) + _GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top:.0f}" font-family="{_FONT}">'
    return "\n".join([head, f'<rect width="{_WIDTH}" height="{top:.0f}" fill="#ffffff"/>', *parts, "</svg>", ""])


def _panel(panel: Panel, bars: Sequence[tuple[str, float]], top: float) -> list[str]:
    largest = max(value for _, value in bars)
    smallest = min(value for _, value in bars)
    lines = [_text(0, top + 22, f"{panel.title} ({panel.unit}, logarithmic)", weight="600", size=15)]
    for index, (name, value) in enumerate(bars):
        y = top + _TITLE + index * (_BAR + _GAP)
        # The least bar keeps a tenth of the width, as a logarithm has no zero.
        share = 0.1 + 0.9 * (math.log(value / smallest) / math.log(largest / smallest) if largest > smallest else 1)
        width = share * (_WIDTH - _LABEL - _VALUE)
        lines.append(_text(_LABEL - 8, y + _BAR - 4, name, anchor="end", weight="600" if name == _OURS else "400"))
        fill = _COLOURS[name == _OURS]
        lines.append(f'<rect x="{_LABEL}" y="{y:.0f}" width="{width:.1f}" height="{_BAR}" rx="2" fill="{fill}"/>')
        lines.append(
            _text(_LABEL + width + 6, y + _BAR - 4, _label(value, dict(bars).get("nginx") if panel.compared else None))
        )
    return lines


def _label(value: float, floor: float | None) -> str:
    shown = f"{value:,.0f}" if value >= 100 else f"{value:,.1f}" if value >= 1 else f"{value:.2f}"
    if not floor or value == floor:
        return shown
    times = value / floor
    return f"{shown} ({times:,.{0 if times >= 100 else 1}f} x nginx)"


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "400", size: int = 13) -> str:
    style = f'text-anchor="{anchor}" font-weight="{weight}" font-size="{size}" fill="#1f2933"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
