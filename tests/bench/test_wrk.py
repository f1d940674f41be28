"""wrk's side: the script that it is given, and what its count means."""

import pytest

from bench.program import Request
from bench.wrk import Tally, script


def tally(**changed: int) -> Tally:
    """A run without a fault, but for what is changed."""
    return Tally(**{"requests": 10, "duration_us": 1, "refused": 0, "broken": 0, "p50_us": 1, "p99_us": 1, **changed})


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({}, None),
        ({"refused": 3}, "3 of 10 answers were no success"),
        ({"broken": 2}, "2 connections failed"),
        ({"requests": 0, "broken": 2}, "no request was answered"),
    ],
)
def test_a_run_with_failures_has_a_reason_instead_of_figures(changed, fault):
    """Refusals count before broken connections, and nothing at all before both."""
    assert tally(**changed).fault == fault


def test_the_script_sends_the_request_as_it_is(tmp_path):
    """Body and headers stand in the script, in quotes that no JSON ends."""
    request = Request('{"text": "日本 ]] \\n"}'.encode(), {"Authorization": "Bearer key"})

    text = script(request, tmp_path / "chat.lua").read_text("utf-8")

    assert 'wrk.body = [==[{"text": "日本 ]] \\n"}]==]' in text
    assert 'wrk.headers["Authorization"] = "Bearer key"' in text
