"""A strategy as Paddle's fleet wants it: the groups, the wrapped model and optimizer, and one step.

The wiring is that of PaddleNLP's trainer; what differs by strategy stands here alone.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from adapter_conform.models.paddlenlp_adapter import forward_loss, own_positions
from adapter_conform.models.training import Precision, autocast
from adapter_conform.parallel.strategies import Strategy

__all__ = ["Groups", "enter", "micro_batches", "model_settings", "step_of", "wrapped"]

_MICRO_BATCHES = 8
"""Of a pipeline, each step, at most; the interleaved schedule wants at least twice as many as stages."""

_SHARDED_FROM = 256
"""Elements of a parameter from which stage 3 divides it; fleet's default, 2^20, would divide none here."""

_ORDER = ["dp", "pp", "sharding", "sep", "mp"]


def micro_batches(rows: int) -> int:
    """Parts that a pipeline makes of a step's rows."""
    return min(_MICRO_BATCHES, rows)


class Groups:
    """Where this rank stands. ``fleet`` is ``None`` in the process that trains alone."""

    def __init__(self, fleet: Any = None) -> None:
        self.fleet = fleet
        hybrid: Any = None if fleet is None else fleet.get_hybrid_communicate_group()
        self.hybrid: Any = hybrid
        self.tensor_rank = 0 if hybrid is None else int(hybrid.get_model_parallel_rank())
        self.replica = 0
        if hybrid is not None:
            sharding = int(hybrid.get_sharding_parallel_world_size())
            self.replica = int(hybrid.get_data_parallel_rank()) * sharding + int(hybrid.get_sharding_parallel_rank())


def enter(paddle: ModuleType, strategy: Strategy, rows: int) -> Groups:
    """Makes fleet's groups for ``strategy``; ``rows`` are those of one replica's step."""
    if strategy.ranks == 1:
        return Groups()
    fleet = paddle.distributed.fleet
    settings = fleet.DistributedStrategy()
    settings.hybrid_configs = {
        "dp_degree": strategy.data,
        "mp_degree": strategy.tensor,
        "pp_degree": strategy.pipeline,
        "sharding_degree": strategy.sharding,
        "sep_degree": strategy.segment,
        "order": _ORDER,
    }
    if strategy.pipeline > 1:
        settings.pipeline_configs = {
            "accumulate_steps": micro_batches(rows),
            "micro_batch_size": rows // micro_batches(rows),
            "enable_partial_send_recv": not strategy.sequence,
        }
        # A batch of sends and receives opens no group on a custom device (ProcessGroupCustom has no coalescing), so
        # that every stage of an interleaved schedule would receive first and none send. One by one, odd and even
        # stages take turns.
        settings.hybrid_configs["pp_configs"].use_batch_p2p_comm = False
    fleet.base.topology._HYBRID_PARALLEL_GROUP = None  # of the case before; fleet would keep it
    fleet.init(is_collective=True, strategy=settings, log_level="ERROR")
    return Groups(fleet)


def model_settings(strategy: Strategy, groups: Groups, length: int) -> dict[str, Any]:
    """What the model's configuration has to say of the strategy."""
    settings: dict[str, Any] = {
        "tensor_parallel_degree": strategy.tensor,
        "tensor_parallel_rank": groups.tensor_rank,
        "tensor_parallel_output": True,
        "sequence_parallel": strategy.sequence,
        "seq_length": length,
        "virtual_pp_degree": strategy.chunks,
    }
    if strategy.attention == "ulysses":
        settings["sep_parallel_degree"] = strategy.segment
    if strategy.attention == "ring":
        settings["context_parallel_degree"] = strategy.segment
        settings["use_flash_attention"] = True
    if strategy.recompute:
        settings.update(recompute=True, recompute_granularity=strategy.recompute, recompute_use_reentrant=False)
    return settings


def wrapped(paddle: ModuleType, strategy: Strategy, groups: Groups, model: Any, optimizer: Any) -> tuple[Any, Any]:
    """Model and optimizer as they are trained. The one process alone gets its own back."""
    if groups.fleet is None:
        return model, optimizer
    if strategy.recompute:
        model.recompute_enable()
    if strategy.sequence:
        utilities = paddle.distributed.fleet.utils.sequence_parallel_utils
        utilities.register_sequence_parallel_allreduce_hooks(model, 1, False)  # no case has it in a pipeline
    if strategy.stage >= 2:
        level = {2: "os_g", 3: "p_g_os"}[strategy.stage]
        group = groups.hybrid.get_sharding_parallel_group()
        shard = paddle.distributed.sharding.group_sharded_parallel
        model, optimizer, _ = shard(model, optimizer, level=level, group=group, segment_size=_SHARDED_FROM)
        return model, optimizer
    inputs = getattr(model, "_prepare_pipeline_inputs_func", None)
    model = groups.fleet.distributed_model(model)
    if strategy.pipeline > 1:
        model._prepare_pipeline_inputs_func = inputs
    return model, groups.fleet.distributed_optimizer(optimizer)


Step = Callable[[Any, Any], Any]
"""Inputs and labels of this replica, int64 tensors [rows, length] -> the loss, after the backward pass."""


def step_of(
    paddle: ModuleType, strategy: Strategy, groups: Groups, model: Any, optimizer: Any, precision: Precision | None
) -> Step:
    """Forward and backward of one step. The optimizer is the caller's to call."""
    if strategy.pipeline > 1:
        return _pipelined(paddle, model, optimizer, precision)

    def step(inputs: Any, labels: Any) -> Any:
        with autocast(paddle, precision):
            loss = forward_loss(model, *own_positions(strategy.attention, inputs, labels))
        loss.backward()
        return loss

    return step


def _pipelined(paddle: ModuleType, model: Any, optimizer: Any, precision: Precision | None) -> Step:
    def step(inputs: Any, labels: Any) -> Any:
        count = micro_batches(inputs.shape[0])
        size = inputs.shape[0] // count
        cuts = [slice(index * size, (index + 1) * size) for index in range(count)]
        batches = [{"input_ids": inputs[cut], "labels": labels[cut]} for cut in cuts]
        data = model._prepare_training(model._prepare_pipeline_inputs_func(batches), optimizer, None)
        model.optimizer = None  # the caller steps
        with autocast(paddle, precision):
            return model.forward_backward_pipeline(data, None)

    return step
