"""The memory model held against PaddleNLP's published table."""

from __future__ import annotations

from dataclasses import dataclass

from adapter_conform.certification.cluster.memory import Training, memory
from adapter_conform.certification.cluster.model import LanguageModel, language_model
from adapter_conform.certification.cluster.strategy import Strategy
from adapter_conform.certification.standard import load_baselines

__all__ = ["PublishedRow", "published_rows"]

_MIB = 2**20
_7B = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
_13B = {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40, "num_attention_heads": 40}
_CONFIGURATIONS = {
    "facebook/llama-7b": {**_7B, "vocab_size": 32000},
    "facebook/llama-13b": {**_13B, "vocab_size": 32000},
    "baichuan-inc/Baichuan2-7B-Base": {**_7B, "vocab_size": 125696},
    "qwen/qwen-7b": {**_7B, "vocab_size": 151936},
}
"""The ``config.json`` of the published models; rows that differ by their tokenizer alone are left out."""
_STRATEGIES = {"tp2sd4_stage2": Strategy(2, 1, 4, 2, 1, 1, 1, 1, False)}


@dataclass(frozen=True)
class PublishedRow:
    model: str
    strategy: str
    published_mib: float
    estimated_mib: dict[int, float]
    """Rows at a time (the table does not say them) -> tensors allocated."""

    @property
    def closest(self) -> tuple[int, float]:
        """Rows at a time whose estimate is nearest, and its relative error."""
        micro = min(self.estimated_mib, key=lambda rows: abs(self.estimated_mib[rows] - self.published_mib))
        return micro, self.estimated_mib[micro] / self.published_mib - 1


def published_rows() -> list[PublishedRow]:
    """Those with a configuration and a strategy that are known."""
    found = []
    for table in load_baselines():
        for row in table["rows"]:
            if row["model"] in _CONFIGURATIONS and row.get("strategy") in _STRATEGIES:
                model = language_model("llama", _CONFIGURATIONS[row["model"]])
                strategy = _STRATEGIES[row["strategy"]]
                estimates = {rows: _estimate(model, strategy, rows, int(table["seq_len"])) for rows in (1, 2)}
                found.append(PublishedRow(row["model"], row["strategy"], float(row["memory"]), estimates))
    return found


def _estimate(model: LanguageModel, base: Strategy, rows: int, length: int) -> float:
    strategy = Strategy(base.tp, base.pp, base.sharding, base.stage, base.dp, base.sep, base.ep, rows, base.recompute)
    return memory(model, strategy, length, Training()).allocated / _MIB
