"""What test_engine.py runs in a process of its own: engines on refchip, healthy and with planted faults.

Prints one JSON line for each finding, with its name.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from adapter_conform.models.architectures import Architecture
from adapter_conform.models.paddlenlp_adapter import build_model, greedy_tokens
from adapter_conform.models.weights import paddle_layout
from adapter_conform.serving import sampling
from adapter_conform.serving.checks import Bed, by_definition, cached, run_checks, seeded, together
from adapter_conform.serving.decoder import DTYPES
from adapter_conform.serving.engine import Engine, EngineSettings
from adapter_conform.serving.requests import Request
from adapter_conform.serving.shape import DecoderShape, drawn_weights
from adapter_conform.session import open_session

sys.path.append(str(Path(__file__).resolve().parents[1] / "faults"))
from inference_faults import (
    block_reused_too_early,
    off_by_one_after_a_hit,
    seed_ignored,
    wrong_mask_of_the_second_sequence,
)

session = open_session("refchip", 0)
paddle = session.paddle
SMALL = {"vocabulary": 96, "hidden": 64, "intermediate": 112, "positions": 96}
SHAPES = {
    "llama_mha": DecoderShape(**SMALL, key_value_heads=4),
    "llama_gqa": DecoderShape(**SMALL, key_value_heads=2),
    "qwen2": DecoderShape(**SMALL, key_value_heads=2, qkv_bias=True, rope_theta=1e6),
}


def report(name: str, **found: Any) -> None:
    print(json.dumps({"name": name, **found}), flush=True)


# ---- faults ---------------------------------------------------------------------------------------------------------


@contextmanager
def one_seed_for_all(_paddle: Any) -> Iterator[None]:
    """Every token is drawn with the same seed, whatever was asked for."""
    with mock.patch.object(sampling, "seed_of", lambda seed, position: position):
        yield


# Fault -> the check that has to notice it.
FAULTS = {
    block_reused_too_early: together,
    off_by_one_after_a_hit: cached,
    wrong_mask_of_the_second_sequence: together,
    seed_ignored: seeded,
    one_seed_for_all: seeded,
}


def faults() -> None:
    shape = SHAPES["llama_gqa"]
    for seed in range(5):
        bed = Bed(paddle, shape, drawn_weights(shape, seed), seed)
        checks = run_checks(bed)
        found = {check.name: check.faults[:2] for check in checks if not check.passed}
        report(f"healthy {seed}", found=found, compared=[check.compared for check in checks])
        for fault, check in FAULTS.items():
            with fault(paddle):
                report(f"{fault.__name__} {seed}", found=check(bed).faults[:2])
        if seed == 0:
            with wrong_mask_of_the_second_sequence(paddle):
                report("by definition", found=[by_definition(replace(bed, seed=s)).faults[:1] for s in range(1, 4)])


# ---- models ---------------------------------------------------------------------------------------------------------


def like_paddlenlp(name: str, shape: DecoderShape) -> None:
    """The engine's tokens against PaddleNLP's generate on the same device and weights."""
    weights = drawn_weights(shape, 3)
    base = "qwen2" if shape.qkv_bias else "llama"
    kind = "Qwen2" if shape.qkv_bias else "Llama"
    settings = {**shape.settings(), "use_cache": True}
    model = build_model(paddle, Architecture(f"{kind}ForCausalLM", f"{kind}Config", settings))
    targets = model.state_dict()
    for target, array in paddle_layout(weights, base).items():
        targets[target].set_value(array)
    model.eval()
    engine = Engine(paddle, shape, weights, EngineSettings(block_tokens=8))
    same = []
    for length in (1, 7, 19):
        prompt = np.random.RandomState(length).randint(3, shape.vocabulary, (1, length))
        wanted = greedy_tokens(paddle, model, paddle.to_tensor(prompt), 10).numpy()[0].tolist()
        answer = engine.run([Request("x", tuple(int(t) for t in prompt[0]), 10)])["x"]
        same.append([output.token for output in answer] == wanted)
    report(f"evaluated {name}", **evaluated_alike(shape, engine, model))
    report(f"paddlenlp {name}", same=same, loaded=sorted(targets.keys() - paddle_layout(weights, base).keys()))


def evaluated_alike(shape: DecoderShape, engine: Engine, model: Any) -> dict[str, Any]:
    """What an evaluation asks, of both: log-likelihoods of texts, and texts that end where they should."""
    from adapter_conform.evaluation.model.engine_model import EngineModel
    from adapter_conform.evaluation.model.language import Text, Writing
    from adapter_conform.evaluation.model.paddlenlp_model import PaddleNLPModel

    models = (EngineModel(engine), PaddleNLPModel(paddle, model, shape.positions, None))
    tokens = tuple(int(token) for token in np.random.RandomState(5).randint(3, shape.vocabulary, 24))
    texts = [Text(tokens, 20), Text((*tokens[:-1], 5), 20), Text(tokens[:9], 1), Text(tokens[:2], 1)]
    wanted = [Writing(tokens, 20, lambda found: len(found) == 18), Writing(tokens[:3], 2, lambda found: False)]
    likelihoods = np.array([one.likelihoods(texts) for one in models])
    written = [one.write(wanted) for one in models]
    return {
        "apart": float(np.abs(likelihoods[0] / likelihoods[1] - 1).max()),
        "written": written[0],
        "same": written[0] == written[1],
    }


def dtypes() -> None:
    shape = SHAPES["llama_gqa"]
    weights = drawn_weights(shape, 0)
    for dtype in DTYPES:
        engine = Engine(paddle, shape, weights, EngineSettings(dtype, block_tokens=8))
        with session.watch() as calls:
            answers = engine.run([Request(str(i), tuple(range(3, 10 + i)), 6) for i in range(3)])
        products = {key for key in calls.total() if key.startswith(("matmul/", "block_multihead_attention/"))}
        finishes = [[output.finish for output in answer] for answer in answers.values()]
        report(f"dtype {dtype}", products=sorted(products), finishes=finishes)


faults()
for model_name, model_shape in SHAPES.items():
    like_paddlenlp(model_name, model_shape)
dtypes()
sys.stdout.flush()
os._exit(0)
