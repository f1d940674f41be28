"""Streams that go through as they are."""

from proxy_cli.providers.passing import PassingStream
from proxy_cli.shapes import Usage


def test_passing_stream_passes_every_byte_and_ends_with_the_connection():
    """What comes goes on at once, nothing is kept, and an end is an end."""
    stream = PassingStream(Usage(characters=3))

    passed = stream.feed(b"ID3\x00\xff"), stream.finished
    ended = stream.end(), stream.finished

    assert passed == (b"ID3\x00\xff", False)
    assert ended == (b"", True)
    assert stream.usage == Usage(characters=3)
