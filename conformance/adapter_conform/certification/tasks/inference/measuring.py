"""A whole inference recipe on the device: from recorded weights to a measurement with its proof of execution."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from adapter_conform.certification.logits import LogitRecord
from adapter_conform.certification.measurement import Item, Measurement
from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.recipes.corpora import IGNORED, Questions, corpus_of
from adapter_conform.certification.recipes.inference import SCHEMES, SERVED, Scheme, texts_of
from adapter_conform.certification.recipes.pictures import Guide
from adapter_conform.certification.tasks.inference.layers import Prepared, prepare
from adapter_conform.certification.tasks.inference.load import bear
from adapter_conform.certification.tasks.inference.painting import measure_painting
from adapter_conform.certification.tasks.inference.ways import Eager, Exported, Served, Way, make_engine
from adapter_conform.certification.tasks.measuring import blank_measurement, environment
from adapter_conform.certification.tasks.workplace import Workplace
from adapter_conform.models.training import lies_on
from adapter_conform.models.weights import Weights
from adapter_conform.serving.checks import Bed, run_checks
from adapter_conform.serving.shape import DecoderShape, drawn_weights

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["WAYS", "measure_inference"]

WAYS = ("eager", "static", "served")
"""How a model runs; the serving engine does not know every architecture."""
_BATCH = 64
"""Questions at a time."""
_EVERY_WAY = 64
"""Questions that every way answers; eager answers all."""
_SECONDS = {"sample": 0.5, "proxy": 2.0, "full": 120.0}
"""Of a trial under load, by scale."""


def measure_inference(
    session: Session,
    recipe: Recipe,
    precision: str,
    weights: Weights,
    weights_digest: str,
    references: Sequence[Measurement] = (),
) -> Measurement:
    """Runs and scores; an error ends it early, and stands in the measurement with all figures until then.

    Of Stable Diffusion ``references`` hold the reference's first run in float32, whose steps its networks are given.

    Raises:
        ValueError: they do not.
    """
    if recipe.standard_model.architecture == "stable_diffusion":
        guide = Guide.of(exact_run(recipe, references))
        return measure_painting(session, recipe, precision, weights, weights_digest, guide)
    measurement = blank_measurement(recipe, precision, weights_digest)
    measurement.environment = environment(session)
    measurement.executed = {"kernels": {}, "ways": {}, "fell_back": [], "off_device": [], "weight_bytes": 0}
    try:
        _Run(session, recipe, SCHEMES[precision], weights, measurement).all()
    except Exception as error:  # whatever a device makes of it: the figures so far are kept, and the case fails
        traceback.print_exc()
        measurement.error = f"{type(error).__name__}: {error}".strip()
    return measurement


def exact_run(recipe: Recipe, references: Sequence[Measurement]) -> Measurement:
    """The reference's first run of ``recipe`` in float32. Raises ValueError where there is none."""
    wanted = (recipe.id, "float32", "base")
    found = [run for run in references if (run.recipe, run.precision, run.variant) == wanted]
    if not found:
        raise ValueError(f"the reference has no run of {recipe.id} in float32, which the networks are given steps of")
    return found[0]


class _Run:
    def __init__(
        self, session: Session, recipe: Recipe, scheme: Scheme, weights: Weights, measurement: Measurement
    ) -> None:
        self.session, self.recipe, self.scheme, self.weights = session, recipe, scheme, weights
        self.measurement = measurement
        self.place = Workplace(session.paddle, session.device)
        self.texts = texts_of(recipe)
        self.questions: Questions | None = None
        if recipe.evaluation.items:
            self.questions = corpus_of(recipe).questions(recipe)

    def all(self) -> None:
        """Every way in turn: its logits, its answers, and the kernels that it called."""
        prepared = prepare(self.place, self.recipe, self.weights, self.scheme)
        self.measurement.executed["weight_bytes"] = prepared.weight_bytes
        self._inspect(prepared)
        for name in self._names:
            print(f"{self.recipe.id} {self.measurement.precision}: {name}")
            sys.stdout.flush()
            with self.session.watch() as calls:
                way = self._way(name, prepared)
            before = calls.total()
            with self.session.watch() as calls:
                self._logits(name, way)
                self._answers(name, way)
            kernels = calls.static if name == "static" else calls.eager
            other = calls.eager if name == "static" else calls.static
            self.measurement.executed["ways"][name] = {
                "passes": way.passes,
                "kernels": dict(kernels),
                "beside": dict(other),
                "preparing": before,
                **({"lowered": way.lowered} if isinstance(way, Exported) else {}),
            }
            total = self.measurement.executed["kernels"]
            for key, count in calls.total().items():
                total[key] = total.get(key, 0) + count
        if "served" in self._names:
            self._serve()

    @property
    def _names(self) -> tuple[str, ...]:
        served = self.recipe.standard_model.architecture in SERVED
        return tuple(name for name in WAYS if served or name != "served")

    def _way(self, name: str, prepared: Prepared) -> Way:
        schedule = self.recipe.schedule
        if name == "eager":
            return Eager(self.place, prepared)
        if name == "static":
            return Exported(self.place, prepared, schedule.rows, schedule.length)
        return Served(make_engine(self.place, self.recipe, self.weights, self.scheme))

    def _inspect(self, prepared: Prepared) -> None:
        model = prepared.model
        tensors = [*model.named_parameters(), *model.named_buffers()]
        place = self.session.device
        self.measurement.executed["off_device"] = [name for name, item in tensors if not lies_on(item, place)]
        self.measurement.executed["tensors_checked"] = len(tensors)

    def _logits(self, name: str, way: Way) -> None:
        """Of all texts; eager's are the measurement's losses and times, a batch each."""
        found = []
        for rows, labels in zip(self.texts.inputs, self.texts.labels, strict=True):
            start = time.perf_counter()
            found.append(way.logits(rows))
            if name == "eager":
                judged = labels != IGNORED
                record = LogitRecord.of(found[-1][judged], labels[judged], 0)
                self.measurement.losses.append(float(record.surprise.mean(dtype=np.float64)))
                self.measurement.seconds.append(time.perf_counter() - start)
        judged = self.texts.judged
        full = int(self.recipe.option("full_positions"))
        whole = LogitRecord.of(np.stack(found)[judged], self.texts.labels[judged], full)
        self.measurement.logits[name] = whole.to_json()

    def _answers(self, name: str, way: Way) -> None:
        if self.questions is None:
            return
        count = self.questions.answers.shape[1]
        prompts = self.questions.prompts if name == "eager" else self.questions.prompts[:_EVERY_WAY]
        step = _BATCH if name != "static" else self.recipe.schedule.rows
        parts = [way.answers(prompts[at : at + step], count) for at in range(0, len(prompts), step)]
        answers = np.concatenate(parts).tolist()
        self.measurement.answers[name] = answers[:_EVERY_WAY]
        if name == "eager":
            pairs = zip(self.questions.answers.tolist(), answers, strict=True)
            self.measurement.items = [Item(str(i), tuple(row), tuple(got)) for i, (row, got) in enumerate(pairs)]

    def _serve(self) -> None:
        """What has to hold of every engine, once a model; and what it bears, in every scheme."""
        if self.measurement.precision == self.recipe.precisions[0]:
            shape = DecoderShape.from_settings(self.recipe.settings, self.recipe.standard_model.architecture)
            bed = Bed(self.session.paddle, shape, drawn_weights(shape, self.recipe.seed), self.recipe.seed)
            for check in run_checks(bed):
                empty = "" if check.compared else "nothing was compared"
                self.measurement.checks[f"serving {check.name}"] = "; ".join(check.faults[:2]) or empty
        if self.questions is not None:
            engine = make_engine(self.place, self.recipe, self.weights, self.scheme)
            seconds, count = _SECONDS[self.recipe.scale], self.questions.answers.shape[1]
            self.measurement.executed["load"] = bear(engine, self.questions.prompts, count, seconds)
