"""The declaration of `model_list`: what a deployment is called, where it goes and what is sent along.

Keys of `litellm_params` that nobody declares are sent to the backend as default fields of the body, as LiteLLM does;
prices are collected by their name. `model_info` keeps whatever it holds.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Self

from proxy_cli.config.fields import (
    Anything,
    Base,
    Choice,
    Count,
    Flag,
    HeaderMap,
    HttpProxy,
    JsonMap,
    Key,
    Name,
    Names,
    Pause,
    Price,
    Seconds,
    Share,
    Tally,
    Text,
    Usd,
    Verify,
)
from proxy_cli.config.reading import PlainValidator, WithJsonSchema
from proxy_cli.config.request_fields import RequestFields
from proxy_cli.config.routing_values import AllowedFailsPolicy, Pattern, Percent, Retries
from proxy_cli.config.state import OTHERS, PRICES, KeysOf, Section, Unknown, group, ignored, later, used
from proxy_cli.secret import Secret
from proxy_cli.shapes import Json, Proxy

MODES: Final = (
    "chat", "completion", "embedding", "image_generation", "image_edit", "audio_transcription", "audio_speech",
    "rerank", "moderation", "responses", "realtime", "batch", "ocr", "search", "video_generation", "vector_store",
    "auto",
)  # fmt: skip
_CLOUD: Final = "it belongs to a provider that is not supported yet"
_LIMITS: Final = "`tpm` counts both together"
_NOT_PARALLEL: Final = "limits what is sent in a minute; how many calls may run at a time is not derived from it"

Mode = Annotated[str, PlainValidator(Choice(MODES)), WithJsonSchema({"enum": list(MODES)})]


class CloudCredentials(Section):
    """What the clouds with a sign-in of their own need."""

    aws_access_key_id: Key | None = later("AWS access key.", _CLOUD)
    aws_secret_access_key: Key | None = later("AWS secret key.", _CLOUD)
    aws_session_token: Key | None = later("AWS session token.", _CLOUD)
    aws_region_name: Text | None = later("AWS region.", _CLOUD)
    region_name: Text | None = used(
        "Where it is: a request with `allowed_model_region: eu` is sent to `eu` and `eu-...` only."
    )
    aws_role_name: Text | None = later("AWS role to take on.", _CLOUD)
    aws_session_name: Text | None = later("Name of the AWS session.", _CLOUD)
    aws_profile_name: Text | None = later("AWS profile.", _CLOUD)
    aws_web_identity_token: Key | None = later("AWS web identity token.", _CLOUD)
    aws_sts_endpoint: Text | None = later("AWS STS address.", _CLOUD)
    aws_bedrock_runtime_endpoint: Text | None = later("Bedrock runtime address.", _CLOUD)
    aws_external_id: Text | None = later("External id for the AWS role.", _CLOUD)
    vertex_project: Text | None = later("Google Cloud project.", _CLOUD)
    vertex_location: Text | None = later("Google Cloud location.", _CLOUD)
    vertex_credentials: Anything = later("Google Cloud credentials, a path or JSON.", _CLOUD)
    watsonx_region_name: Text | None = later("watsonx region.", _CLOUD)
    azure_ad_token: Key | None = later("Microsoft Entra token.", "use `api_key`")
    tenant_id: Text | None = later("Microsoft Entra tenant.", "use `api_key`")
    client_id: Text | None = later("Microsoft Entra client.", "use `api_key`")
    client_secret: Key | None = later("Microsoft Entra client secret.", "use `api_key`")
    azure_username: Text | None = later("Microsoft Entra user.", "use `api_key`")
    azure_password: Key | None = later("Microsoft Entra password.", "use `api_key`")
    azure_scope: Text | None = later("Microsoft Entra scope.", "use `api_key`")


class MirrorTo(Section):
    """Where copies of an entry's calls go."""

    model: Name = used("The name that the copies ask for.", default=...)
    percent: Percent = used("How many of a hundred calls are copied.", default=...)


class SharedParams(Section):
    """All of `litellm_params` but the model: also what `router_settings.default_litellm_params` may hold."""

    unknown: ClassVar[Unknown] = Unknown.SEND

    api_key: Key | None = used("The backend's key; `os.environ/NAME` takes it from a variable.")
    api_base: Base | None = used("The backend's base URL, up to and with `/v1`.")
    base_url: Base | None = used("Another name of `api_base`.")
    api_version: Text | None = used("The API version, for Azure.")
    organization: Text | None = used("OpenAI organization, sent as a header.")
    custom_llm_provider: Text | None = used("The provider, where the model's prefix does not say it.")
    litellm_credential_name: Text | None = used("An entry of `credential_list` that fills in what is not set here.")

    timeout: Seconds | None = used("Time limit of a whole plain call, in seconds.")
    stream_timeout: Seconds | None = used("Time limit up to the first event of a stream, in seconds.")
    weight: Share | None = used("Share of the traffic of this name.")
    rpm: Count | None = used("Requests a minute; also the weight where none has a `weight`.", note=_NOT_PARALLEL)
    tpm: Count | None = used("Tokens a minute; also the weight where none has another.", note=_NOT_PARALLEL)
    itpm: Count | None = later("Input tokens a minute.", _LIMITS)
    otpm: Count | None = later("Output tokens a minute.", _LIMITS)
    order: Tally | None = used("Lower ones are asked first; those without one last.")
    num_retries: Retries | None = used("Tries after the first.")
    max_retries: Retries | None = used("Another name of `num_retries`.")
    max_parallel_requests: Count | None = used("Calls at a time; further ones wait for their turn.")
    cooldown_time: Pause | None = used("How long it rests after failures, in seconds.")
    tags: Names = used("Tags that requests are routed by; `default` serves those that no other fits.", default=())
    tag_regex: tuple[Pattern, ...] = used(
        "Patterns that requests are routed by: they are looked for in `User-Agent: ...`.", default=()
    )
    keepalive_seconds: Pause | None = used("How often a silent stream gets a comment; 0 is never.")
    mirror: MirrorTo | None = used("Where copies of some calls go, whose answers nobody sees.")
    max_budget: Usd | None = later("Budget of this deployment, in USD.", "`--max_budget` limits the whole proxy")
    budget_duration: Text | None = later("How long that budget lasts.")

    drop_params: Flag | None = used("Leave out request fields that the target is known not to take.")
    additional_drop_params: Names = used("Request fields that are always left out.", default=())
    allowed_openai_params: Names = used("Request fields that are always sent.", default=())
    headers: HeaderMap = used("Headers sent to the backend.", default={})
    extra_headers: HeaderMap = used("Headers sent to the backend.", default={})
    extra_body: JsonMap = used("Fields added to the request's body.", default={})
    mock_response: Anything = used("An answer that needs no backend.")

    ssl_verify: Verify | None = used(
        "Check this backend's certificate: true, false, or the path of a file or folder of CA certificates."
    )
    ssl_certificate: Name | None = used("A client certificate for this backend: the path of a PEM file.")
    ssl_keyfile: Name | None = used("The key of `ssl_certificate`, where it has a file of its own.")
    http_proxy: HttpProxy | None = used(
        "The HTTP proxy on the way to this backend: `http://user:password@host:port`, or `none` for none."
    )

    configurable_clientside_auth_params: Anything = later("What a caller may set: api_base, api_key.")
    merge_reasoning_content_in_choices: Flag | None = later("Put the reasoning into the text.")
    use_in_pass_through: Flag | None = later("Use these credentials on pass-through routes.")
    use_chat_completions_api: Flag | None = later("Answer `/responses` by way of `/chat/completions`.")
    use_litellm_proxy: Flag | None = later("Send the call by way of another proxy.", "write `litellm_proxy/` before it")
    rust: Flag | None = ignored("LiteLLM's Rust path.", "there is one path here, and it is fast")
    base_model: Text | None = ignored("The name prices are looked up by.", "it belongs below `model_info`")
    mock_timeout: Flag | None = later("Pretend a timeout.")
    auto_router_config: Anything = later("Routing by meaning.")
    auto_router_config_path: Text | None = later("Routing by meaning.")
    auto_router_default_model: Text | None = later("Routing by meaning.")
    auto_router_embedding_model: Text | None = later("Routing by meaning.")
    complexity_router_config: Anything = later("Routing by difficulty.")
    complexity_router_default_model: Text | None = later("Routing by difficulty.")
    guardrails: Anything = later("Guardrails of this deployment.")
    prompt_id: Text | None = later("A stored prompt.")
    prompt_variables: Anything = later("Variables of a stored prompt.")
    litellm_trace_id: Text | None = ignored("A trace id for every call.", "every request has an id of its own")
    litellm_session_id: Text | None = later("A session for every call.")
    budget_id: Text | None = later("A stored budget.")
    vector_store_ids: Anything = later("Vector stores that are searched first.")
    cache: Anything = later("Caching of this deployment.")
    caching: Flag | None = later("Caching of this deployment.")

    request: Annotated[Mapping[str, Json], KeysOf(RequestFields)] = group("(request)", "Defaults of request fields.")
    cloud: Annotated[Mapping[str, Json], KeysOf(CloudCredentials)] = group("(cloud)", "What the clouds need.")
    rates: Mapping[str, Price] = group(PRICES, "Prices in USD, by the price list's names.")
    others: Mapping[str, Anything] = group(OTHERS, "Default fields of the request's body.")

    @property
    def base(self) -> str | None:
        """The base URL, by whichever name it was given; an empty text is not None."""
        return self.api_base if self.api_base is not None else self.base_url

    @property
    def retries(self) -> int | None:
        """Tries after the first, by whichever name they were given."""
        return self.max_retries if self.num_retries is None else self.num_retries

    @property
    def all_headers(self) -> Mapping[str, Secret]:
        """`headers` and `extra_headers` together; the latter win."""
        return {**self.headers, **self.extra_headers}

    def filled(self, below: Section) -> Self:
        """These parameters, with what they leave open taken from a credential or from the defaults for all."""
        result = super().filled(below)
        # What has two names is one's own under either of them.
        if self.num_retries is None and self.max_retries is not None:
            result = result.model_copy(update={"num_retries": self.max_retries})
        return result if self.base is None else result.model_copy(update={"api_base": self.base, "base_url": None})

    def body_defaults(self) -> dict[str, Json]:
        """The fields that a request's body gets where the caller did not set them."""
        return {**self.request, **self.others, **self.extra_body}

    def public(self) -> dict[str, Json]:
        """What may be shown: everything that is set, but for keys, headers, and passwords in addresses."""
        hidden = {"headers", "extra_headers", "request", "cloud", "rates", "others"}
        given = {name: getattr(self, name) for name in sorted(self.model_fields_set - hidden)}
        shown = {name: _written(value) for name, value in given.items() if not isinstance(value, Secret)}
        return {**shown, **self.request, **self.rates, **self.others}


def _written(value: Json | Proxy | MirrorTo) -> Json:
    """A setting as it may be written."""
    match value:
        case Proxy():
            return str(value)
        case MirrorTo():
            return {"model": value.model, "percent": value.percent}
    return value


class ModelParams(SharedParams):
    """What is called, and how."""

    model: Name = used("Provider and the backend's own name: `openai/llama3`.", default=...)


class ModelInfo(Section):
    """What is known of a deployment; shown by `/model/info`."""

    unknown: ClassVar[Unknown] = Unknown.KEEP

    id: Name | None = used("The deployment's id, by which it may be asked for; else made of its parameters.")
    mode: Mode | None = used("What it does: chat, embedding, ...; health checks ask for that.")
    base_model: Text | None = used("The name its prices and abilities are looked up by.")
    max_tokens: Count | None = used("Most tokens of an answer.")
    max_input_tokens: Count | None = used("Most tokens of a prompt.")
    max_output_tokens: Count | None = used("Most tokens of an answer.")
    access_groups: Names = used("Groups that keys are given access to.", default=())
    team_id: Text | None = later("The team this deployment belongs to.", "every caller may use it")
    team_public_model_name: Text | None = later("Its name within the team.")
    supported_environments: Names = later("Environments it is loaded in.", "it is always loaded", default=())
    disable_background_health_check: Flag | None = used("Do not look at its server in the background.")
    health_check_model: Text | None = used("The model that a wildcard's health check asks for.")
    health_check_timeout: Seconds | None = later("Time limit of its health check, in seconds.")
    health_check_params: Anything = later("Fields of its health check's request.")
    health_check_max_tokens: Count | None = later("`max_tokens` of its health check.")
    health_check_voice: Text | None = later("Voice of its health check.")
    allowed_fails: Tally | None = used("Failures a minute after which it rests.")
    allowed_fails_policy: AllowedFailsPolicy = used("The same by kind of failure.", default={})
    cooldown_time: Pause | None = used("How long it rests after failures, in seconds.")
    access_windows: Anything = later("Hours it may be used in.", "it may always be used")

    rates: Mapping[str, Price] = group(PRICES, "Prices in USD, by the price list's names.")
    others: Mapping[str, Anything] = group(OTHERS, "Anything else; `supports_*` say what the model can do.")

    def public(self) -> dict[str, Json]:
        """Everything that was written, flat again."""
        given = {name: getattr(self, name) for name in sorted(self.model_fields_set - {"rates", "others"})}
        return {**given, **self.rates, **self.others}


class ModelEntry(Section):
    """One deployment. Entries with the same `model_name` share that name's traffic."""

    model_name: Name = used("The name callers ask for; `*` stands for any text.", default=...)
    litellm_params: ModelParams = used("The model that is called, where, and with what.", default=...)
    model_info: ModelInfo = used("What is known of it.", default=ModelInfo())
    guardrails: Anything = later("Guardrails of this deployment.")
    tpm: Count | None = later("Tokens a minute.", "write it below `litellm_params`")
    rpm: Count | None = later("Requests a minute.", "write it below `litellm_params`")


class CredentialValues(Section):
    """What an entry of `credential_list` fills in."""

    unknown: ClassVar[Unknown] = Unknown.REFUSE

    api_key: Key | None = used("The backend's key.")
    api_base: Base | None = used("The backend's base URL.")
    base_url: Base | None = used("Another name of `api_base`.")
    api_version: Text | None = used("The API version, for Azure.")
    organization: Text | None = used("OpenAI organization.")
    custom_llm_provider: Text | None = used("The provider.")

    cloud: Annotated[Mapping[str, Json], KeysOf(CloudCredentials)] = group("(cloud)", "What the clouds need.")


class Credential(Section):
    """Credentials with a name, for entries that share them."""

    credential_name: Name = used("What `litellm_credential_name` refers to.", default=...)
    credential_values: CredentialValues = used("The credentials.", default=...)
    credential_info: JsonMap = used("A description, for people.", default={})
