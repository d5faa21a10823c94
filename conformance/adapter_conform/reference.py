"""The third gate: the device's error in units of the error that a reference device made on the same inputs.

A pack holds, for each call that the reference device made, three figures of its error against the same float64 oracle:
greatest and mean relative error, and root mean square error. Ratio = device / max(reference, floor), with the limits
and floors of Ascend's msprobe ("dual benchmark"): 10, 2, 2; attention, scatter and embedding 5, 1.5, 1.5; products,
sums and norms 2, 1.2, 1.2; floor 2^-11 for float16, 2^-8 for bfloat16, 2^-14 for float32. Calls are found by a digest
of operator, dtype, attributes and the very bytes of the inputs. Without a pack, or without the call in it, the record
says so and the other gates stand alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adapter_conform.cases import GateFigure
from adapter_conform.catalogue.bounds import Array
from adapter_conform.catalogue.gates import Expected
from adapter_conform.catalogue.spec import Attributes, Kind
from adapter_conform.errors import ConformError

__all__ = ["PACK_VARIABLE", "ErrorFigures", "OperatorPack", "error_figures", "named_pack", "ratio_figures"]

PACK_VARIABLE = "ADAPTER_CONFORM_REFERENCE"
"""Environment variable with the path of an operator pack, or of a reference pack that holds one."""

FLOORS = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-14}
DEFAULT = (10.0, 2.0, 2.0)
LIMITS = {
    Kind.ATTENTION: (5.0, 1.5, 1.5),
    Kind.GEMM: (2.0, 1.2, 1.2),
    Kind.REDUCTION: (2.0, 1.2, 1.2),
    Kind.NORM: (2.0, 1.2, 1.2),
}


@dataclass(frozen=True)
class ErrorFigures:
    """Of one output, over the elements that are finite in the oracle; relative errors where that is not zero."""

    max_relative: float
    mean_relative: float
    rms: float


def error_figures(expected: Expected, actual: Array) -> ErrorFigures:
    """Raises ValueError where the shapes differ."""
    value = expected.value.astype(np.float64)
    if actual.shape != value.shape:
        raise ValueError(f"shape {actual.shape}, expected {value.shape}")
    judged = np.isfinite(value)
    error = np.abs(actual.astype(np.float64) - value)[judged]
    size = np.abs(value[judged])
    relative = error[size > 0] / size[size > 0]
    return ErrorFigures(
        max_relative=float(np.max(relative, initial=0.0)),
        mean_relative=float(np.mean(relative)) if relative.size else 0.0,
        rms=float(np.sqrt(np.mean(error**2))) if error.size else 0.0,
    )


def ratio_figures(output: str, kind: Kind, dtype: str, own: ErrorFigures, reference: ErrorFigures) -> list[GateFigure]:
    """Three figures; none for dtypes without a floor (float64), which no reference device is faster in."""
    floor = FLOORS.get(dtype)
    if floor is None:
        return []
    figures = []
    for name, limit in zip(("max_relative", "mean_relative", "rms"), LIMITS.get(kind, DEFAULT), strict=True):
        mine, theirs = getattr(own, name), getattr(reference, name)
        ratio = mine / max(theirs, floor)
        note = f"{mine:.3g} on this device, {theirs:.3g} on the reference, floor {floor:.3g}"
        figures.append(GateFigure(f"ratio_{name}", output, ratio, limit, bool(ratio <= limit), note))
    return figures


@dataclass(frozen=True)
class OperatorPack:
    """``{"format": 1, "device": "...", "entries": {digest: {"out0": {"max_relative": ...}}}}`` in JSON."""

    device: str
    """Where the figures come from, as the pack says."""
    entries: Mapping[str, Mapping[str, ErrorFigures]]

    @staticmethod
    def digest(operator: str, dtype: str, attributes: Attributes, inputs: Sequence[Array]) -> str:
        """SHA-256 over operator, dtype, attributes, and shape and bytes of each input."""
        found = hashlib.sha256(json.dumps([operator, dtype, dict(attributes)], sort_keys=True).encode())
        for array in inputs:
            found.update(f"{array.dtype.name}{list(array.shape)}".encode())
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    @classmethod
    def read(cls, path: Path) -> OperatorPack:
        """``path`` is such a file, or the folder of a reference pack that holds one.

        Raises:
            ConformError: it is missing, or no such pack.
        """
        try:
            text = _of_reference_pack(path) if path.is_dir() else path.read_text("utf-8")
            data = json.loads(text)
            if data["format"] != 1:
                raise ValueError(f"format {data['format']}, known is 1")
            entries = {
                key: {name: ErrorFigures(**figures) for name, figures in outputs.items()}
                for key, outputs in data["entries"].items()
            }
            return cls(str(data["device"]), entries)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConformError(
                f"{PACK_VARIABLE}={path}: no operator pack: {type(error).__name__}: {error}\n"
                "Name a pack's JSON file, or unset the variable to judge without a reference."
            ) from error

    def write(self, path: Path) -> None:
        """Writes the pack as :meth:`read` wants it."""
        entries = {
            key: {name: asdict(figures) for name, figures in outputs.items()} for key, outputs in self.entries.items()
        }
        data: dict[str, Any] = {"format": 1, "device": self.device, "entries": entries}
        path.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n", "utf-8")


def _of_reference_pack(folder: Path) -> str:
    """Raises PackError: no pack, without operators, or not as it was recorded."""
    from adapter_conform.certification.packs.content import content
    from adapter_conform.certification.packs.errors import PackError
    from adapter_conform.certification.packs.manifest import OPERATORS_FILE, read_manifest

    manifest = read_manifest(folder)
    if OPERATORS_FILE not in manifest.files:
        raise PackError(f"{PACK_VARIABLE}={folder}: pack {manifest.name} has no errors of operators")
    return content(folder, manifest, OPERATORS_FILE).decode()


def named_pack() -> OperatorPack | None:
    """The pack that the environment names, if any. Raises ConformError, see :meth:`OperatorPack.read`."""
    path = os.environ.get(PACK_VARIABLE)
    return OperatorPack.read(Path(path)) if path else None
