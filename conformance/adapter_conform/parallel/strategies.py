"""How a model is spread over ranks: one entry a case."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DTYPES", "SMOKE", "STRATEGIES", "Strategy"]

DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Strategy:
    """Degrees of parallelism as Paddle's fleet has them; their product is the number of ranks."""

    name: str
    rows: tuple[str, ...] = ()
    """Rows of the collectives' table that every rank has to have called."""
    data: int = 1
    tensor: int = 1
    pipeline: int = 1
    chunks: int = 1
    """Of each pipeline stage; more than one is the interleaved schedule."""
    sharding: int = 1
    stage: int = 0
    """Of sharding: 1 optimizer state, 2 and gradients, 3 and parameters."""
    segment: int = 1
    """Ranks that share one sequence; ``attention`` says how."""
    attention: str = ""
    """``"ulysses"`` (heads change places with positions) or ``"ring"``."""
    sequence: bool = False
    """Megatron's sequence parallelism, within the tensor-parallel group."""
    recompute: str = ""
    """``"full"``, ``"full_attn"`` or ``"core_attn"``."""
    model: str = "llama"
    """Of :data:`adapter_conform.parallel.models.MODELS`."""
    batch: int = 8
    """Rows of one step, all replicas together."""
    dtypes: tuple[str, ...] = DTYPES
    upstream: str = ""
    """Why Paddle or PaddleNLP cannot do it on any custom device; empty where it can."""

    @property
    def ranks(self) -> int:
        return self.data * self.tensor * self.pipeline * self.sharding * self.segment

    @property
    def replicas(self) -> int:
        """Parts that the rows of a step are divided into."""
        return self.data * self.sharding


_SUM = ("all_reduce",)
_PIPE = ("send", "recv")
_EXCHANGE = ("all_to_all",)
_SHARD = ("reduce", "broadcast")

_ENTRIES = (
    Strategy("dp2", _SUM, data=2),
    Strategy("mp2", _SUM, tensor=2),
    Strategy("sp2", ("all_gather", "reduce_scatter"), tensor=2, sequence=True),
    Strategy("pp2", _PIPE, pipeline=2),
    Strategy("sharding2_stage1", _SHARD, sharding=2, stage=1),
    Strategy("sharding2_stage2", _SHARD, sharding=2, stage=2),
    Strategy("sharding2_stage3", ("all_gather", "all_reduce"), sharding=2, stage=3),
    Strategy("ulysses2", _EXCHANGE, segment=2, attention="ulysses"),
    Strategy("ring2", _PIPE, segment=2, attention="ring"),
    Strategy("mp2_recompute_full", _SUM, tensor=2, recompute="full"),
    Strategy("mp2_recompute_core", _SUM, tensor=2, recompute="core_attn"),
    Strategy("ep2", (*_SUM, *_EXCHANGE), data=2, model="qwen2_moe"),
    Strategy("dp2_mp2", _SUM, data=2, tensor=2),
    Strategy("pp2_mp2", (*_SUM, *_PIPE), pipeline=2, tensor=2),
    Strategy("sharding2_mp2", (*_SUM, *_SHARD), sharding=2, stage=1, tensor=2),
    Strategy("dp2_pp2", (*_SUM, *_PIPE), data=2, pipeline=2),
    Strategy("pp4_interleaved", _PIPE, pipeline=4, chunks=2, model="llama_deep"),
)

STRATEGIES: dict[str, Strategy] = {entry.name: entry for entry in _ENTRIES}

SMOKE = ("dp2", "mp2", "pp2")
"""In float32."""
