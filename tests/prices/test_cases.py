"""Two hundred bills, reckoned by hand: what each dialect's usage costs, to the nano-dollar.

`cases.csv` has a line for each: the usage as the backend writes it, the sum as one would write it on paper (tokens
times the price in USD), and what it comes to. `rates.json` has the prices by name.
"""

import csv
import json
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import msgspec
import pytest

from proxy_cli.prices.cost import Prices
from proxy_cli.shapes import Operation
from proxy_cli.wire.usage import answer_usage

HERE = Path(__file__).parent
RATES = json.loads((HERE / "rates.json").read_text("utf-8"))
with (HERE / "cases.csv").open(encoding="utf-8", newline="") as lines:
    CASES = list(csv.DictReader(lines))


def on_paper(formula: str) -> int:
    """The sum of products in nano-dollars, a half to the even."""
    products = (term.split(" * ") for term in formula.split(" + "))
    usd = sum((Decimal(count) * Decimal(*price or ("0",)) for count, *price in products), Decimal(0))
    return int((usd * 10**9).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def cost(case: dict[str, str]) -> int | None:
    """What our own arithmetic makes of it; None where the usage counts nothing."""
    fields = {"usage": msgspec.Raw(case["usage"].encode())}
    if case["tier"]:
        fields["service_tier"] = msgspec.Raw(json.dumps(case["tier"]).encode())
    usage = answer_usage(fields)
    return None if usage is None else Prices(RATES[case["rates"]]).cost_nano(usage, Operation(case["operation"]))


def test_there_are_two_hundred():
    """And the sums on paper are right."""
    assert len(CASES) >= 200
    assert [case["what"] for case in CASES if case["formula"] and on_paper(case["formula"]) != int(case["nano"])] == []


@pytest.mark.row("B-14")
@pytest.mark.parametrize("rates", RATES)
def test_bills_are_as_on_paper(rates):
    """For the usage of each dialect: cached tokens inside of the prompt or beside it, zero, or missing."""
    cases = [case for case in CASES if case["rates"] == rates]

    wrong = [
        (case["what"], case["usage"], found, case["nano"])
        for case in cases
        if (found := cost(case)) != (int(case["nano"]) if case["nano"] else None)
    ]

    assert cases
    assert wrong == []
