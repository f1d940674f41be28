"""llmproxy: one OpenAI-compatible address for every model a team runs or rents."""

__version__ = "0.1.0"
