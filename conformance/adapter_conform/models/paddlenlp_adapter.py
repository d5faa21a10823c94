"""PaddleNLP behind one door: the only module that imports it, and the place for what mends it on a newer Paddle.

Nothing is imported before :func:`build_llama` is called, so that cases can be planned where PaddleNLP is missing.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from adapter_conform.models.architectures import Architecture
from adapter_conform.models.paddlenlp_mends import mend_fused_rope, mend_moe_gate, room_for_all
from adapter_conform.models.parallel_mends import mend_reshard, mend_ring_attention
from adapter_conform.models.shape import LlamaShape
from adapter_conform.models.weights import Weights, paddle_layout

__all__ = [
    "build_llama",
    "build_model",
    "build_pipeline",
    "dpo_criterion",
    "forward_logits",
    "forward_loss",
    "greedy_tokens",
    "load_llama_weights",
    "load_weights",
    "own_positions",
    "room_for_all",
    "saved_lora",
    "why_unavailable",
    "with_lora",
    "with_prefix",
]


def why_unavailable() -> str | None:
    """Why models cannot be built here, and what to do; ``None`` where they can. Imports nothing."""
    if importlib.util.find_spec("paddlenlp") is not None:
        return None
    return "PaddleNLP is not installed; install adapter-sdk[models]: pip install 'adapter-sdk[models]'"


def build_llama(paddle: ModuleType, shape: LlamaShape) -> Any:
    """A ``LlamaForCausalLM`` on Paddle's current device, without dropout or cache, its matrices zero.

    The weights are to come from a file (:func:`load_llama_weights`), so none are drawn: the device needs no random
    kernels.
    """
    transformers = _import_quietly("paddlenlp.transformers")
    model_utils = _import_quietly("paddlenlp.transformers.model_utils")
    config = transformers.LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=shape.positions,
        rms_norm_eps=shape.norm_epsilon,
        rope_theta=shape.rope_theta,
        use_flash_attention=shape.fused,
        use_fused_rope=shape.fused,
        tie_word_embeddings=False,
        use_cache=False,
    )
    with _zero_initializer(paddle), _einsum_of_basic_operators(), model_utils.no_init_weights():
        model = transformers.LlamaForCausalLM(config)
    mend_fused_rope(model)
    return model


def build_model(paddle: ModuleType, architecture: Architecture) -> Any:
    """A model of ``architecture`` on Paddle's current device, its parameters zero; mended where PaddleNLP is wrong."""
    transformers = _import_quietly("paddlenlp.transformers")
    model_utils = _import_quietly("paddlenlp.transformers.model_utils")
    mend_moe_gate(paddle, _import_quietly("paddlenlp.transformers.moe_gate"))
    if architecture.settings.get("sep_parallel_degree", 1) > 1:
        mend_reshard(paddle, _import_quietly("paddlenlp.transformers.segment_parallel_utils"))
    if architecture.settings.get("context_parallel_degree", 1) > 1:
        mend_ring_attention(paddle, _import_quietly("paddlenlp.transformers.ring_flash_attention"))
    config = getattr(transformers, architecture.config)(**architecture.settings)
    with _zero_initializer(paddle), _einsum_of_basic_operators(), model_utils.no_init_weights():
        model = getattr(transformers, architecture.model)(config)
    mend_fused_rope(model)
    return model


def build_pipeline(paddle: ModuleType, architecture: Architecture) -> Any:
    """This rank's stage of a model of ``architecture``, by the strategy that fleet was initialised with."""
    staged = replace(architecture, model=architecture.model + "Pipe")
    return build_model(paddle, staged)


LORA_TARGETS = ("q_proj", "v_proj")
"""Linear layers that a low-rank adapter is put on, unless the caller names others."""


def with_lora(
    paddle: ModuleType, model: Any, rank: int = 4, alpha: int = 8, targets: Sequence[str] = LORA_TARGETS
) -> Any:
    """``model`` with low-rank adapters on its ``targets``; nothing else is trainable. The adapters are zero."""
    peft = _import_quietly("paddlenlp.peft")
    config = peft.LoRAConfig(
        target_modules=[f".*{name}.*" for name in targets],
        r=rank,
        lora_alpha=alpha,
        merge_weights=False,
        dtype="float32",
    )
    with _zero_initializer(paddle):
        adapted = peft.LoRAModel(model, config)
    adapted.mark_only_lora_as_trainable()
    return adapted


def saved_lora(paddle: ModuleType, model: Any, base: Any, folder: str) -> Any:
    """The adapters of ``model``, written to ``folder`` and read back onto ``base``, a model of the same weights."""
    peft = _import_quietly("paddlenlp.peft")
    model.save_pretrained(folder)
    with _zero_initializer(paddle):
        return peft.LoRAModel.from_pretrained(base, folder)


def with_prefix(paddle: ModuleType, model: Any, tokens: int) -> Any:
    """A LLaMA with ``tokens`` trainable keys and values before its input; nothing else is trainable."""
    prefix, processing = _import_quietly("paddlenlp.peft.prefix"), _import_quietly("paddlenlp.peft.prefix.utils")
    settings = model.config
    config = prefix.PrefixConfig(
        num_prefix_tokens=tokens,
        num_attention_heads=settings.num_attention_heads,
        multi_query_group_num=settings.num_key_value_heads,
        num_hidden_layers=settings.num_hidden_layers,
        hidden_size=settings.hidden_size,
        prefix_dropout=0.0,
        dtype="float32",
    )
    # Its class calls logger.warning where no parallel degree was given, which here is as it should be.
    config.tensor_parallel_degree = settings.tensor_parallel_degree
    with _zero_initializer(paddle):
        return prefix.PrefixModelForCausalLM(
            model, config, postprocess_past_key_value=processing.llama_postprocess_past_key_value
        )


def dpo_criterion(model: Any, beta: float = 0.1) -> Any:
    """PaddleNLP's criterion for direct preference optimisation, the sigmoid loss alone."""
    module = _import_quietly("paddlenlp.transformers.dpo_criterion")
    settings = SimpleNamespace(
        beta=beta, loss_type="sigmoid", label_smoothing=0.0, pref_loss_ratio=1.0, sft_loss_ratio=0.0
    )
    return module.DPOCriterion(model.config, dpo_config=settings)


def greedy_tokens(paddle: ModuleType, model: Any, ids: Any, count: int) -> Any:
    """The ``count`` tokens that greedy decoding appends to ``ids`` [rows, length]: int64 [rows, count]."""
    with paddle.no_grad():
        # Without an explicit mask PaddleNLP builds one that newer releases of Paddle refuse.
        tokens, _ = model.generate(
            input_ids=ids,
            attention_mask=paddle.ones_like(ids),
            max_new_tokens=count,
            decode_strategy="greedy_search",
            eos_token_id=-1,
            pad_token_id=0,
        )
    return tokens


def load_llama_weights(model: Any, weights: Weights) -> None:
    """Copies ``weights`` (Hugging Face names and layout) into ``model``.

    Raises:
        ValueError: a name or a shape has no counterpart; the message lists all that do not fit.
    """
    load_weights(model, paddle_layout(weights, base="llama"))


def load_weights(model: Any, arrays: Weights, tied: Collection[str] = ()) -> None:
    """Copies ``arrays`` (Paddle's names and layout) into ``model``; its tensors called ``tied`` are others once more.

    Raises:
        ValueError: a name or a shape has no counterpart; the message lists all that do not fit.
    """
    targets = {name: tensor for name, tensor in model.state_dict().items() if name not in tied}
    faults = [f"{name}: only in the model" for name in sorted(targets.keys() - arrays.keys())]
    faults += [f"{name}: only in the weights" for name in sorted(arrays.keys() - targets.keys())]
    for name in sorted(targets.keys() & arrays.keys()):
        if tuple(targets[name].shape) != arrays[name].shape:
            faults.append(f"{name}: {tuple(targets[name].shape)} in the model, {arrays[name].shape} in the weights")
    if faults:
        raise ValueError("the weights do not fit the model:\n  " + "\n  ".join(faults))
    for name, array in arrays.items():
        targets[name].set_value(np.ascontiguousarray(array))


def forward_loss(model: Any, inputs: Any, labels: Any) -> Any:
    """Mean cross entropy, a scalar tensor, by the model's own criterion.

    ``inputs`` and ``labels`` are int64 tensors [rows, length]; PaddleNLP wants labels shifted by the caller.
    """
    return _first(model(input_ids=inputs, labels=labels))


def own_positions(attention: str, *tensors: Any) -> list[Any]:
    """What this rank has of int64 tensors [rows, length] where ranks share a sequence: a block for ``"ulysses"``, for
    ``"ring"`` one from the front and one from the back, so that all have as much to attend to; else all of it."""
    if attention == "ulysses":
        split = _import_quietly("paddlenlp.transformers.segment_parallel_utils").split_inputs_sequence_dim
    elif attention == "ring":
        split = _import_quietly("paddlenlp.transformers.context_parallel_utils").split_inputs_sequence_dim_load_balance
    else:
        return list(tensors)
    return [split(tensor) for tensor in tensors]


def forward_logits(outputs: Any) -> Any:
    """The logits, float32 [rows, length, vocabulary], among what a forward pass without labels returned."""
    return _first(outputs)


def _first(outputs: Any) -> Any:
    return outputs[0] if isinstance(outputs, (list, tuple)) else outputs


def _import_quietly(name: str) -> ModuleType:
    """Imports without PaddleNLP's log lines and its dependencies' deprecation warnings, which concern no vendor."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module(name)
        importlib.import_module("paddlenlp.utils.log").logger.set_level("ERROR")
    return module


@contextmanager
def _zero_initializer(paddle: ModuleType) -> Iterator[None]:
    initializer = paddle.nn.initializer
    initializer.set_global_initializer(initializer.Constant(0.0))
    try:
        yield
    finally:
        initializer.set_global_initializer(None)


@contextmanager
def _einsum_of_basic_operators() -> Iterator[None]:
    """Lets Paddle compose ``einsum`` of basic operators, as it can by itself.

    The rotary tables are one outer product, written as an einsum: no reason to demand a general einsum of a device.
    """
    switch = "FLAGS_new_einsum"
    before = os.environ.get(switch)
    os.environ[switch] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[switch]
        else:
            os.environ[switch] = before
