"""Where a recipe runs, and what a task is to the training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.certification.measurement import Item
from adapter_conform.certification.recipes.corpora import IGNORED
from adapter_conform.models.paddlenlp_adapter import forward_logits
from adapter_conform.models.training import Precision, autocast

__all__ = ["Task", "Workplace", "precision_of", "token_loss"]


def precision_of(name: str) -> Precision | None:
    """``"float32"`` or ``"bfloat16"``, which is level O1: products in bfloat16, parameters in float32.

    Raises:
        ValueError: certification knows no such precision.
    """
    if name not in ("float32", "bfloat16"):
        raise ValueError(f"precision {name!r}: there are float32 and bfloat16")
    return None if name == "float32" else Precision("O1", name)


@dataclass(frozen=True)
class Workplace:
    paddle: ModuleType
    device: str
    """"refchip:0", "cpu"; Paddle's current device."""
    precision: Precision | None = None
    rank: int = 0
    """Which of ``cards`` this process works on."""
    cards: int = 1
    """That share the rows of every batch and add up their gradients."""

    def autocast(self) -> Any:
        return autocast(self.paddle, self.precision)

    def tensor(self, array: NDArray[Any]) -> Any:
        return self.paddle.to_tensor(np.ascontiguousarray(array))

    def share(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The rows [rows, ...] of a batch that are this card's."""
        count = len(rows) // self.cards
        return rows[self.rank * count : (self.rank + 1) * count]

    def shared(self, model: Any) -> Any:
        """``model``, with its gradients averaged over the cards where there are several."""
        return model if self.cards == 1 else self.paddle.DataParallel(model)

    def mean(self, loss: Any) -> float:
        """Of the scalar tensor ``loss``, over all cards."""
        if self.cards == 1:
            return float(loss)
        total = loss.detach().clone().reshape([1])
        self.paddle.distributed.all_reduce(total)
        return float(total) / self.cards


Arrays = Mapping[str, NDArray[np.float32]]


def _nothing() -> list[Item]:
    return []


@dataclass
class Task:
    """A model that is about to be trained."""

    model: Any
    loss: Callable[[int], tuple[Any, Mapping[str, float]]]
    """Step -> the loss, a scalar tensor, and further figures of the step."""
    validate: Callable[[], float] | None = None
    """Mean loss on held-out data."""
    answer: Callable[[], list[Item]] = _nothing
    """What the model makes of the held-out questions."""
    check: Callable[[], Mapping[str, str]] = dict
    """Named checks -> "" where fulfilled, else what was seen."""
    probe: Callable[[], Arrays] = dict
    """Outputs before the first step, by name."""
    sample: Callable[[], Arrays] = dict
    """Outputs after the last."""
    figures: dict[str, float] = field(default_factory=dict)
    """What ``check`` measured."""
    may_lack_gradients: tuple[str, ...] = field(default=())
    """Parts of names of parameters that a batch need not reach."""

    @property
    def trainable(self) -> list[tuple[str, Any]]:
        return [(name, item) for name, item in self.model.named_parameters() if not item.stop_gradient]


def token_loss(place: Workplace, outputs: Any, labels: NDArray[np.int64]) -> Any:
    """Mean cross entropy over the labels that teach, in float32.

    Paddle's own mean divides by all tokens, and PaddleNLP's criteria leave out losses that are zero.
    """
    logits = forward_logits(outputs).astype("float32")
    losses = place.paddle.nn.functional.cross_entropy(
        logits, place.tensor(labels[..., None]), reduction="none", ignore_index=IGNORED
    )
    return losses.sum() / float(np.count_nonzero(labels != IGNORED))
