"""Training data as files: Megatron's token files, and JSON lines for SFT and DPO. NumPy and the standard library."""

from adapter_conform.certification.datafiles.errors import DataError
from adapter_conform.certification.datafiles.jsonlines import (
    Instruction,
    Preference,
    read_instructions,
    read_preferences,
    write_instructions,
    write_preferences,
)
from adapter_conform.certification.datafiles.megatron import TokenFile, write_tokens

__all__ = [
    "DataError",
    "Instruction",
    "Preference",
    "TokenFile",
    "read_instructions",
    "read_preferences",
    "write_instructions",
    "write_preferences",
    "write_tokens",
]
