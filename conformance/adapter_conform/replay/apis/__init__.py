"""The table of the Paddle APIs that replay knows, a file a family."""

from adapter_conform.replay.apis.table import Api, Arguments, Refusal, find

__all__ = ["Api", "Arguments", "Refusal", "find"]
