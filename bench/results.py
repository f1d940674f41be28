"""The figures of a run: every value of every round, told as median with least and largest."""

import statistics
from collections import defaultdict
from dataclasses import dataclass, field

Values = dict[str, dict[str, list[float]]]


@dataclass(slots=True)
class Results:
    """Owns what was measured: contestant, figure, one value a round; and what failed, with the reason."""

    values: Values = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    faults: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, name: str, figure: str, value: float) -> None:
        """One value of one round."""
        self.values[name][figure].append(value)

    def fault(self, name: str, figure: str, reason: str) -> None:
        """A figure that cannot be given."""
        self.faults[name][figure] = reason

    def has_failed(self, name: str, figure: str) -> bool:
        """Whether that figure cannot be given any more."""
        return figure in self.faults.get(name, {})

    def median(self, name: str, figure: str) -> float | None:
        """The middle of the rounds; None where a round failed or none was run."""
        if self.has_failed(name, figure):
            return None
        values = self.values.get(name, {}).get(figure)
        return statistics.median(values) if values else None
