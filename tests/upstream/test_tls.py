"""TLS settings as contexts: files that are no use, and files that change."""

import logging
import os
import shutil
import ssl
import subprocess

import pytest

from proxy_cli.shapes import Tls
from proxy_cli.upstream.tls import Contexts, UnusableTls, tls_context


def test_certificates_are_verified_unless_a_setting_says_otherwise():
    """The default, and a file of CAs, both check names; only `false` does not."""
    usual, off = tls_context(Tls()), tls_context(Tls(verify=False))

    assert (usual.verify_mode, usual.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert (off.verify_mode, off.check_hostname) == (ssl.CERT_NONE, False)


def test_file_of_cas_stands_in_place_of_the_systems(own):
    """Who names one trusts that one, and no other."""
    context = tls_context(Tls(str(own.file)))

    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.cert_store_stats()["x509"] == 1


@pytest.mark.parametrize(
    ("names", "setting", "sentence"),
    [
        (("missing", None, None), "ssl_verify", "cannot read CA certificates from '.*missing': no such file"),
        (
            ("garbage", None, None),
            "ssl_verify",
            "cannot read CA certificates from '.*garbage': it holds no certificate",
        ),
        (("key", None, None), "ssl_verify", "it holds no certificate; name a file in PEM form"),
        ((None, "missing", None), "ssl_certificate", "cannot read '.*missing': no such file"),
        ((None, "own", None), "ssl_certificate", "'.*' cannot be used: .* name the files of both"),
        ((None, "garbage", "key"), "ssl_keyfile", "garbage' with the key '.*' cannot be used: "),
        ((None, "own", "missing"), "ssl_keyfile", "cannot read '.*missing': no such file"),
        ((None, "own", "folder"), "ssl_keyfile", "cannot read '.*': is a directory"),
        ((None, "own", "other key"), "ssl_keyfile", "certificate and key do not belong together; name"),
        ((None, "own", "encrypted"), "ssl_keyfile", "the key is encrypted; store it without a passphrase"),
    ],
)
def test_file_that_is_no_use_is_named_with_its_setting_and_a_cure(
    names, setting, sentence, own, other, require, tmp_path
):
    """At once, and without a question on the terminal."""
    garbage, encrypted = tmp_path / "garbage", tmp_path / "encrypted"
    garbage.write_text("not a certificate")
    command = [require("openssl"), "ec", "-in", own.key, "-aes256", "-passout", "pass:secret", "-out", encrypted]
    subprocess.run(command, check=True, capture_output=True)
    files = {"own": own.file, "key": own.key, "other key": other.key, "garbage": garbage, "encrypted": encrypted}
    files |= {"missing": tmp_path / "missing", "folder": tmp_path}
    verify, certificate, keyfile = (str(files[name]) if name else None for name in names)

    with pytest.raises(UnusableTls, match=sentence) as failure:
        tls_context(Tls(True if verify is None else verify, certificate, keyfile))

    assert failure.value.setting == setting
    assert "; " in str(failure.value)


def test_context_is_made_once_for_each_kind_of_settings(own):
    """It takes milliseconds, and a megabyte with the system's certificates."""
    contexts = Contexts()

    assert contexts.context(Tls()) is contexts.context(Tls())
    assert contexts.context(Tls(str(own.file))) is contexts.context(Tls(str(own.file)))
    assert contexts.context(Tls()) is not contexts.context(Tls(str(own.file)))


def test_renewed_file_makes_a_new_context_and_a_broken_one_leaves_the_last(own, other, tmp_path, caplog):
    """So a certificate is renewed without a restart, and a file that is half written harms nobody."""
    file = tmp_path / "ca.pem"
    shutil.copy(own.file, file)
    contexts, tls = Contexts(), Tls(str(file))
    first = contexts.context(tls)

    file.write_text("half a certif")
    os.utime(file, ns=(1, 1))
    with caplog.at_level(logging.WARNING):
        assert contexts.context(tls) is first
        assert contexts.context(tls) is first
    shutil.copy(other.file, file)
    os.utime(file, ns=(2, 2))

    assert contexts.context(tls) is not first
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "ssl_verify of backends is used as it was before"
    ]


def test_settings_that_never_worked_are_an_error_each_time():
    """There is no last good context to fall back to."""
    contexts = Contexts()

    for _ in range(2):
        with pytest.raises(UnusableTls):
            contexts.context(Tls("/nowhere/ca.pem"))
