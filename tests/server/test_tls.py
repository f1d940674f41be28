"""Keys and certificates: used, or refused with a sentence that names the file and the date."""

import contextlib
import re
import ssl
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from proxy_cli.server.tls import UnusableTls, tls_context, validity

NOW = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture(scope="module")
def pems(tmp_path_factory, require):
    """Keys and certificates made by openssl: a good pair, another key, an encrypted one."""
    folder = tmp_path_factory.mktemp("pems")
    openssl = require("openssl")

    def run(*arguments):
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    for name, days in [("good", "30"), ("other", "20000")]:  # after 2049 dates have another form
        run(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", days,
            "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt",
        )  # fmt: skip
    run("pkey", "-in", "good.key", "-aes128", "-passout", "pass:secret", "-out", "locked.key")
    (folder / "text").write_text("not a pem")
    (folder / "damaged.crt").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    return folder


def test_tls_is_off_when_no_file_is_named():
    """Plain HTTP is the default."""
    assert tls_context(None, None, NOW) is None


def test_tls_context_serves_the_certificate(pems):
    """A client that trusts the certificate can shake hands, in memory."""
    server = tls_context(pems / "good.crt", pems / "good.key", NOW)
    assert server is not None
    client = ssl.create_default_context(cafile=pems / "good.crt")
    client.check_hostname = False
    here, there = (ssl.MemoryBIO(), ssl.MemoryBIO()), (ssl.MemoryBIO(), ssl.MemoryBIO())
    ours = server.wrap_bio(here[0], here[1], server_side=True)
    theirs = client.wrap_bio(there[0], there[1])

    for _ in range(3):
        for side in (theirs, ours):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
            here[0].write(there[1].read())
            there[0].write(here[1].read())

    shown = theirs.getpeercert()
    assert shown is not None
    assert shown["subject"] == ((("commonName", "good"),),)


@pytest.mark.row("C-57")
@pytest.mark.parametrize(
    ("certificate", "key", "sentence"),
    [
        ("good.crt", None, r"^HTTPS needs a key and a certificate; add --ssl_keyfile_path$"),
        (None, "good.key", r"^HTTPS needs a key and a certificate; add --ssl_certfile_path$"),
        ("good.crt", "other.key", r"^the key \S+/other.key does not belong to the certificate \S+/good.crt$"),
        ("good.crt", "locked.key", r"^the key \S+/locked.key is encrypted; decrypt it first: openssl pkey "),
        ("none.crt", "good.key", r"^the certificate \S+/none.crt cannot be read: No such file or directory$"),
        ("good.crt", "none.key", r"^the key \S+/none.key cannot be read: No such file or directory$"),
        (".", "good.key", r"^the certificate \S+ cannot be read: Is a directory$"),
        ("text", "good.key", r"^\S+/text holds no certificate in PEM form$"),
        ("good.crt", "text", r"^\S+/text holds no private key in PEM form$"),
        ("good.key", "good.crt", r"^\S+/good.key holds no certificate in PEM form$"),
        ("damaged.crt", "good.key", r"^the certificate \S+/damaged.crt is damaged$"),
    ],
)
def test_tls_files_that_cannot_be_used_are_one_plain_sentence(pems, certificate, key, sentence):
    """Which file, what is wrong, and no question for a password on the terminal."""
    with pytest.raises(UnusableTls, match=sentence):
        tls_context(certificate and pems / certificate, key and pems / key, NOW)


@pytest.mark.row("C-57")
def made(pems):
    """When the certificates were made: in a long run that is not when this file was read."""
    return datetime.fromtimestamp((pems / "good.crt").stat().st_mtime, UTC)


@pytest.mark.parametrize(
    ("days", "sentence"),
    [(31, r"good.crt expired on (\S+ \S+) UTC; renew it$"), (-1, r"good.crt is valid from (\S+ \S+) UTC only; it is ")],
)
def test_tls_certificate_out_of_its_time_is_refused_with_the_date(pems, days, sentence):
    """The date that openssl itself reads in it."""
    with pytest.raises(UnusableTls, match=sentence) as caught:
        tls_context(pems / "good.crt", pems / "good.key", NOW + timedelta(days=days))

    [date] = re.findall(sentence, str(caught.value))
    told = datetime.strptime(date, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    assert abs(told - made(pems) - timedelta(days=30 if days > 0 else 0)) < timedelta(minutes=5)


def test_tls_validity_reads_both_forms_of_dates(pems):
    """Two digits for the year until 2049, four from 2050 on (RFC 5280, 4.1.2.5)."""
    der = ssl.PEM_cert_to_DER_cert((pems / "other.crt").read_text())

    starts, ends = validity(der)

    assert abs(starts - made(pems)) < timedelta(minutes=5)
    assert ends - starts == timedelta(days=20000)
