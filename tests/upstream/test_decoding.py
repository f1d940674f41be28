"""Content codings: undone whole, in pieces, and within bounds."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.upstream.decoding import Decoder


def raw_deflate(data: bytes) -> bytes:
    """Deflate data without its wrapper."""
    pack = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return pack.compress(data) + pack.flush()


CODINGS = [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", raw_deflate)]


def decoded(decoder: Decoder, *pieces: bytes) -> list[bytes]:
    """Every step's output, to the end."""
    out = []
    for piece in pieces:
        out.append(decoder.feed(piece))
        while decoder.has_more:
            out.append(decoder.feed(b""))
    decoder.finish()
    return out


@pytest.mark.row("U-20")
@pytest.mark.parametrize(("coding", "pack"), CODINGS)
def test_body_comes_out_the_same_wherever_it_was_cut(coding, pack):
    """Byte by byte, and cut in two at every place."""
    plain = "日本語 and some text. ".encode() * 5
    packed = pack(plain)

    assert b"".join(decoded(Decoder(coding), *(packed[at : at + 1] for at in range(len(packed))))) == plain
    for cut in range(len(packed)):
        assert b"".join(decoded(Decoder(coding), packed[:cut], packed[cut:])) == plain


@given(st.binary(max_size=300), st.integers(1, 3), st.integers(1, 50))
def test_several_gzip_members_are_one_body(data, times, step):
    """As the format allows; zeros at the end are filling."""
    packed = gzip.compress(data) * times + b"\0" * 7

    pieces = [packed[at : at + step] for at in range(0, len(packed), step)]

    assert b"".join(decoded(Decoder("gzip"), *pieces)) == data * times


@pytest.mark.row("U-20")
@pytest.mark.parametrize("size", [262_143, 262_144, 262_145, 5_000_000])
@pytest.mark.parametrize(("coding", "pack"), CODINGS)
def test_no_step_gives_more_than_its_bound(coding, pack, size):
    """A few kilobytes that stand for megabytes come out in pieces, and nothing is lost at the seams."""
    out = decoded(Decoder(coding), pack(b"\0" * size))

    assert max(map(len, out)) <= 262_144
    assert sum(map(len, out)) == size


@pytest.mark.row("U-20")
@pytest.mark.parametrize(("coding", "pack"), CODINGS)
def test_a_body_that_is_cut_off_does_not_finish(coding, pack):
    """At every byte but the last the end is missing."""
    packed = pack(b"some text, twice: some text")

    for cut in range(1, len(packed)):
        with pytest.raises(zlib.error):
            decoded(Decoder(coding), packed[:cut])


@pytest.mark.row("U-20")
@pytest.mark.parametrize(("coding", "body"), [("gzip", b'{"a": 1}'), ("deflate", b'{"a": 1}')])
def test_a_plain_body_under_a_coding_is_an_error(coding, body):
    """What is not coded as it says is not guessed at."""
    with pytest.raises(zlib.error):
        decoded(Decoder(coding), body)


def test_bytes_after_deflate_data_are_an_error():
    """Deflate has no second member."""
    with pytest.raises(zlib.error):
        decoded(Decoder("deflate"), zlib.compress(b"a") + b"junk")


def test_a_body_without_a_byte_is_empty():
    """Some servers name a coding on a reply that has no body."""
    assert decoded(Decoder("gzip")) == []
