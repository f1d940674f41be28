"""Which providers there are: OpenAI-compatible services as rows of data, and those that are known but not built.

It owns names, addresses and the variables that hold keys; nothing here is behaviour. A new compatible service is one
row. Sources are the services' own documentation of their OpenAI-compatible endpoint.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Compatible:
    """A service that speaks OpenAI's dialect below a base URL."""

    name: str
    base_url: str = ""  # empty: there is no such thing as its one address
    key_env: tuple[str, ...] = ()  # the first that is set holds the key
    base_env: tuple[str, ...] = ()  # the first that is set replaces base_url
    key_optional: bool = False
    drops: frozenset[str] = frozenset()  # fields of a chat that it is known not to take
    renames: tuple[tuple[str, str], ...] = ()  # fields that it calls by another name
    version_env: tuple[str, ...] = ()
    organization_env: tuple[str, ...] = ()

    @property
    def needs_base(self) -> bool:
        """Whether a deployment must say where it is."""
        return not self.base_url


def _row(name: str, base_url: str, *key_env: str, drops: str = "", **renames: str) -> Compatible:
    """A hosted service: `<NAME>_API_BASE` may replace its address, as for every other."""
    upper = name.upper().replace("-", "_")
    return Compatible(
        name,
        base_url,
        key_env=key_env or (f"{upper}_API_KEY",),
        base_env=(f"{upper}_API_BASE",),
        drops=frozenset(drops.split()),
        renames=tuple(renames.items()),
    )


def _own(name: str, base_url: str = "") -> Compatible:
    """A server of one's own: it may do without a key."""
    upper = name.upper()
    return Compatible(name, base_url, key_env=(f"{upper}_API_KEY",), base_env=(f"{upper}_API_BASE",), key_optional=True)


_OPENAI: Final = Compatible(
    "openai",
    "https://api.openai.com/v1",
    key_env=("OPENAI_API_KEY",),
    base_env=("OPENAI_BASE_URL", "OPENAI_API_BASE"),
    organization_env=("OPENAI_ORGANIZATION", "OPENAI_ORG_ID"),
)

AZURE: Final = Compatible(
    "azure",
    key_env=("AZURE_API_KEY", "AZURE_AD_TOKEN"),
    base_env=("AZURE_API_BASE",),
    version_env=("AZURE_API_VERSION",),
)

# Services of the older generation know the limit of an answer by its older name only.
_OLDER_LIMIT: Final = {"max_completion_tokens": "max_tokens"}

_ROWS: Final = (
    _OPENAI,
    AZURE,
    Compatible("text-completion-openai", _OPENAI.base_url, key_env=_OPENAI.key_env, base_env=_OPENAI.base_env),
    # No variable's key goes to an address that its owner did not think of.
    Compatible("custom_openai", key_optional=True),
    Compatible("openai_like", key_env=("OPENAI_LIKE_API_KEY",), base_env=("OPENAI_LIKE_API_BASE",), key_optional=True),
    # Servers of one's own
    _own("litellm_proxy"),
    _own("hosted_vllm"),
    _own("vllm"),
    _own("lm_studio"),
    _own("llamafile", "http://127.0.0.1:8080/v1"),
    _own("lemonade", "http://localhost:8000/api/v1"),
    _own("docker_model_runner", "http://localhost:22088/engines/llama.cpp"),
    _own("xinference", "http://127.0.0.1:9997/v1"),
    _own("langgraph", "http://localhost:2024"),
    _own("infinity"),
    # Hosted services
    _row("groq", "https://api.groq.com/openai/v1", drops="user"),
    _row(
        "mistral",
        "https://api.mistral.ai/v1",
        drops="presence_penalty frequency_penalty n user logit_bias logprobs top_logprobs",
        seed="random_seed",
        **_OLDER_LIMIT,
    ),
    _row("codestral", "https://codestral.mistral.ai/v1", drops="n user", seed="random_seed", **_OLDER_LIMIT),
    _row("deepseek", "https://api.deepseek.com/beta", drops="user", **_OLDER_LIMIT),
    _row("xai", "https://api.x.ai/v1"),
    _row("together_ai", "https://api.together.ai/v1", "TOGETHER_API_KEY", "TOGETHER_AI_API_KEY", "TOGETHERAI_API_KEY"),
    _row("fireworks_ai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
    _row("openrouter", "https://openrouter.ai/api/v1"),
    _row("perplexity", "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
    _row("deepinfra", "https://api.deepinfra.com/v1/openai"),
    _row("cerebras", "https://api.cerebras.ai/v1"),
    _row("sambanova", "https://api.sambanova.ai/v1"),
    _row("nvidia_nim", "https://integrate.api.nvidia.com/v1"),
    _row("baseten", "https://inference.baseten.co/v1"),
    _row("friendliai", "https://api.friendli.ai/serverless/v1", "FRIENDLI_TOKEN"),
    _row("featherless_ai", "https://api.featherless.ai/v1", "FEATHERLESS_API_KEY"),
    _row("hyperbolic", "https://api.hyperbolic.xyz/v1"),
    _row("lambda_ai", "https://api.lambda.ai/v1", "LAMBDA_API_KEY"),
    _row("nebius", "https://api.studio.nebius.ai/v1"),
    _row("nscale", "https://inference.api.nscale.com/v1"),
    _row("novita", "https://api.novita.ai/v3/openai"),
    _row("galadriel", "https://api.galadriel.com/v1"),
    _row("github", "https://models.inference.ai.azure.com"),
    _row("meta_llama", "https://api.llama.com/compat/v1", "LLAMA_API_KEY"),
    _row("meta", "https://api.meta.ai/v1"),
    _row("moonshot", "https://api.moonshot.ai/v1"),
    _row("dashscope", "https://dashscope.aliyuncs.com/compatible-mode/v1"),
    _row("qwencloud", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
    _row("modelscope", "https://api-inference.modelscope.cn/v1"),
    _row("zai", "https://api.z.ai/api/paas/v4"),
    _row("volcengine", "https://ark.cn-beijing.volces.com/api/v3"),
    _row("tencent", "https://tokenhub-intl.tencentcloudmaas.com/v1"),
    _row("xiaomi_mimo", "https://api.xiaomimimo.com/v1", **_OLDER_LIMIT),
    _row("ai21", "https://api.ai21.com/studio/v1"),
    _row("ai21_chat", "https://api.ai21.com/studio/v1", "AI21_API_KEY"),
    _row("vercel_ai_gateway", "https://ai-gateway.vercel.sh/v1", "VERCEL_AI_GATEWAY_API_KEY", "VERCEL_OIDC_TOKEN"),
    _row("v0", "https://api.v0.dev/v1"),
    _row("morph", "https://api.morphllm.com/v1"),
    _row("inception", "https://api.inceptionlabs.ai/v1"),
    _row("publicai", "https://api.publicai.co/v1", **_OLDER_LIMIT),
    _row("aiml", "https://api.aimlapi.com/v1"),
    _row("wandb", "https://api.inference.wandb.ai/v1"),
    _row("edenai", "https://api.edenai.run/v3"),
    _row("scaleway", "https://api.scaleway.ai/v1", "SCW_SECRET_KEY"),
    _row("empower", "https://app.empower.dev/api/v1"),
    _row("clarifai", "https://api.clarifai.com/v2/ext/openai/v1"),
    _row("gradient_ai", "https://inference.do-ai.run"),
    _row("helicone", "https://ai-gateway.helicone.ai"),
    _row("reka", "https://api.reka.ai/v1"),
    _row("poe", "https://api.poe.com/v1", **_OLDER_LIMIT),
    _row("chutes", "https://llm.chutes.ai/v1", **_OLDER_LIMIT),
    _row("nano-gpt", "https://nano-gpt.com/api/v1", "NANOGPT_API_KEY", **_OLDER_LIMIT),
    _row("synthetic", "https://api.synthetic.new/openai/v1", **_OLDER_LIMIT),
    _row("veniceai", "https://api.venice.ai/api/v1", "VENICE_AI_API_KEY"),
    _row("aihubmix", "https://aihubmix.com/v1"),
    _row("crusoe", "https://managed-inference-api-proxy.crusoecloud.com/v1", **_OLDER_LIMIT),
    _row("gmi", "https://api.gmi-serving.com/v1", **_OLDER_LIMIT),
    _row("sarvam", "https://api.sarvam.ai/v1", **_OLDER_LIMIT),
    _row("assemblyai", "https://llm-gateway.assemblyai.com/v1"),
    _row("parasail", "https://api.parasail.io/v1"),
    _row("neosantara", "https://api.neosantara.xyz/v1"),
    _row("libertai", "https://api.libertai.io/v1"),
    _row("tensormesh", "https://serverless.tensormesh.ai/v1", "TENSORMESH_INFERENCE_API_KEY"),
    _row("cortecs", "https://api.cortecs.ai/v1"),
    _row("darkbloom", "https://api.darkbloom.dev/v1"),
    _row("scx-ai", "https://api.scx.ai/v1", "SCX_API_KEY"),
    _row("apertis", "https://api.stima.tech/v1", "STIMA_API_KEY", **_OLDER_LIMIT),
    _row("llamagate", "https://api.llamagate.dev/v1", **_OLDER_LIMIT),
    _row("abliteration", "https://api.abliteration.ai/v1"),
    _row("empiriolabs", "https://api.empiriolabs.ai/v1"),
    _row("charity_engine", "https://api.charityengine.services/remotejobs/v2/inference", **_OLDER_LIMIT),
    _row("jina_ai", "https://api.jina.ai/v1"),
    # Compatible, at an address that each customer is given
    _row("cognition", ""),
    _row("prism", ""),
    _row("sail", ""),
    _row("pinstripes", ""),
    _row("databricks", ""),
)

ROWS: Final[Mapping[str, Compatible]] = MappingProxyType({row.name: row for row in _ROWS})

_OWN_DIALECT: Final = ""  # no OpenAI-compatible endpoint that we know of

# Providers that are known and not built, each with the base URL of its OpenAI-compatible endpoint, where it has one.
NOT_BUILT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "anthropic": "https://api.anthropic.com/v1",
        "anthropic_text": _OWN_DIALECT,
        "gemini": "https://generativelanguage.googleapis.com/v1beta/openai",
        "vertex_ai": "https://<location>-aiplatform.googleapis.com/v1/projects/<project>/locations/<location>/endpoints/openapi",
        "vertex_ai_beta": _OWN_DIALECT,
        "bedrock": "https://bedrock-runtime.<region>.amazonaws.com/openai/v1",
        "sagemaker": _OWN_DIALECT,
        "sagemaker_chat": _OWN_DIALECT,
        "cohere": "https://api.cohere.ai/compatibility/v1",
        "cohere_chat": "https://api.cohere.ai/compatibility/v1",
        "ollama": "http://<host>:11434/v1",
        "ollama_chat": "http://<host>:11434/v1",
        "huggingface": "https://router.huggingface.co/v1",
        "voyage": "https://api.voyageai.com/v1",
        "replicate": _OWN_DIALECT,
        "watsonx": _OWN_DIALECT,
        "cloudflare": "https://api.cloudflare.com/client/v4/accounts/<account>/ai/v1",
        "snowflake": _OWN_DIALECT,
        "oci": _OWN_DIALECT,
        "sap": _OWN_DIALECT,
        "predibase": _OWN_DIALECT,
        "nlp_cloud": _OWN_DIALECT,
        "petals": _OWN_DIALECT,
        "oobabooga": "http://<host>:5000/v1",
        "triton": _OWN_DIALECT,
        "maritalk": "https://chat.maritaca.ai/api",
        "datarobot": _OWN_DIALECT,
        "heroku": "https://us.inference.heroku.com/v1",
        "deepgram": _OWN_DIALECT,
        "elevenlabs": _OWN_DIALECT,
        "aws_polly": _OWN_DIALECT,
        "soniox": _OWN_DIALECT,
        "azure_speech": _OWN_DIALECT,
        "black_forest_labs": _OWN_DIALECT,
        "stability": _OWN_DIALECT,
        "recraft": "https://external.api.recraft.ai/v1",
        "fal_ai": _OWN_DIALECT,
        "runwayml": _OWN_DIALECT,
        "topaz": _OWN_DIALECT,
        "azure_ai": "https://<resource>.services.ai.azure.com/openai/v1",
        "azure_text": _OWN_DIALECT,
        "gigachat": _OWN_DIALECT,
        "github_copilot": _OWN_DIALECT,
        "chatgpt": _OWN_DIALECT,
        "auto_router": _OWN_DIALECT,
    }
)


def find(prefix: str) -> Compatible | None:
    """The row of a provider that is built, by its prefix; also Azure's, which has its own file for the paths."""
    return ROWS.get(prefix)


def is_known(prefix: str) -> bool:
    """Whether a name is a provider's, built or not."""
    return prefix in ROWS or prefix in NOT_BUILT
