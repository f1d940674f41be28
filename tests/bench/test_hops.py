"""Hops: one warm request through the real program, counted."""

from bench.hops import measure


def test_a_warm_request_is_counted_from_the_caller_to_the_backend():
    """The functions that every request passes are among those counted, and stand on the stack at the send."""
    plain, streamed = measure()

    rooms = {name.partition("/")[0] for name in plain.calls}
    assert {"server", "upstream", "wire", "access", "providers"} <= rooms
    assert len(plain.stacks) == 1
    assert any(name.startswith("upstream/") for name in plain.stacks[0])
    assert 2 <= plain.frames <= 30
    assert 20 <= plain.total <= 2000
    assert streamed.total > plain.total
