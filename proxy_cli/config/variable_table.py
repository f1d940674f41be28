"""The table of variables: LiteLLM's names, what each sets, and what becomes of it here."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

Standing = Literal["used", "ignored", "not yet supported"]


class Kind(StrEnum):
    """How the text of a variable is read."""

    TEXT = "text"
    SECRET = "secret"  # noqa: S105 - a word, not a secret
    FLAG = "flag"
    PORT = "port"
    COUNT = "count"
    TALLY = "tally"
    SECONDS = "seconds"
    LEVEL = "level"
    VERIFY = "verify"
    URL_PATH = "path of a URL"


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable by LiteLLM's name; `field` is where its value goes in `Variables`."""

    name: str
    kind: Kind
    sets: str
    field: str = ""
    state: Standing = "used"
    why: str = ""


def _ignored(name: str, sets: str, why: str, kind: Kind = Kind.TEXT) -> Variable:
    return Variable(name, kind, sets, state="ignored", why=why)


def _later(sets: str, why: str, *names: str, kind: Kind = Kind.TEXT) -> tuple[Variable, ...]:
    return tuple(Variable(name, kind, sets, state="not yet supported", why=why) for name in names)


_NO_REPLICA: Final = "all is read by way of DATABASE_URL"
_NO_REDIS: Final = "nothing is shared between instances yet"
_NO_SSO: Final = "the master key is the only way in so far"
_NO_PAGE: Final = "there is no web page for admins yet"
_NO_ALERTS: Final = "no alerts are sent yet"
_NO_TRACES: Final = "no traces or metrics are sent yet"
_OWN_METRICS: Final = "metrics are at /metrics on the server's own port, right for all its processes"
_BY_CONFIG: Final = "a proxy on the way to backends is named in the file: http_proxy"
_NO_MAP: Final = "prices are shipped with the program and never downloaded"

# Further names for a variable, beside its own and its LLMPROXY_ twin.
OTHER_TWINS: Final[Mapping[str, tuple[str, ...]]] = {
    "NUM_WORKERS": ("LLMPROXY_WORKERS", "WORKERS"),
    "DEFAULT_NUM_WORKERS_LITELLM_PROXY": (),
}

TABLE: Final[tuple[Variable, ...]] = (
    Variable("LITELLM_MASTER_KEY", Kind.SECRET, "the key callers need", "master_key"),
    Variable(
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY",
        Kind.FLAG,
        "serving with a weak key or none",
        "permit_weak_master_key",
    ),
    Variable("LITELLM_LOG", Kind.LEVEL, "how much is logged", "log_level"),
    Variable("LITELLM_MODE", Kind.TEXT, "PRODUCTION: no .env is read", "mode"),
    Variable("HOST", Kind.TEXT, "--host", "host"),
    Variable("PORT", Kind.PORT, "--port", "port"),
    Variable("NUM_WORKERS", Kind.COUNT, "--num_workers", "num_workers"),
    Variable("DEBUG", Kind.FLAG, "--debug", "debug"),
    Variable("DETAILED_DEBUG", Kind.FLAG, "--detailed_debug", "detailed_debug"),
    Variable("LITELLM_DROP_PARAMS", Kind.FLAG, "--drop_params", "drop_params"),
    Variable("REQUEST_TIMEOUT", Kind.SECONDS, "--request_timeout", "request_timeout_s"),
    Variable("KEEPALIVE_TIMEOUT", Kind.SECONDS, "--keepalive_timeout", "keepalive_timeout_s"),
    Variable("LIMIT_CONCURRENCY", Kind.COUNT, "--limit_concurrency", "limit_concurrency"),
    Variable(
        "MAX_REQUESTS_BEFORE_RESTART", Kind.COUNT, "--max_requests_before_restart", "max_requests_before_restart"
    ),
    Variable(
        "MAX_REQUESTS_BEFORE_RESTART_JITTER",
        Kind.TALLY,
        "--max_requests_before_restart_jitter",
        "max_requests_before_restart_jitter",
    ),
    Variable("SSL_KEYFILE_PATH", Kind.TEXT, "--ssl_keyfile_path", "ssl_keyfile_path"),
    Variable("SSL_CERTFILE_PATH", Kind.TEXT, "--ssl_certfile_path", "ssl_certfile_path"),
    Variable("SSL_VERIFY", Kind.VERIFY, "whether backends' certificates are checked", "ssl_verify"),
    Variable("SSL_CERT_FILE", Kind.TEXT, "the CA bundle for backends", "ssl_cert_file"),
    Variable("SSL_CERTIFICATE", Kind.TEXT, "a client certificate for backends", "ssl_certificate"),
    Variable("SERVER_ROOT_PATH", Kind.URL_PATH, "the path that the proxy is served below", "server_root_path"),
    Variable("DOCS_URL", Kind.URL_PATH, "the path of the docs page", "docs_url"),
    Variable("ROOT_REDIRECT_URL", Kind.TEXT, "where / leads to", "root_redirect_url"),
    Variable("NO_DOCS", Kind.FLAG, "no docs page", "no_docs"),
    Variable("NO_OPENAPI", Kind.FLAG, "no /openapi.json", "no_openapi"),
    Variable("LITELLM_SALT_KEY", Kind.SECRET, "the key that secrets in the database are sealed with", "salt_key"),
    Variable("STORE_MODEL_IN_DB", Kind.FLAG, "models in the database", "store_model_in_db"),
    # Read where the database's address is put together.
    Variable("DATABASE_URL", Kind.SECRET, "the database for keys and spend"),
    *(Variable(name, Kind.TEXT, "a part of the database's address, where DATABASE_URL is not set")
      for name in ("DATABASE_HOST", "DATABASE_PORT", "DATABASE_NAME", "DATABASE_SCHEMA", "DATABASE_USERNAME",
                   "DATABASE_USER")),
    Variable("DATABASE_PASSWORD", Kind.SECRET, "a part of the database's address, where DATABASE_URL is not set"),
    Variable("LLMPROXY_DATA_DIR", Kind.TEXT, "the folder of the database's file and of what is not in it yet"),
    Variable("DISABLE_SCHEMA_UPDATE", Kind.FLAG, "tables are left alone at a start", "disable_schema_update"),
    Variable("JWT_PUBLIC_KEY_URL", Kind.TEXT, "where the keys of tokens are: files or addresses, with commas",
             "jwt_public_key_url"),
    Variable("JWT_AUDIENCE", Kind.TEXT, "for whom tokens must be", "jwt_audience"),
    Variable("JWT_ISSUER", Kind.TEXT, "by whom tokens must be", "jwt_issuer"),
    # Read by the client commands, not by the server.
    Variable("LLMPROXY_URL", Kind.TEXT, "the proxy that client commands call"),
    Variable("LLMPROXY_API_KEY", Kind.SECRET, "the key that client commands send"),
    Variable("LLMPROXY_CONFIG_DIR", Kind.TEXT, "the folder of saved models and keys"),
    _ignored("LITELLM_LICENSE", "LiteLLM's licence", "there is nothing to unlock"),
    _ignored("LITELLM_LOCAL_MODEL_COST_MAP", "prices from the package", _NO_MAP),
    _ignored("LITELLM_DONT_SHOW_FEEDBACK_BOX", "no feedback box", "there is none"),
    _ignored("LITELLM_TELEMETRY", "usage statistics", "llmproxy never phones home"),
    _ignored("LITELLM_DETAILED_TIMING", "timing headers", "--debug logs the time of every step"),
    _ignored("NO_REDOC", "no ReDoc page", "there is none", Kind.FLAG),
    _ignored("USE_LITELLM_PROXY", "calls by way of a proxy", "this is the proxy"),
    _ignored("DISABLE_AIOHTTP_TRANSPORT", "LiteLLM's transport", "there is one transport, of our own"),
    _ignored("DEFAULT_NUM_WORKERS_LITELLM_PROXY", "default of --num_workers", "use NUM_WORKERS"),
    _ignored("GRANIAN_RUNTIME_THREADS", "threads of granian", "workers are processes: --num_workers"),
    _ignored("TIMEOUT_WORKER_HEALTHCHECK", "uvicorn's worker check", "uvicorn is not used"),
    _ignored("USE_V2_MIGRATION_RESOLVER", "database migrations", "there is one way to bring tables up"),
    *(_ignored(name, "proxies on the way out", _BY_CONFIG)
      for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "AIOHTTP_TRUST_ENV")),
    _ignored("LITELLM_MODEL_COST_MAP_URL", "where prices are downloaded from", _NO_MAP),
    *_later("encryption of stored keys", "use llmproxy db rotate", "LITELLM_MIGRATE_FROM_MASTER_KEY"),
    *_later("window of rate limits", "limits hold in any 60 s", "LITELLM_RATE_LIMIT_WINDOW_SIZE", kind=Kind.SECONDS),
    *_later("the proxy's own address", _NO_PAGE, "PROXY_BASE_URL"),
    *_later("no web page", _NO_PAGE, "DISABLE_ADMIN_UI", kind=Kind.FLAG),
    *_later("configuration from a bucket", "use --config with a file", "LITELLM_CONFIG_BUCKET_NAME",
            "LITELLM_CONFIG_BUCKET_OBJECT_KEY", "LITELLM_CONFIG_BUCKET_TYPE"),
    *_later("a replica that is only read", _NO_REPLICA, "DATABASE_URL_READ_REPLICA"),
    *_later("login to the database by AWS", "write user and password into DATABASE_URL", "IAM_TOKEN_DB_AUTH"),
    _ignored("DIRECT_URL", "the database's address for migrations", "tables are brought up by way of DATABASE_URL"),
    *_later("Redis", _NO_REDIS, "REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "REDIS_USERNAME",
            "REDIS_SSL", "REDIS_DB", "REDIS_CLUSTER_NODES", "REDIS_SENTINEL_NODES", "REDIS_SERVICE_NAME"),
    *_later("the web page's login", _NO_PAGE, "UI_USERNAME", "UI_PASSWORD", "PROXY_ADMIN_ID"),
    *_later("signing in", _NO_SSO, "GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET", "MICROSOFT_CLIENT_ID",
            "MICROSOFT_CLIENT_SECRET", "MICROSOFT_TENANT", "GENERIC_CLIENT_ID", "GENERIC_CLIENT_SECRET",
            "GENERIC_AUTHORIZATION_ENDPOINT", "GENERIC_TOKEN_ENDPOINT", "GENERIC_USERINFO_ENDPOINT", "GENERIC_SCOPE",
            "GENERIC_USER_ID_ATTRIBUTE", "GENERIC_USER_EMAIL_ATTRIBUTE", "GENERIC_USER_ROLE_ATTRIBUTE",
            "GENERIC_USER_DISPLAY_NAME_ATTRIBUTE", "GENERIC_USER_FIRST_NAME_ATTRIBUTE",
            "GENERIC_USER_LAST_NAME_ATTRIBUTE", "GENERIC_USER_PROVIDER_ATTRIBUTE"),
    *_later("alerts", _NO_ALERTS, "SLACK_WEBHOOK_URL", "MS_TEAMS_WEBHOOK_URL", "WEBHOOK_URL", "SMTP_HOST",
            "SMTP_PORT", "SMTP_USERNAME", "SMTP_PASSWORD", "SMTP_SENDER_EMAIL", "SMTP_TLS"),
    *_later("metrics", _OWN_METRICS, "PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_URL", "PROMETHEUS_METRICS_PORT"),
    *_later("traces", _NO_TRACES, "OTEL_EXPORTER", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_ENDPOINT",
            "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_SERVICE_NAME",
            "OTEL_TRACER_NAME", "OTEL_ENVIRONMENT_NAME"),
)  # fmt: skip
