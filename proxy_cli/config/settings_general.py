"""The declaration of `general_settings`: the server itself, and who may use it."""

from typing import Annotated

from proxy_cli.config.fields import (
    Amount,
    Anything,
    Bind,
    Choice,
    Count,
    DatabaseUrl,
    Duration,
    Flag,
    JsonMap,
    Key,
    Name,
    NameOrNames,
    Names,
    Networks,
    Pause,
    Seconds,
    Status,
    Tally,
    Text,
)
from proxy_cli.config.reading import PlainValidator, WithJsonSchema
from proxy_cli.config.settings_jwt import JwtAuth
from proxy_cli.config.state import Section, ignored, later, used

_NO_KEYS = "keys know no such thing yet"
_NO_CHECKS = "servers are looked at in the background, all at once, and what they say counts until they say otherwise"
_NO_ALERTS = "no alerts are sent yet"
_NOT_HERE = "this server has no such part"

Compat = Annotated[str, PlainValidator(Choice(("openai", "litellm"))), WithJsonSchema({"enum": ["openai", "litellm"]})]
Unpriced = Annotated[str, PlainValidator(Choice(("allow", "deny"))), WithJsonSchema({"enum": ["allow", "deny"]})]
AbortPolicy = Annotated[str, PlainValidator(Choice(("cancel", "drain"))), WithJsonSchema({"enum": ["cancel", "drain"]})]

Durability = Annotated[
    str, PlainValidator(Choice(("process", "power"))), WithJsonSchema({"enum": ["process", "power"]})
]
LedgerPace = Annotated[str, PlainValidator(Choice(("fast", "strict"))), WithJsonSchema({"enum": ["fast", "strict"]})]


class GeneralSettings(Section):
    """The server itself, and who may use it."""

    master_key: Key | None = used("The key callers need; without one, none is needed.")
    dangerously_permit_weak_or_unset_master_key: Flag = used("Serve with a key that is easily guessed.", default=False)
    completion_model: Name | None = used("The model of every chat and completion, whatever the caller asks for.")
    embedding_model: Name | None = used("The model of every embedding.")
    image_generation_model: Name | None = used("The model of every image.")
    moderation_model: Name | None = used("The model of every moderation.")
    max_request_size_mb: Amount | None = used("Largest request, in MB (32, and 512 for a form with files).")
    max_response_size_mb: Amount | None = used("Largest answer that is no stream, in MB (64).")
    forward_client_headers_to_llm_api: Flag = used("Send the caller's `x-` headers on.", default=False)
    forward_openai_org_id: Flag = used("Send the caller's OpenAI organization on.", default=False)
    unpriced: Unpriced | None = used(
        "What becomes of calls for models whose price is not known: `allow` answers them, though no budget counts them "
        "(the default), `deny` refuses them."
    )
    drain_wait_seconds: Pause | None = used(
        "At SIGTERM, how long readiness says no while clients are still accepted (5 where somebody goes by it)."
    )
    drain_timeout_seconds: Seconds = used("At the end, how long requests under way may take (60).", default=60.0)
    drain_stream_timeout_seconds: Seconds = used("At the end, how long streams may take (600).", default=600.0)
    max_connections_per_backend: Count | None = used(
        "Most connections of a worker to one backend (no limit); a call that gets none within a second is answered 503."
    )
    limits_capacity: Count = used(
        "Keys, users, teams and other scopes with limits that can be in use within ten minutes; more are answered 503.",
        default=16384,
    )
    litellm_key_header_name: Name | None = used("One more header that a caller's key may stand in.")
    always_include_stream_usage: Flag = used("Put usage into every stream.", default=False)
    cancel_on_disconnect: Flag | None = used(
        "End the backend's call when the caller has left.", note="`abort_policy` says what becomes of it"
    )
    abort_policy: AbortPolicy = used(
        "When a caller leaves a stream: `cancel` the backend's work at once, or `drain` it for up to 30 s, so that "
        "what it used is known exactly.",
        default="cancel",
    )
    max_in_flight_requests_per_worker: Count | None = used(
        "Requests under way at once in each process (1000, and 10,000 streams that have begun); a number counts both."
    )
    max_queued_requests_per_worker: Tally | None = used("Requests that may wait for a place in each process (100).")
    admission_queue_timeout_seconds: Seconds | None = used("How long one waits for a place, then 503 (1 second).")
    stream_keepalive_seconds: Pause = used(
        "How often a silent stream gets a comment, so that nobody on the way takes it for dead; 0 is never.",
        default=15.0,
    )
    early_commit_seconds: Pause = used(
        "After how long a stream without a first event begins nevertheless: what fails then is an event in it, and no "
        "status any more; 0 is never.",
        default=30.0,
    )
    queue: Flag = used(
        "Whether a call that a deployment's limits leave no room for waits for its turn; `off`: it is answered 429.",
        default=True,
    )
    max_queued_requests_per_deployment: Tally = used(
        "How many calls may wait for one deployment, in each process.", default=1000
    )
    background_health_checks: Flag = used(
        "Look at servers of your own in the background, without asking a model anything.", default=True
    )
    health_check_interval: Seconds | None = used("How often a server that is well is looked at, in seconds (60).")
    enable_health_check_routing: Flag | None = used(
        "Leave out what is ill.", note="a server that is known to be down is always left out"
    )
    use_shared_health_check: Flag | None = ignored("Once for all processes.", "one process looks for all of them")
    reject_clientside_metadata_tags: Flag = used("Refuse requests that set tags.", default=False)
    dangerously_allow_mock_testing_request_params: Flag = used(
        "Callers may ask for failures: `mock_testing_fallbacks` and its like.", default=False
    )
    compat: Compat = used("`litellm`: errors and odd cases as LiteLLM has them.", default="openai")
    cors_allowed_origins: NameOrNames = used("Origins whose pages may call; `*` is any.", default=("*",))
    allow_empty: Flag = used("A variable that is set but empty counts as if its setting were absent.", default=False)
    include_call_id_in_error_body: Flag | None = ignored("The request's id in errors.", "it is the header x-request-id")
    expose_fallback_errors_to_caller: Flag | None = ignored("More of errors.", "an error says what its backend said")
    litellm_license: Key | None = ignored("LiteLLM's licence key.", "there is nothing to unlock")
    infer_model_from_keys: Flag | None = ignored("Models by the keys that are set.", "models are listed by name")
    enforce_prisma_migration_check: Flag | None = ignored("Database migrations.", _NOT_HERE)
    allow_user_auth: Flag | None = ignored("Deprecated.", "LiteLLM does not use it either")

    database_url: DatabaseUrl | None = used(
        "Where keys and spend are kept: `postgresql://...`, `sqlite:///path` or a path (a file in the user's folder "
        "for data, once there is a master key)."
    )
    require_db: Flag | None = used(
        "Whether serving must not begin without the database (it must not where `database_url` or `DATABASE_URL` "
        "names one)."
    )
    database_url_read_replica: DatabaseUrl | None = later(
        "A replica that is only read.", "all is read by way of `database_url`"
    )
    database_type: Text | None = ignored("Kind of database.", "the address says which kind it is")
    database_args: Anything = ignored("Fine points of DynamoDB.", "it is not among the databases that are used")
    database_connection_pool_limit: Count | None = used("Connections of each process to PostgreSQL (10).")
    database_connection_timeout: Seconds | None = used("Longest wait for a connection to the database (2 seconds).")
    database_socket_timeout: Seconds | None = later(
        "Longest wait for the database, in seconds.", "write `socket_timeout` into the address"
    )
    disable_prisma_schema_update: Flag | None = used(
        "Leave the tables alone at a start, which then fails where they are of an older version: "
        "`llmproxy db upgrade` brings them up."
    )
    allow_requests_on_db_unavailable: Flag | None = ignored(
        "Answer without the database.", "who is known goes on while the database is away, nobody else is let in"
    )
    store_model_in_db: Flag | None = used("Keep models that are added with `POST /model/new` in the database.")
    supported_db_objects: Names = later("What is read from the database.", "all that is there is read", default=())
    disable_spend_logs: Flag | None = used("Count what is spent, and keep no row of each request.")
    disable_spend_updates: Flag | None = ignored(
        "Keep no spend.", "budgets stand on them; `disable_spend_logs` keeps no rows"
    )
    disable_error_logs: Flag | None = ignored("Keep no errors.", "failed calls are rows of the ledger like others")
    disable_reset_budget: Flag | None = ignored(
        "Never start budgets anew.", "a budget without `budget_duration` never begins anew"
    )
    store_prompts_in_spend_logs: Flag | None = used(
        "Keep the prompt and the answer with the row of a request, the first 64 KiB of each; else no text is kept."
    )
    ledger: LedgerPace = used(
        "`strict`: what a request cost is written down before the last bytes of its answer leave; `fast`: of a stream "
        "right after.",
        default="fast",
    )
    ledger_durability: Durability = used(
        "`process`: what is spent outlives the end of any process; `power`: a power cut, too, and every request waits "
        "for the disk twice.",
        default="process",
    )
    disable_adding_master_key_hash_to_db: Flag | None = ignored(
        "Keep no hash of the master key.", "the master key is never in the database"
    )
    proxy_batch_write_at: Seconds | None = ignored("How often spend is written, in seconds.", "it is written at once")
    proxy_batch_polling_interval: Seconds | None = later("How often batches are asked for, in seconds.")
    proxy_budget_rescheduler_min_time: Seconds | None = ignored(
        "How often budgets are looked at.", "budgets begin anew on the second"
    )
    proxy_budget_rescheduler_max_time: Seconds | None = ignored(
        "How often budgets are looked at.", "budgets begin anew on the second"
    )
    proxy_config_reload_interval_seconds: Seconds | None = ignored(
        "How often the database is read.", "changes in it are seen within a second"
    )
    maximum_spend_logs_retention_period: Duration | None = used(
        "How long the row of a request is kept, as `90d` (for ever); sums stay."
    )
    maximum_spend_logs_rows: Count | None = used("How many rows of requests are kept, the newest (all); sums stay.")
    maximum_spend_logs_retention_interval: Duration | None = used("How often older rows are removed (`1d`).")
    maximum_spend_logs_cleanup_cron: Text | None = later(
        "When old spend is removed.", "use `maximum_spend_logs_retention_interval`"
    )
    use_redis_transaction_buffer: Flag | None = ignored(
        "Write spend by way of Redis.", "rows wait in a journal on the disk"
    )
    coordination_redis: Anything = later("Redis for several instances.", "instances share the database only")
    spend_report_frequency: Text | None = later("How often spend is reported.", "no reports are sent yet")

    max_parallel_requests: Count | None = later(
        "Calls at a time to one deployment.", "use `router_settings.default_max_parallel_requests`"
    )
    global_max_parallel_requests: Count | None = later("Calls at a time.", "use --limit_concurrency")
    fail_closed_rate_limit_enforcement: Flag | None = ignored(
        "Refuse when limits cannot be read.", "limits stand in the server's own memory"
    )
    token_rate_limit_type: Text | None = later("Which tokens count.", "all tokens count")
    disable_retry_on_max_parallel_request_limit_error: Flag | None = later(
        "Refuse at once.", "`queue: off` refuses what a deployment's limits leave no room for"
    )

    alerting: NameOrNames = later("Where alerts go.", _NO_ALERTS, default=())
    alert_types: Names = later("Which alerts there are.", _NO_ALERTS, default=())
    alerting_threshold: Seconds | None = later("When a call counts as slow, in seconds.", _NO_ALERTS)
    alert_to_webhook_url: Anything = later("Where each alert goes.", _NO_ALERTS)
    alerting_args: JsonMap = later("Fine points of alerts.", _NO_ALERTS, default={})
    health_check_concurrency: Count | None = later("How many at a time.", _NO_CHECKS)
    health_check_details: Flag | None = later("Show details.", _NO_CHECKS, always=True)
    health_check_staleness_threshold: Seconds | None = later("How long a check counts.", _NO_CHECKS)

    custom_auth: Text | None = later("A Python function that knows keys.", "use `master_key`")
    custom_auth_run_common_checks: Flag | None = later("Further checks after it.")
    custom_auth_settings: Anything = later("Fine points of it.")
    custom_key_generate: Text | None = later("A Python function that makes keys.", _NO_KEYS)
    custom_key_update: Text | None = later("A Python function that changes keys.", _NO_KEYS)
    custom_sso: Text | None = later("A Python function that signs in.", _NO_KEYS)
    custom_ui_sso_sign_in_handler: Text | None = later("A Python function that signs in.", _NO_KEYS)
    enable_jwt_auth: Flag | None = used(
        "Accept tokens (JWT) signed with a key of `JWT_PUBLIC_KEY_URL`, beside keys; "
        "needs `pip install 'llmproxy[jwt]'`."
    )
    litellm_jwtauth: JwtAuth = used("Which claims of a token count.", default=JwtAuth())
    enable_oauth2_auth: Flag | None = later("Sign in with OAuth2.", "use `master_key`")
    enable_oauth2_proxy_auth: Flag | None = later("Sign in by a proxy in front.", "use `master_key`")
    oauth2_config_mappings: JsonMap = later("Fine points of OAuth2.", default={})
    service_account_settings: Anything = later("Settings of service accounts.", _NO_KEYS)
    allowed_ips: Networks = used("Addresses and networks that may call; none: all may.", default=())
    use_x_forwarded_for: Flag | None = used(
        "Callers' addresses as `trusted_proxy_ranges` in front tell them in X-Forwarded-For."
    )
    trusted_proxy_ranges: Networks = used("Proxies in front that are believed about callers' addresses.", default=())
    allowed_routes: Names = used(
        "Paths that may be called, none other: whole, with `*` at the end, or groups as `llm_api_routes`.", default=()
    )
    admin_only_routes: Names = used("Paths for a `proxy_admin` only.", default=())
    public_routes: Names = used("Paths that need no key.", default=())
    admin_bind: Bind | None = used(
        "An address of its own for all that is no matter of models, which is then answered nowhere else: "
        "`127.0.0.1:4001` or `unix:PATH`."
    )
    enforced_params: Names = later("Fields every request needs.", default=())
    role_permissions: Anything = later("What roles may do.", _NO_KEYS)
    role_mappings: Anything = later("Who has which role.", _NO_KEYS)
    enforce_user_param: Flag | None = later("Every request needs `user`.")
    allow_client_side_credentials: Flag | None = later("Callers may bring keys for backends.")
    use_client_credentials_pass_through_routes: Flag | None = later("The same on pass-through routes.")
    forward_llm_provider_auth_headers: Flag | None = later("Send callers' provider keys on.")
    user_api_key_cache_ttl: Seconds | None = used(
        "After how long a key that is known is looked up again, in seconds (60); changes are seen within one anyway."
    )
    user_api_key_cache_max_size: Count | None = used("How many keys each process remembers (10,000).")
    model_denied_status_code: Status | None = used(
        "Status of the answer to a key that may not ask for a model (403; LiteLLM had 401)."
    )
    user_header_mappings: Anything = used(
        "Headers in which an end user may be named: a list of "
        "`{header_name: X-Shop-User, litellm_user_role: customer}`."
    )
    user_header_name: Name | None = used("One more header in which an end user may be named.")
    disable_master_key_return: Flag | None = used("Never show the master key.", note="it is never shown")
    default_team_disabled: Flag | None = later("Every key needs a team.", _NO_KEYS)
    apply_user_budget_to_team_keys: Flag | None = used("A user's budget holds for keys of his teams, too.")
    key_management_system: Text | None = later("A store of secrets.", "use variables: os.environ/NAME")
    key_management_settings: Anything = later("Fine points of it.")
    use_azure_key_vault: Flag | None = later("Secrets from Azure.", "use variables: os.environ/NAME")
    use_google_kms: Flag | None = later("Secrets from Google.", "use variables: os.environ/NAME")
    use_aws_secret_manager: Flag | None = later("Secrets from AWS.", "use variables: os.environ/NAME")
    pass_through_endpoints: Anything = later("Paths that are passed on as they are.")
    pass_through_request_timeout: Seconds | None = later("Time limit of those, in seconds.")
    disable_responses_id_security: Flag | None = later("Share answers' ids among callers.")
    user_url_validation: Anything = later("Which addresses a request may name.")
    provider_url_destination_allowed_hosts: Names = used(
        "Hosts that a model added with `POST /model/new` may be at although they are metadata services.", default=()
    )
    ui_access_mode: Anything = later("Who may open the web page.")
    ui_theme_config: Anything = later("Look of the web page.")
    disable_admin_ui: Flag | None = later("No web page.", "there is none yet")
    password_policy_min_length: Count | None = later("Rules for passwords.", _NO_KEYS)
    password_policy_require_special_character: Flag | None = later("Rules for passwords.", _NO_KEYS)
    password_policy_require_number: Flag | None = later("Rules for passwords.", _NO_KEYS)
    password_policy_require_uppercase: Flag | None = later("Rules for passwords.", _NO_KEYS)
    password_policy_require_lowercase: Flag | None = later("Rules for passwords.", _NO_KEYS)
    user_mcp_management_mode: Text | None = later("Who sees MCP servers.")
    mcp_internal_ip_ranges: Names = later("Addresses of MCP servers.", default=())
    mcp_trusted_proxy_ranges: Names = later("Proxies in front of MCP servers.", default=())
    mcp_client_side_auth_header_name: Text | None = later("Header of MCP keys.")
    mcp_required_fields: Names = later("What an MCP server needs.", default=())
    disable_docs: Flag | None = used("No docs page.")
    otel: Flag | None = later("Traces by OpenTelemetry.")
    max_file_size_mb: Amount | None = later("Largest file, in MB.")
    store_prompts_in_cold_storage: Flag | None = later(
        "Keep prompts elsewhere.", "they are kept in the database or not at all"
    )
    cold_storage_custom_logger: Text | None = later(
        "Keep prompts elsewhere.", "they are kept in the database or not at all"
    )
    guardrail_settings: Anything = later("Guardrails.")

    @property
    def beats_are_chosen(self) -> bool:
        """Whether `stream_keepalive_seconds` was written, and not only its default is known."""
        return "stream_keepalive_seconds" in self.model_fields_set
