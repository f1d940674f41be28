"""Every table of ours, once: what is queried has a column, all else that an operator sets stands in `fields`.

Names begin with `llmproxy_`, so that a database which another program uses is safe. Moments are whole microseconds
since 1970 (UTC), money is whole nano-dollars, `fields` and lists are JSON under LiteLLM's field names. An empty text
stands for "none" in columns that are part of a key, for NULL is equal to nothing.
"""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

PREFIX: Final = "llmproxy_"
METADATA: Final = MetaData()
_BIG: Final = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up only what is called INTEGER


def _text(name: str, *, primary_key: bool = False) -> Column[str]:
    return Column(name, String, primary_key=primary_key, nullable=False, default="")


def _moment(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, default=0)


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, default=0)


def _fields() -> Column[object]:
    return Column("fields", JSON, nullable=False, default=dict)


def _made() -> tuple[Column[int], Column[str], Column[int], Column[str]]:
    return _moment("created_at"), _text("created_by"), _moment("updated_at"), _text("updated_by")


KEYS: Final = Table(
    PREFIX + "key",
    METADATA,
    Column("digest", String(64), primary_key=True),  # SHA-256 of the key, hex
    _text("hint"),  # sk-...7890, LiteLLM's key_name
    Column("alias", String, unique=True),  # NULL where it has none
    _text("user_id"),
    _text("team_id"),
    _text("organization_id"),
    _text("budget_id"),
    Column("blocked", Boolean, nullable=False, default=False),
    Column("expires_at", BigInteger),
    Column("replaced_by", String),  # the digest of the key it was regenerated as; it works until expires_at
    _fields(),
    *_made(),
    Index("llmproxy_key_user", "user_id"),
    Index("llmproxy_key_team", "team_id"),
)
USERS: Final = Table(
    PREFIX + "user",
    METADATA,
    Column("user_id", String, primary_key=True),
    Column("email", String, unique=True),  # in lower case
    _text("alias"),
    _text("role"),
    _text("organization_id"),
    _text("budget_id"),
    Column("sso_user_id", String, unique=True),
    _fields(),
    *_made(),
)
TEAMS: Final = Table(
    PREFIX + "team",
    METADATA,
    Column("team_id", String, primary_key=True),
    _text("alias"),
    _text("organization_id"),
    _text("budget_id"),
    Column("blocked", Boolean, nullable=False, default=False),
    _fields(),
    *_made(),
)
MEMBERS: Final = Table(
    PREFIX + "team_member",
    METADATA,
    Column("team_id", String, primary_key=True),
    Column("user_id", String, primary_key=True),
    _text("role"),  # admin or user
    _text("email"),
    _text("budget_id"),
    _fields(),  # max_budget_in_team, tpm_limit, rpm_limit, budget_duration, allowed_models
    *_made(),
    Index("llmproxy_team_member_user", "user_id"),
)
ORGANIZATIONS: Final = Table(
    PREFIX + "organization",
    METADATA,
    Column("organization_id", String, primary_key=True),
    _text("alias"),
    _text("budget_id"),
    _fields(),
    *_made(),
)
ORGANIZATION_MEMBERS: Final = Table(
    PREFIX + "organization_member",
    METADATA,
    Column("organization_id", String, primary_key=True),
    Column("user_id", String, primary_key=True),
    _text("role"),  # org_admin, internal_user, ...
    _text("budget_id"),
    _fields(),
    *_made(),
    Index("llmproxy_organization_member_user", "user_id"),
)
END_USERS: Final = Table(
    PREFIX + "end_user",
    METADATA,
    Column("user_id", String, primary_key=True),
    _text("alias"),
    _text("budget_id"),
    Column("blocked", Boolean, nullable=False, default=False),
    _fields(),  # allowed_model_region, default_model, models, max_budget, ...
    *_made(),
)
BUDGETS: Final = Table(PREFIX + "budget", METADATA, Column("budget_id", String, primary_key=True), _fields(), *_made())
TAGS: Final = Table(
    PREFIX + "tag", METADATA, Column("name", String, primary_key=True), _text("budget_id"), _fields(), *_made()
)
MODELS: Final = Table(
    PREFIX + "model",
    METADATA,
    Column("model_id", String, primary_key=True),
    _text("model_name"),
    Column("params", JSON, nullable=False, default=dict),  # litellm_params; secrets in it are sealed
    Column("info", JSON, nullable=False, default=dict),
    Column("blocked", Boolean, nullable=False, default=False),
    *_made(),
)
SETTINGS: Final = Table(
    PREFIX + "setting", METADATA, Column("name", String, primary_key=True), Column("value", JSON, nullable=False)
)
CHANGES: Final = Table(  # what other processes must forget, in order
    PREFIX + "change",
    METADATA,
    Column("number", _BIG, primary_key=True, autoincrement=True),
    _text("kind"),  # key, user, team, ...: a table's name without the prefix
    _text("id"),
    _moment("at"),
)
SPEND: Final = Table(  # sums of the ledger, by window and by who has put them in
    PREFIX + "spend",
    METADATA,
    Column("kind", String, primary_key=True),
    Column("id", String, primary_key=True),
    Column("window", BigInteger, primary_key=True, autoincrement=False),  # its beginning in unix seconds; 0: no period
    Column("node", String, primary_key=True),  # the server that counted; `adjustment` for what an admin has set
    _count("nano"),
)
NODES: Final = Table(PREFIX + "node", METADATA, Column("node", String, primary_key=True), _moment("seen_at"))
JOURNALS: Final = Table(  # how far each journal has been taken into the ledger
    PREFIX + "journal",
    METADATA,
    Column("name", String, primary_key=True),
    _count("segment"),
    _count("position"),
)
LEDGER: Final = Table(
    PREFIX + "ledger",
    METADATA,
    Column("request_id", String, primary_key=True),  # ours
    _text("state"),  # settled, failed, aborted, unknown
    _text("call_type"),
    _text("call_id"),  # the caller's x-litellm-call-id
    _text("answer_id"),  # the provider's
    _text("key"),
    _text("key_alias"),
    _text("user_id"),
    _text("team_id"),
    _text("organization_id"),
    _text("end_user"),
    _text("model"),  # asked for
    _text("model_group"),
    _text("model_id"),
    _text("backend_model"),
    _text("provider"),
    _text("api_base"),
    _moment("started_at"),
    _moment("first_byte_at"),
    _moment("ended_at"),
    _count("queued_us"),
    _count("waited_us"),
    Column("attempts", Integer, nullable=False, default=0),
    Column("status", Integer, nullable=False, default=0),
    _text("error_code"),
    _text("error"),
    Column("stream", Boolean, nullable=False, default=False),
    _count("prompt_tokens"),
    _count("completion_tokens"),
    _count("cached_tokens"),
    _count("cache_creation_tokens"),
    _count("reasoning_tokens"),
    _text("usage_source"),  # provider, partial, estimate, reserved, none
    _count("cost_nano"),
    _count("reserved_nano"),
    Column("tags", JSON, nullable=False, default=list),
    _text("session_id"),
    _text("client"),
    Column("metadata", JSON, nullable=False, default=dict),
    Column("messages", Text),  # only where they are to be stored
    Column("response", Text),
    CheckConstraint("cost_nano >= 0 AND prompt_tokens >= 0 AND completion_tokens >= 0", name="llmproxy_ledger_sound"),
    Index("llmproxy_ledger_started", "started_at"),
    Index("llmproxy_ledger_key", "key", "started_at"),
    Index("llmproxy_ledger_call", "call_id"),
    Index("llmproxy_ledger_answer", "answer_id"),
)
DAILY: Final = Table(  # sums of the ledger by day, so that no page has to read it
    PREFIX + "daily",
    METADATA,
    Column("day", String(10), primary_key=True),  # 2026-01-31, UTC
    Column("key", String, primary_key=True),
    Column("user_id", String, primary_key=True),
    Column("team_id", String, primary_key=True),
    Column("organization_id", String, primary_key=True),
    Column("end_user", String, primary_key=True),
    Column("model", String, primary_key=True),  # the backend's
    Column("model_group", String, primary_key=True),
    Column("provider", String, primary_key=True),
    _count("requests"),
    _count("failed"),
    _count("prompt_tokens"),
    _count("completion_tokens"),
    _count("cached_tokens"),
    _count("cache_creation_tokens"),
    _count("nano"),
)
DAILY_TAGS: Final = Table(
    PREFIX + "daily_tag",
    METADATA,
    Column("day", String(10), primary_key=True),
    Column("tag", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("model", String, primary_key=True),
    _count("requests"),
    _count("failed"),
    _count("prompt_tokens"),
    _count("completion_tokens"),
    _count("nano"),
)
