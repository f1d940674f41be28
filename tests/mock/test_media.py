"""Sounds and pictures of the mock backend are valid files."""

import base64
import io
import wave
import zlib

import pytest

from proxy_cli.mock.media import images, picture, speech, transcript


def test_speech_is_a_wav_that_grows_with_the_text():
    """The sound can be played, and a longer text takes longer."""
    with wave.open(io.BytesIO(speech("hello"))) as short, wave.open(io.BytesIO(speech("hello" * 10))) as long:
        assert (short.getnchannels(), short.getframerate()) == (1, 8000)
        assert 0 < short.getnframes() < long.getnframes()


def test_picture_is_a_png_of_one_point():
    """The parts of the file and their checksums are right."""
    data = picture()
    start = data.index(b"IDAT")
    length = int.from_bytes(data[start - 4 : start])
    content = data[start + 4 : start + 4 + length]

    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert zlib.decompress(content) == b"\x00\x80"
    assert int.from_bytes(data[start + 4 + length :][:4]) == zlib.crc32(b"IDAT" + content)


@pytest.mark.parametrize(("count", "expected"), [(None, 1), (2, 2), ("3", 3), ("many", 1), (99, 10)])
def test_images_are_as_many_as_asked(count, expected):
    """`n` comes as a number or, in a form, as text; a bad or a large one does no harm."""
    data = images({"n": count}, "http://here")["data"]

    assert len(data) == expected
    assert base64.b64decode(data[0]["b64_json"]) == picture()


def test_images_by_url_point_to_this_server():
    """With `response_format: url` the picture is to be fetched from where the request went."""
    assert images({"response_format": "url"}, "http://here")["data"] == [{"url": "http://here/mock/picture.png"}]


def test_transcript_names_file_and_size():
    """What was heard is the file's name and size; without one, that is said."""
    assert transcript({"files": [{"filename": "声.wav", "size": 7}]}) == "声.wav (7 bytes)"
    assert transcript({}) == "no file"
