"""A static program of a model, saved and run by paddle.inference on the device."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapter_conform.certification.tasks.workplace import Workplace
from adapter_conform.models.lowered import moved_to_host, print_lowered

__all__ = ["Program"]


class Program:
    """Of ``layer``, for inputs of the shapes that ``spec`` (``paddle.static.InputSpec``) says."""

    def __init__(self, place: Workplace, layer: Any, spec: Sequence[Any]) -> None:
        paddle, (kind, _, number) = place.paddle, place.device.partition(":")
        with tempfile.TemporaryDirectory(prefix="adapter-conform-") as folder:
            path = str(Path(folder) / "model")
            paddle.jit.save(paddle.jit.to_static(layer, input_spec=list(spec), full_graph=True), path)
            config = paddle.inference.Config(path + ".json", path + ".pdiparams")
            config.enable_custom_device(kind, int(number or 0))
            config.disable_glog_info()
            with print_lowered(paddle) as program:
                self._predictor = paddle.inference.create_predictor(config)
        self.on_device = sum(program.counts(kind).values())
        """Kernels of the program on the device."""
        self.moved = sorted({kernel.key for kernel in moved_to_host(program.kernels)})
        """Those that the host computes on data of the device: under PIR the switch against fallback has no effect."""

    def __call__(self, *inputs: Any) -> Any:
        """The program's first output; tensors of the device."""
        (found, *_) = self._predictor.run(list(inputs))
        return found
