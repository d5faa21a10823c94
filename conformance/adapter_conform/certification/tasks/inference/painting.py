"""A whole inference recipe of Stable Diffusion on the device: from recorded weights to a measurement with its proof of
execution."""

from __future__ import annotations

import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.certification.arrays import as_text
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.recipes.inference import SCHEMES, Scheme
from adapter_conform.certification.recipes.pictures import Guide, guided, sampling_times, start_of, validation_batches
from adapter_conform.certification.tasks.inference.networks import WAYS, Networks, prepare_diffusion
from adapter_conform.certification.tasks.measuring import blank_measurement, environment
from adapter_conform.certification.tasks.workplace import Workplace
from adapter_conform.models.training import lies_on
from adapter_conform.models.weights import Weights

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["measure_painting"]

Floats = NDArray[np.float32]


def measure_painting(
    session: Session, recipe: Recipe, precision: str, weights: Weights, weights_digest: str, guide: Guide
) -> Measurement:
    """Runs in every way; an error ends it early, and stands in the measurement with all figures until then. ``guide``:
    what the reference sampled in float32, which each network is given."""
    measurement = blank_measurement(recipe, precision, weights_digest)
    measurement.digests["guide"] = guide.digest
    measurement.environment = environment(session)
    measurement.executed = {
        "kernels": {}, "ways": {}, "fell_back": [], "off_device": [], "weight_bytes": 0, "tensors_checked": 0,
    }  # fmt: skip
    try:
        _Run(session, recipe, SCHEMES[precision], weights, guide, measurement).all()
    except Exception as error:  # whatever a device makes of it: the figures so far are kept, and the case fails
        traceback.print_exc()
        measurement.error = f"{type(error).__name__}: {error}".strip()
    return measurement


class _Run:
    def __init__(
        self,
        session: Session,
        recipe: Recipe,
        scheme: Scheme,
        weights: Weights,
        guide: Guide,
        measurement: Measurement,
    ) -> None:
        self.session, self.recipe, self.guide, self.measurement = session, recipe, guide, measurement
        self.place = Workplace(session.paddle, session.device)
        self.prepared = prepare_diffusion(self.place, recipe, weights, scheme)
        self.start = start_of(recipe)
        self._scale = float(recipe.settings["scaling_factor"])

    def all(self) -> None:
        """Every way in turn: what it gives, and the kernels that it called."""
        executed = self.measurement.executed
        executed["weight_bytes"] = self.prepared.weight_bytes
        self.measurement.figures |= {f"layer {name}": error for name, error in self.prepared.layer_errors.items()}
        self._inspect()
        for way in WAYS:
            print(f"{self.recipe.id} {self.measurement.precision}: {way}")
            sys.stdout.flush()
            with self.session.watch() as calls:
                networks = Networks(self.place, self.recipe, self.prepared, way)
                held_out = self._held_out()
            before = calls.total()
            with self.session.watch() as calls:
                arrays = {**self._alone(networks), **self._sampled(networks, way)}
                self._losses(networks, way, held_out)
            self.measurement.arrays |= {f"{name}, {way}": as_text(array) for name, array in arrays.items()}
            kernels, other = (calls.static, calls.eager) if way == "static" else (calls.eager, calls.static)
            executed["ways"][way] = {
                "passes": dict(networks.passes),
                "kernels": dict(kernels),
                "beside": dict(other),
                "preparing": before,
                **({"lowered": networks.lowered} if networks.lowered else {}),
            }
            for key, count in calls.total().items():
                executed["kernels"][key] = executed["kernels"].get(key, 0) + count

    def _inspect(self) -> None:
        layer = self.prepared.model.layer
        tensors = [*layer.named_parameters(), *layer.named_buffers()]
        place = self.session.device
        self.measurement.executed["off_device"] = [name for name, item in tensors if not lies_on(item, place)]
        self.measurement.executed["tensors_checked"] = len(tensors)

    def _times(self, time_step: int, rows: int) -> Any:
        return self.place.tensor(np.full(rows, time_step, dtype=np.int64))

    def _alone(self, networks: Networks) -> dict[str, Floats]:
        """Each network on what the reference sampled: ``states``, ``noise`` of every step [steps, 2, items, ...],
        ``decoder``."""
        captions = self.place.tensor(np.concatenate([self.start.empty, self.start.captions]))
        path, states = self.guide.path(self.recipe), self.place.tensor(self.guide.states)
        noise = []
        for number, step in enumerate(sampling_times(int(self.recipe.option("steps")))):
            both = self.place.tensor(np.concatenate([path[number], path[number]]))
            found = networks.run("unet", both, self._times(step, len(both)), states)
            noise.append(_read(found).reshape(2, *path[number].shape))
        return {
            "states": _read(networks.run("text_encoder", captions)),
            "noise": np.stack(noise),
            "decoder": self._decoded(networks, self.place.tensor(path[-1])),
        }

    def _sampled(self, networks: Networks, way: str) -> dict[str, Floats]:
        """From noise to pictures, by the library's sampler: ``said`` is what the network said in each step, ``taken``
        the noise that the sampler took, with guidance."""
        began = time.perf_counter()
        sampler = self.prepared.model.sampler(int(self.recipe.option("steps")))
        captions = np.concatenate([self.start.empty, self.start.captions])
        states = networks.run("text_encoder", self.place.tensor(captions))
        latents = self.place.tensor(self.start.noise) * sampler.init_noise_sigma
        said, taken = [], []
        for step in sampler.timesteps:
            both = sampler.scale_model_input(self.place.paddle.concat([latents, latents]), step)
            halves = networks.run("unet", both, self._times(int(step), len(both)), states).chunk(2)
            noise = guided(self.recipe, halves)
            latents = sampler.step(noise, step, latents).prev_sample
            said.append([_read(half) for half in halves])
            taken.append(_read(noise))
        pictures = self._decoded(networks, latents)
        seconds = time.perf_counter() - began
        self.measurement.executed.setdefault("painting", {})[way] = {
            "pictures": len(pictures),
            "steps": len(taken),
            "pictures_per_second": len(pictures) / seconds,
            "steps_per_second": len(taken) * len(pictures) / seconds,
        }
        return {"said": np.array(said), "taken": np.stack(taken), "latents": _read(latents), "pictures": pictures}

    def _decoded(self, networks: Networks, latents: Any) -> Floats:
        return _read(networks.run("decoder", latents / self._scale))

    def _held_out(self) -> list[Any]:
        """Noisy latents of held-out pictures, one tensor a batch."""
        found, dtype = [], self.prepared.dtype
        noising, model = self.prepared.model.noising(), self.prepared.model
        for batch in validation_batches(self.recipe):
            with self.place.paddle.no_grad():
                latents = model.encode(self.place.tensor(batch.pictures).astype(dtype)).astype("float32") * self._scale
            found.append(noising.add_noise(latents, self.place.tensor(batch.noise), self.place.tensor(batch.times)))
        return found

    def _losses(self, networks: Networks, way: str, held_out: list[Any]) -> None:
        """How well noise in held-out pictures is predicted; eager's are the measurement's losses and times."""
        losses = []
        for noisy, batch in zip(held_out, validation_batches(self.recipe), strict=True):
            began = time.perf_counter()
            states = networks.run("text_encoder", self.place.tensor(batch.captions))
            found = _read(networks.run("unet", noisy, self.place.tensor(batch.times), states))
            losses.append(float(np.mean((found.astype(np.float64) - batch.noise) ** 2)))
            if way == "eager":
                self.measurement.losses.append(losses[-1])
                self.measurement.seconds.append(time.perf_counter() - began)
        self.measurement.figures[f"held-out loss, {way}"] = float(np.mean(losses))


def _read(tensor: Any) -> Floats:
    return np.asarray(tensor.numpy())
