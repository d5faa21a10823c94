"""What a task trains by and is scored by: next tokens, or preferences."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from adapter_conform.certification.digests import arrays_digest
from adapter_conform.certification.measurement import Item
from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.recipes.corpora import IGNORED, Preferences, corpus_of, preferences_of
from adapter_conform.certification.recipes.starting import MERGED_PROBES
from adapter_conform.certification.recorder.adapters import Forward, adapt, merge_adapters
from adapter_conform.certification.recorder.conditions import Conditions, autocast
from adapter_conform.certification.recorder.diffusion.task import Denoising
from adapter_conform.certification.recorder.training import shortest

__all__ = ["Task", "task_of"]

_BATCH = 64
"""Questions at a time."""


class Task(Protocol):
    learning: list[Any]
    """Parameters that are trained."""
    digests: dict[str, str]
    """Of ``training``, ``validation`` and ``questions``."""
    curves: dict[str, list[float]]
    tokens_per_step: int

    def loss(self, step: int) -> Any:
        """Scalar tensor, float32, of the training batch of ``step``, counted from 0."""

    def validation_loss(self) -> float | None: ...

    def items(self) -> list[Item]: ...

    def probe(self) -> dict[str, NDArray[np.float32]]:
        """Outputs before the first step."""

    def sample(self) -> dict[str, NDArray[np.float32]]:
        """Outputs after the last."""

    def figures(self) -> dict[str, float]:
        """Of the trained model; comes last, since it may change the model."""


def task_of(recipe: Recipe, network: Any, conditions: Conditions) -> Task:
    """Changes ``network`` where the task adds adapters."""
    if recipe.standard_model.architecture == "stable_diffusion":
        return Denoising(recipe, network, conditions)
    forward, learning = adapt(recipe, network)
    kind = _Preferring if recipe.task == "dpo" else _NextToken
    return kind(recipe, network, forward, learning, conditions)


class _Base:
    def __init__(
        self, recipe: Recipe, network: Any, forward: Forward, learning: list[Any], conditions: Conditions
    ) -> None:
        self.recipe, self.network, self.learning, self.conditions = recipe, network, learning, conditions
        self._forward = forward
        self.curves: dict[str, list[float]] = {}
        self.tokens_per_step = recipe.schedule.tokens_per_step
        self.prepare()

    def prepare(self) -> None:
        raise NotImplementedError

    def probe(self) -> dict[str, NDArray[np.float32]]:
        return {}

    sample = probe

    def figures(self) -> dict[str, float]:
        return {}

    def tensor(self, array: NDArray[np.int64]) -> Any:
        """On the device; the rows of a training batch in the variant's order."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.conditions.device)

    def batch(self, array: NDArray[np.int64]) -> Any:
        return self.tensor(array[::-1] if self.conditions.variant.reversed_rows else array)

    def logits(self, ids: Any, forward: Forward | None = None) -> Any:
        """float32, whatever the model computed in."""
        with autocast(self.conditions):
            found = (forward or self._forward)(ids)
        return found.float()


class _NextToken(_Base):
    """Pretraining, SFT, LoRA, prefix: cross entropy over the labels that are not IGNORED."""

    def prepare(self) -> None:
        corpus = corpus_of(self.recipe)
        self._training = corpus.training(self.recipe)
        evaluation = self.recipe.evaluation
        self._validation = corpus.validation(self.recipe) if evaluation.validation_batches else None
        self._questions = corpus.questions(self.recipe) if evaluation.items else None
        self.digests = {"training": arrays_digest(*self._training)}
        if self._validation is not None:
            self.digests["validation"] = arrays_digest(*self._validation)
        if self._questions is not None:
            self.digests["questions"] = arrays_digest(self._questions.prompts, self._questions.answers)

    def _cross_entropy(self, ids: Any, labels: Any) -> Any:
        logits = self.logits(ids)
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)

    def loss(self, step: int) -> Any:
        inputs, labels = self._training
        return self._cross_entropy(self.batch(inputs[step]), self.batch(labels[step]))

    def validation_loss(self) -> float | None:
        if self._validation is None:
            return None
        batches = zip(*self._validation, strict=True)
        with torch.no_grad():
            losses = [float(self._cross_entropy(self.tensor(ids), self.tensor(labels))) for ids, labels in batches]
        return float(np.mean(losses))

    def items(self) -> list[Item]:
        found: list[Item] = []
        questions = self._questions
        if questions is None:
            return found
        for first in range(0, len(questions.prompts), _BATCH):
            expected = questions.answers[first : first + _BATCH]
            prompts = self.tensor(questions.prompts[first : first + _BATCH])
            with torch.no_grad():
                answers, margins = self._greedy(prompts, expected.shape[1])
            for row, answer, margin in zip(expected.tolist(), answers.tolist(), margins.tolist(), strict=True):
                figures = {"margin": float(f"{margin:.3g}")}
                found.append(Item(str(len(found)), tuple(row), tuple(answer), figures))
        return found

    def figures(self) -> dict[str, float]:
        if self.recipe.task != "lora" or self._questions is None:
            return {}
        prompts = self.tensor(self._questions.prompts[:MERGED_PROBES])
        with torch.no_grad():
            apart = self.logits(prompts)
            merge_adapters(self.network)
            difference = (self.logits(prompts) - apart).abs().max() / apart.abs().max()
        return {"lora merged": shortest(float(difference))}

    def _greedy(self, ids: Any, count: int) -> tuple[Any, Any]:
        """``count`` tokens a row, int64 [rows, count], and the smallest gap between the best logit and the next one,
        float32 [rows]. The end-of-sequence token does not end anything."""
        start = ids.shape[1]
        margins = torch.full((ids.shape[0],), torch.inf, device=ids.device)
        for _ in range(count):
            best = self.logits(ids)[:, -1].topk(2)
            margins = torch.minimum(margins, best.values[:, 0] - best.values[:, 1])
            ids = torch.cat([ids, best.indices[:, :1]], dim=1)
        return ids[:, start:], margins


class _Preferring(_Base):
    """DPO: -log sigmoid(beta * margin), with the starting weights as the reference model (Rafailov et al., 2023)."""

    def prepare(self) -> None:
        self._training, self._held_out = preferences_of(self.recipe)
        self.digests = {
            name: arrays_digest(pairs.prompts, pairs.chosen, pairs.rejected)
            for name, pairs in (("training", self._training), ("questions", self._held_out))
        }
        self.curves = {"margin": [], "accuracy": []}
        start = copy.deepcopy(self.network)
        for parameter in start.parameters():
            parameter.requires_grad_(False)
        self._start: Forward = lambda ids: start(input_ids=ids).logits

    def _log_probabilities(self, prompts: Any, answers: Any, forward: Forward | None) -> Any:
        """Of each whole answer, natural logarithm: float32 [rows]."""
        logits = self.logits(torch.cat([prompts, answers[:, :-1]], dim=1), forward)[:, prompts.shape[1] - 1 :]
        return logits.log_softmax(-1).gather(-1, answers[..., None]).squeeze(-1).sum(-1)

    def _ratios(self, pairs: Preferences, step: int | slice, place: Callable[[Any], Any]) -> list[Any]:
        """log(policy / start) of the chosen and of the rejected answers: float32 [rows] each."""
        prompts = place(pairs.prompts[step])
        ratios = []
        for answers in (place(pairs.chosen[step]), place(pairs.rejected[step])):
            with torch.no_grad():
                before = self._log_probabilities(prompts, answers, self._start)
            ratios.append(self._log_probabilities(prompts, answers, None) - before)
        return ratios

    def loss(self, step: int) -> Any:
        chosen, rejected = self._ratios(self._training, step, self.batch)
        margin = self.recipe.option("beta") * (chosen - rejected)
        self.curves["margin"].append(shortest(float(margin.mean())))
        self.curves["accuracy"].append(shortest(float((margin > 0).float().mean())))
        return -torch.nn.functional.logsigmoid(margin).mean()

    def _held_out_ratios(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Float64 [items] each."""
        with torch.no_grad():
            parts = [
                [
                    one.double().cpu().numpy()
                    for one in self._ratios(self._held_out, slice(at, at + _BATCH), self.tensor)
                ]
                for at in range(0, len(self._held_out.prompts), _BATCH)
            ]
        chosen, rejected = (np.concatenate(part) for part in zip(*parts, strict=True))
        return chosen, rejected

    def validation_loss(self) -> float | None:
        """Of the held-out pairs."""
        chosen, rejected = self._held_out_ratios()
        return float(np.mean(np.logaddexp(0.0, -self.recipe.option("beta") * (chosen - rejected))))

    def items(self) -> list[Item]:
        chosen, rejected = self._held_out_ratios()
        pairs = zip(chosen.tolist(), rejected.tolist(), strict=True)
        return [
            Item(str(number), figures={"chosen": shortest(good), "rejected": shortest(bad)})
            for number, (good, bad) in enumerate(pairs)
        ]
