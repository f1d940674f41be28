"""The one declaration of the configuration file: every section, and from it the JSON Schema.

Everything that knows settings is made of this: loading, `llmproxy check`, editors' completion, the documentation.
A new setting is one field in one of the sections, and the room that reads it.
"""

from typing import Final

from proxy_cli.config.fields import Anything, Exported, JsonMap, NameOrNames
from proxy_cli.config.json_schema import schema_of
from proxy_cli.config.models import CloudCredentials, Credential, ModelEntry
from proxy_cli.config.price_names import PRICE_KEYS
from proxy_cli.config.request_fields import RequestFields
from proxy_cli.config.settings_general import GeneralSettings
from proxy_cli.config.settings_litellm import LiteLLMSettings
from proxy_cli.config.settings_router import RouterSettings
from proxy_cli.config.state import OTHERS, PRICES, Section, later, used
from proxy_cli.shapes import Json

_GROUPED: Final = (CloudCredentials, RequestFields)
_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"


class Config(Section):
    """A whole configuration, with nothing left to look up."""

    model_list: tuple[ModelEntry, ...] = used("The deployments.", default=())
    litellm_settings: LiteLLMSettings = used("Settings that hold for every call.", default=LiteLLMSettings())
    router_settings: RouterSettings = used("Which deployment is asked.", default=RouterSettings())
    general_settings: GeneralSettings = used("The server itself.", default=GeneralSettings())
    environment_variables: dict[str, Exported] = used("Variables, as if they were set outside.", default={})
    include: NameOrNames = used("Further files, relative to this one.", default=())
    credential_list: tuple[Credential, ...] = used("Credentials that entries share.", default=())

    guardrails: Anything = later("What may pass.")
    policies: Anything = later("Groups of guardrails.")
    policy_attachments: Anything = later("Whom they hold for.")
    callback_settings: JsonMap = later("Fine points of logging.", "there are no callbacks yet", default={})
    prompts: Anything = later("Stored prompts.")
    mcp_servers: JsonMap = later("MCP servers.", default={})
    mcp_tools: Anything = later("MCP tools.")
    agents: Anything = later("Agents.")
    agent_list: Anything = later("Agents.")
    vector_store_registry: Anything = later("Vector stores.")
    search_tools: Anything = later("Search providers.")
    sandbox_tools: Anything = later("Sandboxes.")
    files_settings: Anything = later("Credentials for files.")
    finetune_settings: Anything = later("Credentials for fine-tuning.")
    assistant_settings: Anything = later("Credentials for assistants.")
    default_vertex_config: Anything = later("Google Cloud credentials.")
    worker_registry: Anything = later("Several regions.")


def json_schema() -> dict[str, Json]:
    """The JSON Schema of the file, for editors and CI; `x-state` says what becomes of a setting."""
    schema = schema_of(Config)
    definitions: dict[str, Json] = schema.get("$defs", {})
    for section in (schema, *definitions.values()):
        if "properties" in section:
            _ungroup(section, definitions)
    for grouped in _GROUPED:
        definitions.pop(grouped.__name__, None)
    return {"$schema": _DRAFT, **schema, "title": "llmproxy configuration"}


def _ungroup(section: dict[str, Json], definitions: dict[str, Json]) -> None:
    """Groups are our own order: in the file their keys stand in the section itself."""
    properties: dict[str, Json] = {}
    for name, declared in section["properties"].items():
        declared.pop("title", None)
        if name == PRICES:
            section["patternProperties"] = {PRICE_KEYS: declared["additionalProperties"]}
        elif name.startswith("(") and name != OTHERS:
            properties |= definitions[declared["$ref"].rpartition("/")[2]]["properties"]
        elif name != OTHERS:
            properties[name] = declared
    section["additionalProperties"] = OTHERS in section["properties"]
    section["properties"] = dict(sorted(properties.items()))
