"""The operator catalogue: a specification per operator, a file per family."""

from adapter_conform.catalogue.registry import UnknownOperatorError, all_specs, get
from adapter_conform.catalogue.spec import Kernel, Kind, OperatorSpec

__all__ = ["Kernel", "Kind", "OperatorSpec", "UnknownOperatorError", "all_specs", "get"]
