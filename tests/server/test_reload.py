"""A configuration that has changed."""

import asyncio
import contextlib
import logging
import ssl
import subprocess
import textwrap
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from proxy_cli.config.flags import Flags
from proxy_cli.server.reload import File, Reloader, Renewal, Source, tell
from proxy_cli.server.setup import prepare
from proxy_cli.server.tls import tls_context

ONE = """\
model_list:
  - model_name: one
    litellm_params: {model: openai/one, mock_response: one, api_key: sk-firstfirstfirst}
"""


@pytest.fixture
def written(tmp_path):
    """Write the configuration file; the path."""

    def write(text):
        path = tmp_path / "config.yaml"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        path.chmod(0o600)
        return path

    return write


def source_of(path, **flags):
    """The source of a file, as `serve` makes it."""

    def again():
        return prepare(Flags(config=path, host="127.0.0.1", **flags), {})

    return File(again(), again)


def names(setup):
    """The names that can be asked for."""
    return setup.table.names()


def test_renewal_takes_what_the_file_says_now(written):
    """Every part of the setup is new."""
    source = source_of(written(ONE))

    written(ONE.replace("model_name: one", "model_name: two"))
    renewal = source.renew()

    assert renewal == Renewal(True)
    assert list(names(source.setup)) == ["two"]


@pytest.mark.row("C-62")
def test_renewal_of_a_file_with_errors_changes_nothing_and_names_them(written):
    """Each with its place and its cure."""
    source = source_of(written(ONE))
    before = source.setup

    path = written(ONE.replace("mock_response", "mock_resonse"))
    renewal = source.renew()

    assert not renewal.taken
    assert renewal.lines == (
        f'{path}:3:41: model_list[0].litellm_params.mock_resonse: no such setting - did you mean "mock_response"?',
    )
    assert source.setup is before


@pytest.mark.row("C-63")
@pytest.mark.parametrize("text", ["", "model_list:\n  - model_name: on", "model_list: [", "\0"])
def test_renewal_of_a_half_written_file_changes_nothing(written, text):
    """Whatever an editor has written until now."""
    source = source_of(written(ONE))

    written(text)
    renewal = source.renew()

    assert not renewal.taken
    assert renewal.lines
    assert list(names(source.setup)) == ["one"]


def test_money_that_is_spent_stays_spent(written):
    """A reload is no way around a budget, and may raise it."""
    settings = "litellm_settings: {max_budget: 1}\n"
    source = source_of(written(ONE + settings))
    source.setup.budget.add(0.75)

    written(ONE + settings.replace("1", "2"))
    source.renew()
    source.setup.budget.add(0.75)

    assert source.setup.budget.spent_usd == 1.5
    source.setup.budget.check()


def test_secrets_of_every_configuration_are_masked(written):
    """Those of requests that are still under way, and those that are new."""
    source = source_of(written(ONE))
    at_start = source.setup.scrubber

    written(ONE.replace("sk-firstfirstfirst", "sk-secondsecondsecond"))
    source.renew()

    for scrubber in (at_start, source.setup.scrubber):
        assert scrubber.scrub("sk-firstfirstfirst sk-secondsecondsecond") == "*** ***"


def test_renewal_says_what_holds_from_the_next_start_only(written):
    """The log's form is decided once."""
    source = source_of(written(ONE))

    written(ONE + "litellm_settings: {json_logs: true}\n")
    renewal = source.renew()

    assert renewal == Renewal(True, ("litellm_settings.json_logs holds from the next start on",))


def test_another_database_is_used_from_the_next_start_on(written):
    """Keys and money stay where they are while it serves."""
    key = "general_settings: {master_key: sk-9f2ab771c0d84e15b6aa3377d1c2e4f8"
    source = source_of(written(f"{ONE}{key}}}\n"))

    written(f"{ONE}{key}, database_url: 'sqlite:////tmp/elsewhere.db'}}\n")
    renewal = source.renew()

    assert "general_settings.database_url holds from the next start on" in renewal.lines


def test_renewal_says_what_the_file_is_warned_of(written):
    """As at the start: who reloads learns that a setting does nothing."""
    source = source_of(written(ONE))

    path = written(ONE + "foo: bar\n")
    renewal = source.renew()

    assert renewal.taken
    assert [line.partition(" - ")[0] for line in renewal.lines] == [
        f"{path}:4:1: warning: foo: no such setting, so it does nothing"
    ]


def test_files_that_are_watched_follow_what_is_included(written, tmp_path):
    """A file that was added is one of them from then on."""
    source = source_of(written(ONE))
    part = tmp_path / "part.yaml"
    part.write_text("litellm_settings: {drop_params: true}\n")
    part.chmod(0o600)

    path = written(ONE + "include: [part.yaml]\n")
    before = source.files
    source.renew()

    assert before == (path,)
    assert source.files == (path, part)


def certify(require, folder, name):
    """A key and a certificate under always the same file names."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [require("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-subj", f"/CN={name}", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, certificate


def served_certificate(context):
    """What a client is shown by a server of this context."""
    server = context.wrap_bio(incoming := ssl.MemoryBIO(), outgoing := ssl.MemoryBIO(), server_side=True)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    client = trusting.wrap_bio(outgoing, incoming)
    for _ in range(4):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return ssl.DER_cert_to_PEM_cert(client.getpeercert(binary_form=True) or b"")


def test_certificate_is_read_again_with_the_file(written, tmp_path, require):
    """A renewed certificate is shown to the next client; one that is no use changes nothing."""
    key, certificate = certify(require, tmp_path, "first")
    path, context = written(ONE), tls_context(certificate, key, datetime.now(UTC))

    def again():
        return prepare(Flags(config=path, host="127.0.0.1", ssl_certfile=certificate, ssl_keyfile=key), {})

    source = File(again(), again, context)
    certify(require, tmp_path, "second")
    second = certificate.read_text()
    taken = source.renew()
    certificate.write_text("nothing")
    refused = source.renew()

    assert taken == Renewal(True)
    assert refused == Renewal(False, (f"{certificate} holds no certificate in PEM form",))
    assert served_certificate(context).split() == second.split()


SETUP = prepare(Flags(model="openai/one", host="127.0.0.1"), {}).setup


class Words(Source):
    """A source that gives what it was told to, one after the other."""

    def __init__(self, *renewals):
        self.renewals = list(renewals)

    @property
    def setup(self):
        return SETUP

    @property
    def files(self):
        return ()

    def renew(self):
        return self.renewals.pop(0)


async def test_reload_is_taken_once_nothing_is_wrong():
    """The server is handed the new setup."""
    taken: list[object] = []
    reloader = Reloader(Words(Renewal(True)), taken.append)

    renewal = await reloader.reload(patient=False)

    assert renewal.taken
    assert taken == [SETUP]


@pytest.mark.row("C-63")
async def test_patient_reload_tries_once_more_after_a_moment():
    """A half-written file is whole by then."""
    taken: list[object] = []
    words = Words(Renewal(False, ("half",)), Renewal(True), Renewal(False, ("half",)))
    reloader = Reloader(words, taken.append)

    patient = await reloader.reload(patient=True)
    impatient = await reloader.reload(patient=False)

    assert patient == Renewal(True)
    assert impatient == Renewal(False, ("half",))
    assert taken == [SETUP]


async def test_reloads_that_are_asked_for_at_once_come_one_after_the_other():
    """The later one sees what the earlier one left."""
    taken: list[object] = []
    reloader = Reloader(Words(*[Renewal(True)] * 5), taken.append)

    renewals = await asyncio.gather(*(reloader.reload(patient=False) for _ in range(5)))

    assert renewals == [Renewal(True)] * 5
    assert len(taken) == 5


def test_outcome_is_told_line_by_line(caplog):
    """So that each problem is found where it stands."""
    with caplog.at_level(logging.INFO):
        tell(Renewal(False, ("config.yaml:1:1: is empty",)))
        tell(replace(Renewal(True), lines=("x holds from the next start on",)))

    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("ERROR", "the configuration was read again and has errors, so the former one stays in force"),
        ("ERROR", "config.yaml:1:1: is empty"),
        ("INFO", "the configuration was read again and is in force"),
        ("WARNING", "x holds from the next start on"),
    ]
