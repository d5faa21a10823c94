"""What an evaluation is about: kept beside its outcomes, so that it can go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from adapter_conform.evaluation.benchmarks import Question
from adapter_conform.evaluation.model.request import ModelRequest
from adapter_conform.evaluation.outcomes import FORMAT

__all__ = ["EvaluationRequest", "digest_of"]


@dataclass(frozen=True)
class EvaluationRequest:
    benchmark: str
    shots: int
    limit: int | None
    """Questions of a subject."""
    most_tokens: int
    """That the model may write; 0: as the benchmark has it."""
    data: str
    """Digest of all prompts and expected answers."""
    model: ModelRequest

    def header(self) -> dict[str, Any]:
        """The first line of the outcomes."""
        model = {name: value for name, value in asdict(self.model).items() if name != "folder"}
        return {"format": FORMAT, **asdict(self), "model": model}


def digest_of(questions: Sequence[Question]) -> str:
    digest = sha256()
    for question in questions:
        parts = (question.item.id, question.prompt.text(), *question.continuations, question.item.answer)
        for part in (*parts, question.item.test, str(question.limit)):
            digest.update(part.encode() + b"\x00")
    return digest.hexdigest()[:16]
