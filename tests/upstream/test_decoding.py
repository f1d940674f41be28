"""Content codings: undone whole, in pieces, and within bounds."""

import gzip
import subprocess
import sys
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.upstream.decoding import DECODERS, CodingError, Decoder, Inflate


def raw_deflate(data: bytes) -> bytes:
    """Deflate data without its wrapper."""
    pack = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return pack.compress(data) + pack.flush()


CODINGS = [
    ("gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("br", brotli.compress),
    ("zstd", zstandard.compress),
]

# What the libraries of the extra make of one step is bounded less sharply.
BOUNDS = {"br": 512 * 1024, "zstd": 2200 * 1024}


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

    assert b"".join(decoded(DECODERS[coding](), *(packed[at : at + 1] for at in range(len(packed))))) == plain
    for cut in range(len(packed)):
        assert b"".join(decoded(DECODERS[coding](), packed[:cut], packed[cut:])) == plain


@given(st.binary(max_size=300), st.integers(1, 3), st.integers(1, 50))
def test_several_gzip_members_are_one_body(data, times, step):
    """As the format allows; zeros at the end are filling."""
    packed = gzip.compress(data) * times + b"\0" * 7

    pieces = [packed[at : at + step] for at in range(0, len(packed), step)]

    assert b"".join(decoded(Inflate("gzip"), *pieces)) == data * times


@pytest.mark.row("U-20")
@pytest.mark.parametrize("size", [262_143, 262_144, 262_145, 20_000_000])
@pytest.mark.parametrize(("coding", "pack"), CODINGS)
def test_no_step_gives_more_than_its_bound(coding, pack, size):
    """A few kilobytes that stand for megabytes come out in pieces, and nothing is lost at the seams."""
    out = decoded(DECODERS[coding](), pack(b"\0" * size))

    assert max(map(len, out)) <= BOUNDS.get(coding, 262_144)
    assert sum(map(len, out)) == size


@pytest.mark.row("U-20")
@pytest.mark.parametrize(("coding", "pack"), CODINGS)
def test_a_body_that_is_cut_off_does_not_finish(coding, pack):
    """At every byte but the last the end is missing."""
    packed = pack(b"some text, twice: some text")

    for cut in range(1, len(packed)):
        with pytest.raises(CodingError):
            decoded(DECODERS[coding](), packed[:cut])


@pytest.mark.row("U-20")
@pytest.mark.parametrize(("coding", "body"), [(coding, b'{"a": 1}') for coding in DECODERS])
def test_a_plain_body_under_a_coding_is_an_error(coding, body):
    """What is not coded as it says is not guessed at."""
    with pytest.raises(CodingError):
        decoded(DECODERS[coding](), body)


def test_bytes_after_deflate_data_are_an_error():
    """Deflate has no second member."""
    with pytest.raises(CodingError):
        decoded(Inflate("deflate"), zlib.compress(b"a") + b"junk")


@pytest.mark.parametrize("coding", DECODERS)
def test_a_body_without_a_byte_is_empty(coding):
    """Some servers name a coding on a reply that has no body."""
    assert decoded(DECODERS[coding]()) == []


def test_several_zstd_frames_are_one_body():
    """As the format allows; what follows and is none is an error."""
    frame = zstandard.compress(b"some text")

    assert b"".join(decoded(DECODERS["zstd"](), frame + frame[:5], frame[5:])) == b"some textsome text"
    with pytest.raises(CodingError):
        decoded(DECODERS["zstd"](), frame + b"junk")


def test_bytes_after_brotli_data_are_an_error():
    """It has one stream."""
    with pytest.raises(CodingError):
        decoded(DECODERS["br"](), brotli.compress(b"a") + b"junk")


def test_zstd_window_is_bounded():
    """A frame that asks for more memory than browsers grant is refused."""
    wide = zstandard.ZstdCompressionParameters(window_log=25)
    pack = zstandard.ZstdCompressor(compression_params=wide).compressobj()

    with pytest.raises(CodingError, match="memory"):
        decoded(DECODERS["zstd"](), pack.compress(b"x" * 100) + pack.flush())


@pytest.mark.row("U-20")
@pytest.mark.parametrize(
    ("missing", "left"),
    [
        (("brotli", "zstandard"), "gzip, deflate"),
        (("brotli",), "gzip, deflate, zstd"),
        ((), "gzip, deflate, br, zstd"),
    ],
)
def test_codings_that_are_not_installed_are_never_asked_for(missing, left):
    """Without the extra a program asks for what the standard library can undo, and knows no more."""
    program = f"""if True:
        import sys
        sys.modules.update(dict.fromkeys({missing!r}))
        from proxy_cli.shapes import Backend, Timeouts, UpstreamRequest
        from proxy_cli.upstream.head import request_head
        backend = Backend("http", "llm", 1)
        request = UpstreamRequest(backend=backend, target="/", headers=(), body=b"", timeouts=Timeouts())
        print(request_head(request).decode())
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert f"accept-encoding: {left}\n" in done.stdout
