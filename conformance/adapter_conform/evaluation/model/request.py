"""Which model is to be evaluated on which device, as the worker is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from adapter_conform.certification.recipes.models import MODELS
from adapter_conform.errors import UsageProblem
from adapter_conform.evaluation.model.folder import find_model, outlined_weights
from adapter_conform.evaluation.model.tokenizer import tokenizer_in
from adapter_conform.quantization.schemes import SCHEMES
from adapter_conform.serving.shape import DecoderShape, require_weights

__all__ = ["BACKENDS", "PRECISIONS", "ModelRequest", "requested_model"]

BACKENDS = ("engine", "paddlenlp")
PRECISIONS = ("float32", "bfloat16", "float16")
_PADDLENLP = {"llama": "Llama", "qwen2": "Qwen2", "qwen2_moe": "Qwen2Moe"}


@dataclass(frozen=True)
class ModelRequest:
    plugin: str
    model: str
    """What the user said."""
    folder: str | None
    """Absolute; None for a model of the standard, whose weights are drawn."""
    fingerprint: str
    backend: str = "engine"
    precision: str = "float32"
    scheme: str = "none"
    seed: int = 0
    batch: int = 8
    shape: Mapping[str, Any] = field(default_factory=dict)
    """Of the engine: fields of DecoderShape; of PaddleNLP: settings that take the place of the folder's."""

    def to_json(self) -> dict[str, Any]:
        return {"type": "hello", **asdict(self)}

    @classmethod
    def from_json(cls, message: Mapping[str, Any]) -> ModelRequest:
        return cls(**{name: value for name, value in message.items() if name != "type"})

    def paddlenlp_classes(self) -> str:
        """What the names of PaddleNLP's classes begin with."""
        assert self.folder is not None
        return _PADDLENLP[find_model(Path(self.folder)).architecture]


def requested_model(
    plugin: str, model: str, backend: str, precision: str, scheme: str, seed: int, batch: int, context: int
) -> ModelRequest:
    """What the options name, looked at as far as that goes without a device.

    Args:
        model: a folder, or a model of the standard, taken as its proxy with drawn weights.
        context: the longest sequence, where the model itself allows for longer ones.

    Raises:
        UsageProblem: they do not fit together, or name something that is not there.
    """
    if scheme not in SCHEMES:
        raise UsageProblem(f"--scheme {scheme}: there are {', '.join(SCHEMES)}")
    common = ModelRequest(plugin, model, None, "", backend, precision, scheme, seed, batch)
    if backend == "paddlenlp":
        return _of_paddlenlp(common, context)
    if Path(model).is_dir():
        folder = find_model(Path(model).resolve())
        shape = _shape(folder.settings, folder.architecture, f"--model {model}", context)
        try:
            require_weights(shape, outlined_weights(folder))
        except ValueError as error:
            raise UsageProblem(f"--model {model}: {error}") from error
        tokenizer_in(folder)
        common = replace(common, folder=str(folder.path), fingerprint=folder.fingerprint)
    elif model in MODELS:
        shape = _shape(MODELS[model].proxy, MODELS[model].architecture, f"--model {model}", context)
        common = replace(common, fingerprint=f"drawn from seed {seed}")
    else:
        raise UsageProblem(f"--model {model}: no such folder, and no such model; models are {', '.join(MODELS)}")
    return replace(common, shape=vars(shape))


def _of_paddlenlp(common: ModelRequest, context: int) -> ModelRequest:
    from adapter_conform.models.paddlenlp_adapter import why_unavailable

    missing = why_unavailable()
    if missing:
        raise UsageProblem(missing)
    if not Path(common.model).is_dir():
        raise UsageProblem(f"--backend paddlenlp takes a model's folder; {common.model} is none")
    if common.scheme != "none" or common.precision == "float16":
        raise UsageProblem("--backend paddlenlp knows float32 and bfloat16 (AMP O1), and no --scheme; take the engine")
    folder = find_model(Path(common.model).resolve())
    if folder.architecture not in _PADDLENLP:
        raise UsageProblem(f"--model {common.model}: {folder.architecture!r} is none of {', '.join(_PADDLENLP)}")
    tokenizer_in(folder)
    positions = min(context, int(folder.settings.get("max_position_embeddings", context)))
    shape = {"max_position_embeddings": positions}
    return replace(common, folder=str(folder.path), fingerprint=folder.fingerprint, shape=shape)


def _shape(settings: Mapping[str, Any], architecture: str, what: str, context: int) -> DecoderShape:
    try:
        shape = DecoderShape.from_settings(settings, architecture)
    except (ValueError, TypeError) as error:
        raise UsageProblem(f"{what}: {error}") from error
    return replace(shape, positions=min(shape.positions, context))
