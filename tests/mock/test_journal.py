"""The journal: what is noted of a request, and how much of it is kept."""

from collections.abc import Sequence

from aiohttp.test_utils import make_mocked_request
from aiohttp.web import Request
from multidict import CIMultiDict

from proxy_cli.mock.journal import Journal, Seen


def request(path: str, headers: Sequence[tuple[str, str]] = ()) -> Request:
    return make_mocked_request("GET", path, headers=CIMultiDict(headers))


def test_request_is_noted_as_it_came():
    """Target, path and headers are kept; header names in lower case, repeated ones joined."""
    seen = Journal().begin(request("/v1/a%20b?c=1", [("X-A", "1"), ("x-a", "2")]))

    assert (seen.target, seen.path) == ("/v1/a%20b?c=1", "/v1/a b")
    assert seen.headers == {"x-a": "1, 2"}


def test_newest_requests_are_kept():
    """A backend that runs for days forgets its oldest requests."""
    journal = Journal()
    for number in range(1100):
        journal.begin(request(f"/{number}"))

    assert len(journal.all()) == 1000
    assert journal.all()[-1].path == "/1099"


def test_abort_is_noted_once():
    """The first moment that the caller was seen to have left counts."""
    seen = Seen(method="POST", path="/", target="/", headers={})
    seen.abort()
    first = seen.aborted_after_s
    seen.abort()

    assert seen.aborted
    assert seen.aborted_after_s == first


def test_body_is_kept_up_to_a_limit():
    """A large upload does not stay in memory."""
    seen = Seen(method="POST", path="/", target="/", headers={})
    seen.keep(b"x" * (2 * 1024 * 1024))

    assert len(seen.raw) == 1024 * 1024
