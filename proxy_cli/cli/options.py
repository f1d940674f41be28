"""The options that mirror `litellm`, declared once: name, kind, variable, help, and what becomes of each.

Click's options, the help page, the variables that stand for options and the lines about options which do nothing
all come from the table `OPTIONS`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click

from proxy_cli.cli.kinds import HeadersObject, KeyAssignment, Kind, Number, OptionalText, Switch, Text
from proxy_cli.config.flags import Flags

if TYPE_CHECKING:
    from proxy_cli.config.environment import Variables

Values = Mapping[str, object]  # an option's name to its value; None where nothing was said

TEXT: Final = Text()
FILE: Final = Text()  # files are opened, and judged, by the room that reads them
WHOLE: Final = Number(1)
SECONDS: Final = Number(0.001, whole=False)
SWITCH: Final = Switch()

Section = Literal["Serving", "One model without a file", "Every call", "Instead of serving", "Later", "LiteLLM's"]


@dataclass(frozen=True, slots=True)
class Option:
    """One row: an option and everything that is known of it."""

    name: str
    kind: Kind | None  # None: a switch without a value
    section: Section
    help: str
    short: str | None = None
    variable: str | None = None  # LiteLLM's name of the one that stands for it
    bare: str | None = None  # the value when the option stands without one
    unused: str | None = None  # why it does nothing, and what to do instead

    @property
    def flag(self) -> str:
        """As it is written on the command line."""
        return f"--{self.name}"

    def click_option(self) -> click.Option:
        """The same for Click. The default is always None, so that 'nothing was said' can be told apart."""
        names = [name for name in (self.short, self.flag) if name]
        hidden = self.section == "LiteLLM's"
        if self.kind is None:
            return click.Option(names, is_flag=True, default=None, help=self.help, hidden=hidden)
        if self.bare is None:
            return click.Option(names, type=self.kind, default=None, help=self.help, hidden=hidden)
        return click.Option(
            names,
            type=self.kind,
            default=None,
            help=self.help,
            hidden=hidden,
            is_flag=False,
            flag_value=self.bare,
            metavar=f"[{self.kind.name.upper()}]",
        )


_NO_DATABASE = "tables are brought up at start, and by `llmproxy db upgrade`; leave it out"
_NO_LOGIN = "the database is entered by user and password, in DATABASE_URL; leave it out"
_OWN_SERVER = "llmproxy brings its own server; leave it out, or use --run_gunicorn"

OPTIONS: Final[tuple[Option, ...]] = (
    Option("config", FILE, "Serving", "The YAML file to serve.", short="-c"),
    Option("host", TEXT, "Serving", "Address to listen on (0.0.0.0); or unix:PATH, a socket.", variable="HOST"),
    Option("port", Number(1, 65535), "Serving", "Port to listen on (4000).", variable="PORT"),
    Option("local", None, "Serving", "Listen on this machine only, with logs for a developer's eyes."),
    Option("num_workers", Number(1, 256), "Serving", "Processes that share the port (1).", variable="NUM_WORKERS"),
    Option("run_gunicorn", None, "Serving", "Serve through gunicorn (pip install gunicorn)."),
    Option("ssl_keyfile_path", FILE, "Serving", "Key for HTTPS, PEM.", variable="SSL_KEYFILE_PATH"),
    Option("ssl_certfile_path", FILE, "Serving", "Certificate for HTTPS, PEM.", variable="SSL_CERTFILE_PATH"),
    Option("keepalive_timeout", SECONDS, "Serving", "Seconds an idle client connection stays open.",
           variable="KEEPALIVE_TIMEOUT"),
    Option("limit_concurrency", WHOLE, "Serving", "Requests at once in each process; beyond that 503.",
           variable="LIMIT_CONCURRENCY"),
    Option("reload", None, "Serving", "Take a changed file into use as soon as it is saved."),
    Option("max_requests_before_restart", WHOLE, "Serving", "Replace a process after this many requests.",
           variable="MAX_REQUESTS_BEFORE_RESTART"),
    Option("max_requests_before_restart_jitter", Number(0), "Serving", "Up to this many requests more, by chance.",
           variable="MAX_REQUESTS_BEFORE_RESTART_JITTER"),
    Option("debug", None, "Serving", "One line for each step of a request.", variable="DEBUG"),
    Option("detailed_debug", None, "Serving", "The raw request to the backend and its raw answer.",
           variable="DETAILED_DEBUG"),
    Option("telemetry", SWITCH, "Serving", "Accepted; llmproxy never phones home.", bare="true"),

    Option("model", TEXT, "One model without a file", "Serve this model under every name, as in openai/gpt-4o.",
           short="-m"),
    Option("api_base", TEXT, "One model without a file", "Its server's base URL, as in http://localhost:8000/v1."),
    Option("api_version", TEXT, "One model without a file",
           "Azure's API version (with a file: for models that name none)."),
    Option("alias", TEXT, "One model without a file", "A friendlier name for it (with a file: for its first model)."),
    Option("save", None, "One model without a file", "Keep these as the model's defaults, for a later --model."),
    Option("add_key", KeyAssignment(), "One model without a file", "Keep a provider's key, as OPENAI_API_KEY=sk-..."),

    Option("headers", HeadersObject(), "Every call", "Headers for each call to a backend, a JSON object."),
    Option("temperature", Number(0, 100, whole=False), "Every call", "Set the temperature, whatever callers ask."),
    Option("max_tokens", WHOLE, "Every call", "Set max_tokens, whatever callers ask."),
    Option("request_timeout", SECONDS, "Every call", "Seconds a backend may take (600).", variable="REQUEST_TIMEOUT"),
    Option("drop_params", None, "Every call", "Leave out what a model is known not to take, instead of a 400.",
           variable="LITELLM_DROP_PARAMS"),
    Option("add_function_to_prompt", None, "Every call", "Put tools into the prompt where a model takes none."),
    Option("max_budget", Number(0, whole=False, above=True), "Every call",
           "US dollars to spend, counted from the start."),

    Option("health", None, "Instead of serving", "Ask every model of the file once; or the proxy, without a file."),
    Option("test", OptionalText(), "Instead of serving", "Send a running proxy (--test URL: that one) a test request.",
           bare=""),
    Option("url", TEXT, "Instead of serving", "For --health and --test: the proxy's address (else --host and --port)."),
    Option("key", TEXT, "Instead of serving", "For --health and --test: the key to send."),
    Option("json", None, "Instead of serving", "For --health, --test and --validate_config: print JSON."),
    Option("validate_config", None, "Instead of serving", "Check the file: exit 0 or 1 (see `llmproxy check`)."),
    Option("setup", None, "Instead of serving", "Write a first file (see `llmproxy init`)."),

    Option("use_queue", None, "Later", "Queued requests: not built yet."),
    Option("test_async", None, "Later", "A test of the queue: not built yet."),
    Option("num_requests", WHOLE, "Later", "For --test_async: not built yet."),

    Option("log_config", FILE, "LiteLLM's", "", unused="logs are set by --debug and litellm_settings.json_logs"),
    Option("skip_server_startup", None, "LiteLLM's", ""),
    Option("prometheus_metrics_port", Number(1, 65535), "LiteLLM's", "", variable="PROMETHEUS_METRICS_PORT",
           unused="metrics are at /metrics on the server's own port; leave it out"),
    Option("run_hypercorn", None, "LiteLLM's", "", unused=_OWN_SERVER),
    Option("run_granian", None, "LiteLLM's", "", unused=_OWN_SERVER),
    Option("granian_threads", WHOLE, "LiteLLM's", "", variable="GRANIAN_RUNTIME_THREADS",
           unused="there is no granian here; use --num_workers"),
    Option("ciphers", TEXT, "LiteLLM's", "", unused="HTTPS uses the ciphers that OpenSSL recommends; leave it out"),
    Option("timeout_worker_healthcheck", SECONDS, "LiteLLM's", "", variable="TIMEOUT_WORKER_HEALTHCHECK",
           unused="worker processes are watched without asking them; leave it out"),
    Option("iam_token_db_auth", None, "LiteLLM's", "", variable="IAM_TOKEN_DB_AUTH", unused=_NO_LOGIN),
    Option("azure_postgresql_auth", None, "LiteLLM's", "", unused=_NO_LOGIN),
    Option("use_prisma_db_push", None, "LiteLLM's", "", unused=_NO_DATABASE),
    Option("use_v2_migration_resolver", None, "LiteLLM's", "", variable="USE_V2_MIGRATION_RESOLVER",
           unused=_NO_DATABASE),
    Option("use_legacy_migration_resolver", None, "LiteLLM's", "", unused=_NO_DATABASE),
    Option("enforce_prisma_migration_check", None, "LiteLLM's", "", unused=_NO_DATABASE),
)  # fmt: skip


# Where the value of a variable lies, if not under the option's own name.
_FIELDS: Final = {"request_timeout": "request_timeout_s", "keepalive_timeout": "keepalive_timeout_s"}


def click_options() -> list[click.Parameter]:
    """Fresh Click options for a command that serves."""
    return [option.click_option() for option in OPTIONS]


def with_variables(values: Values, variables: "Variables") -> dict[str, object]:
    """The values, and where an option was not given, what a variable says."""
    filled = dict(values)
    for option in OPTIONS:
        said = getattr(variables, _FIELDS.get(option.name, option.name), None) if option.variable else None
        # A variable that says no to a switch says nothing: that is its default.
        if filled.get(option.name) is None and said is not None and said is not False:
            if option.name == "host" and filled.get("local"):
                continue  # --local is said on the command line, and it is about the address
            filled[option.name] = _within_bounds(option, said)
    if variables.log_level == "DEBUG" and filled.get("detailed_debug") is None:
        filled["debug"] = True
    return filled


def _within_bounds(option: Option, said: object) -> object:
    try:
        return said if option.kind is None else option.kind.read(str(said))
    except ValueError as problem:
        raise click.UsageError(f"{option.variable}: {problem}") from problem


def unused(values: Values) -> Iterator[str]:
    """One line for each option that was given and does nothing."""
    for option in OPTIONS:
        if option.unused is not None and values.get(option.name) is not None:
            yield f"{option.flag} does nothing: {option.unused}"


def flags_from(values: Values) -> Flags:
    """The plain value that the rooms below read."""
    chosen = _Chosen(values)
    return Flags(
        config=chosen.path("config"),
        host=chosen.text("host"),
        port=chosen.whole("port"),
        num_workers=chosen.whole("num_workers") or 1,
        keepalive_timeout_s=chosen.amount("keepalive_timeout"),
        limit_concurrency=chosen.whole("limit_concurrency"),
        max_requests_before_restart=chosen.whole("max_requests_before_restart"),
        max_requests_before_restart_jitter=chosen.whole("max_requests_before_restart_jitter") or 0,
        reload=chosen.switch("reload"),
        run_gunicorn=chosen.switch("run_gunicorn"),
        ssl_keyfile=chosen.path("ssl_keyfile_path"),
        ssl_certfile=chosen.path("ssl_certfile_path"),
        model=chosen.text("model"),
        alias=chosen.text("alias"),
        api_base=chosen.text("api_base"),
        api_version=chosen.text("api_version"),
        headers=chosen.headers(),
        temperature=chosen.amount("temperature"),
        max_tokens=chosen.whole("max_tokens"),
        request_timeout_s=chosen.amount("request_timeout"),
        drop_params=chosen.switch("drop_params"),
        add_function_to_prompt=chosen.switch("add_function_to_prompt"),
        max_budget_usd=chosen.amount("max_budget"),
        debug=chosen.switch("debug"),
        detailed_debug=chosen.switch("detailed_debug"),
        local=chosen.switch("local"),
    )


class _Chosen:
    """Values with the types that their kinds have given them."""

    def __init__(self, values: Values) -> None:
        self._values = values

    def text(self, name: str) -> str | None:
        value = self._values.get(name)
        return value if isinstance(value, str) else None

    def path(self, name: str) -> Path | None:
        value = self.text(name)
        return None if value is None else Path(value)

    def whole(self, name: str) -> int | None:
        value = self._values.get(name)
        return value if isinstance(value, int) else None

    def amount(self, name: str) -> float | None:
        value = self._values.get(name)
        return float(value) if isinstance(value, int | float) else None

    def switch(self, name: str) -> bool:
        return self._values.get(name) is True

    def headers(self) -> dict[str, str]:
        value = self._values.get("headers")
        return {str(name): str(text) for name, text in value.items()} if isinstance(value, dict) else {}
