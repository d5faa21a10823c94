"""Ways to spread a training over cards: degrees as Paddle's fleet names them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from adapter_conform.certification.cluster.model import LanguageModel

__all__ = ["CARDS_A_NODE", "Strategy", "strategies"]

CARDS_A_NODE = 8
_DEGREES = (1, 2, 4, 8, 16, 32, 64)
_MICRO = (1, 2, 4, 8)


@dataclass(frozen=True)
class Strategy:
    """``tp * pp * sep * sharding * dp`` cards."""

    tp: int
    """Tensor parallel: matrices are cut. Within a node."""
    pp: int
    """Pipeline stages."""
    sharding: int
    """Replicas among which states are split (ZeRO); each has other data."""
    stage: int
    """1: optimizer states, 2: gradients too, 3: parameters too. 0 where sharding is 1."""
    dp: int
    """Replicas that hold everything."""
    sep: int
    """Cuts of the sequence."""
    ep: int
    """Groups of replicas among which experts are split."""
    micro: int
    """Rows at a time."""
    recompute: bool
    """Layers keep their input alone and are computed again in the backward pass."""

    @property
    def cards(self) -> int:
        return self.tp * self.pp * self.sep * self.sharding * self.dp

    @property
    def replicas(self) -> int:
        return self.sharding * self.dp

    def words(self) -> str:
        parts = [f"{name}{getattr(self, name)}" for name in ("tp", "pp", "sep", "ep", "dp") if getattr(self, name) > 1]
        if self.sharding > 1:
            parts.append(f"sharding{self.sharding} stage{self.stage}")
        return " ".join([*(parts or ["one card"]), f"micro{self.micro}", *(["recompute"] if self.recompute else [])])


def strategies(model: LanguageModel, cards: int, rows: int, length: int) -> Iterator[Strategy]:
    """All that use every card and divide model, rows and sequence evenly.

    Sharding is chosen before plain data parallelism, which keeps more and saves nothing; it is left out.
    """
    for tp, pp, sep, micro, recompute in product(_DEGREES, _pipelines(model, cards), _DEGREES, _MICRO, (False, True)):
        used = tp * pp * sep
        if (
            tp > CARDS_A_NODE
            or model.heads % (tp * sep)
            or model.key_value_heads % tp
            or model.inner % tp
            or length % sep
        ):
            continue
        if cards % used or rows % (cards // used * micro):
            continue
        sharding = cards // used
        for stage in (1, 2, 3) if sharding > 1 else (0,):
            if stage > 1 and pp > 1:  # Paddle pipelines with stage 1 alone
                continue
            for ep in _DEGREES:
                if (model.experts == 0 and ep > 1) or (model.experts and model.experts % ep) or sharding % ep:
                    continue
                yield Strategy(tp, pp, sharding, stage, 1, sep, ep, micro, recompute)


def _pipelines(model: LanguageModel, cards: int) -> list[int]:
    return [pp for pp in range(1, min(model.layers, cards) + 1) if model.layers % pp == 0 and cards % pp == 0]
