"""Where no text is."""

import pytest

from proxy_cli.wire.media import holds_media


@pytest.mark.parametrize(
    ("json", "expected"),
    [
        (b'{"url":"X"}', True),
        (b'{"image_url" : "X"}', True),
        (b'{"text":"X"}', False),
        (b'{"content":"X"}', False),
        (b'"X"', False),
        (b'["url","X"]', False),
    ],
)
def test_only_what_is_named_so_holds_no_text(json, expected):
    """A list's entries and a prompt of its own are text."""
    pieces = json.split(b'"')

    assert holds_media(pieces, pieces.index(b"X")) is expected
