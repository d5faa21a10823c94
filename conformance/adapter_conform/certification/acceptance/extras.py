"""``extras.json`` of a bundle: what belongs to the verdict and to no single training run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from adapter_conform.certification.acceptance.soaking import Soak

__all__ = ["ATTACHMENTS", "Extras", "Peak", "Resume"]

FORMAT = 1

ATTACHMENTS = ("human-evaluation-tuning", "human-evaluation-inference")
"""What the standard leaves to people: files ``attachments/<name>.*`` of the bundle."""


@dataclass(frozen=True)
class Peak:
    """Arithmetic of one dtype on one card, 10^12 operations a second."""

    dtype: str
    declared_tflops: float
    measured_tflops: float


@dataclass(frozen=True)
class Resume:
    """A training that was ended and started again from a checkpoint."""

    recipe: str
    precision: str
    step: int
    """Steps done when it was ended; ``losses[step]`` is the first after the restart."""
    losses: list[float]
    """Of the whole training, those before the restart included."""


@dataclass(frozen=True)
class Extras:
    cards: int = 1
    peaks: list[Peak] = field(default_factory=list)
    resumes: list[Resume] = field(default_factory=list)
    soak: Soak | None = None
    """What its heartbeat log says; none where no log is in the bundle."""
    attachments: list[str] = field(default_factory=list)
    """Names that are filled, out of ATTACHMENTS."""

    def peak(self, dtype: str) -> Peak | None:
        return next((peak for peak in self.peaks if peak.dtype == dtype), None)

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Extras:
        """Raises ValueError for anything else than what :meth:`to_json` wrote."""
        try:
            data: Mapping[str, Any] = json.loads(text)
            rest = {key: value for key, value in data.items() if key != "format"}
            if data["format"] != FORMAT:
                raise ValueError("another format")
            peaks = [Peak(**peak) for peak in rest.pop("peaks")]
            resumes = [Resume(**resume) for resume in rest.pop("resumes")]
            soak = rest.pop("soak")
            return cls(**rest, peaks=peaks, resumes=resumes, soak=None if soak is None else Soak(**soak))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not the extras of a bundle: {type(error).__name__}: {error}") from error
