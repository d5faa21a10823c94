"""Faults of inference on a device, switched on one at a time: what certification has to find.

As a context, ``with FAULTS["wrong_scale_axis"](paddle): ...``; or for every worker of a run, by name:
``ADAPTER_CONFORM_PRELOAD=inference_faults:plant_wrong_scale_axis``, with this folder on PYTHONPATH.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
from adapter_conform.certification.tasks.inference import ways
from adapter_conform.serving import engine as engine_module
from adapter_conform.serving.blocks import BlockPool
from adapter_conform.serving.decoder import Decoder
from adapter_conform.serving.packing import Packed
from adapter_conform.serving.requests import Sequence
from painting_faults import PAINTING

__all__ = ["FAULTS"]


@contextmanager
def wrong_scale_axis(paddle: ModuleType) -> Iterator[None]:
    """The scale of an output channel comes from the weights of another: the kernel walks along the wrong axis."""
    right = paddle.nn.quant.weight_quantize

    def quantize(x: Any, *arguments: Any, **named: Any) -> Any:
        numbers, scales = right(x, *arguments, **named)
        return numbers, paddle.flip(scales, axis=[-1])

    with mock.patch.object(paddle.nn.quant, "weight_quantize", quantize):
        yield


@contextmanager
def nibble_order(paddle: ModuleType) -> Iterator[None]:
    """The two numbers of a byte are taken in the other order."""
    right = paddle.nn.quant.weight_quantize

    def quantize(x: Any, algo: str = "weight_only_int8", *arguments: Any, **named: Any) -> Any:
        numbers, scales = right(x, algo, *arguments, **named)
        if algo == "weight_only_int4":
            raw = numbers.numpy().view(np.uint8)
            numbers = paddle.to_tensor(((raw << 4) | (raw >> 4)).astype(np.uint8).view(np.int8))
        return numbers, scales

    with mock.patch.object(paddle.nn.quant, "weight_quantize", quantize):
        yield


@contextmanager
def activations_cut_off(_paddle: ModuleType) -> Iterator[None]:
    """Calibration takes the mean of the magnitudes for their largest: what is above is cut off."""
    from adapter_conform.certification.tasks.inference import layers

    right = layers.calibrated

    def cut(weight: Any, inputs: Any, observer: str) -> Any:
        return right(weight, np.minimum(inputs, inputs.mean() / 2), observer)

    with mock.patch.object(layers, "calibrated", cut):
        yield


@contextmanager
def second_row_of_a_batch(_paddle: ModuleType) -> Iterator[None]:
    """The exported program gives the second text of a batch the logits of the first."""
    right = ways.Exported.logits

    def logits(self: Any, rows: Any) -> Any:
        found = right(self, rows).copy()
        found[1:2] = found[:1]
        return found

    with mock.patch.object(ways.Exported, "logits", logits):
        yield


@contextmanager
def block_reused_too_early(_paddle: ModuleType) -> Iterator[None]:
    """A sequence gets a block that another still needs."""
    take, release = BlockPool.take, BlockPool.release

    def hasty(pool: BlockPool, count: int) -> list[int]:
        blocks = take(pool, count)
        owned = [block for block, owners in enumerate(pool._owners) if owners and block not in blocks]
        return [owned[0], *blocks[1:]] if owned else blocks

    def forgiving(pool: BlockPool, blocks: list[int]) -> None:
        release(pool, [block for block in dict.fromkeys(blocks) if pool._owners[block]])

    with mock.patch.object(BlockPool, "take", hasty), mock.patch.object(BlockPool, "release", forgiving):
        yield


@contextmanager
def off_by_one_after_a_hit(_paddle: ModuleType) -> Iterator[None]:
    """A prompt that begins in the cache goes on one position too early."""
    right = engine_module.pack

    def off(sequences: list[Sequence], longest: int, block_tokens: int) -> Packed:
        packed = right(sequences, longest, block_tokens)
        hits = np.array([[sequence.shared > 0] for sequence in sequences])
        return replace(packed, decoder=(packed.decoder - hits).astype("int32"))

    with mock.patch.object(engine_module, "pack", off):
        yield


@contextmanager
def wrong_mask_of_the_second_sequence(paddle: ModuleType) -> Iterator[None]:
    """The second sequence of a batch sees what comes after each of its tokens."""
    attend = Decoder.attend

    def leaky(decoder: Decoder, qkv: Any, keys: Any, values: Any, **told: Any) -> Any:
        lengths = np.asarray(told["seq_lens_encoder"].numpy()).reshape(-1)
        if len(lengths) > 1 and lengths[1] > 1:
            longest = int(lengths.max())
            mask = np.where(np.tri(longest, dtype=bool), 0.0, -np.inf).astype("float32")
            masks = np.repeat(mask[None, None], len(lengths), 0)
            masks[1] = 0.0
            told["mask"] = paddle.to_tensor(masks).astype(decoder.dtype)
        return attend(decoder, qkv, keys, values, **told)

    with mock.patch.object(Decoder, "attend", leaky):
        yield


@contextmanager
def seed_ignored(paddle: ModuleType) -> Iterator[None]:
    """Sampling draws from the generator of the device."""
    sample = paddle.tensor.top_p_sampling

    def unseeded(x: Any, ps: Any, topp_seed: Any = None) -> Any:
        return sample(x, ps)

    with mock.patch.object(paddle.tensor, "top_p_sampling", unseeded):
        yield


FAULTS: dict[str, Callable[[ModuleType], Any]] = {
    fault.__name__: fault
    for fault in (
        wrong_scale_axis,
        nibble_order,
        activations_cut_off,
        second_row_of_a_batch,
        block_reused_too_early,
        off_by_one_after_a_hit,
        wrong_mask_of_the_second_sequence,
        seed_ignored,
        *PAINTING,
    )
}

_PLANTED = ExitStack()


def __getattr__(name: str) -> Any:
    """``plant_<fault>``: what ADAPTER_CONFORM_PRELOAD calls with a session."""
    fault = FAULTS.get(name.removeprefix("plant_"))
    if fault is None or not name.startswith("plant_"):
        raise AttributeError(name)

    def plant(session: Any) -> None:
        _PLANTED.enter_context(fault(session.paddle))

    return plant
