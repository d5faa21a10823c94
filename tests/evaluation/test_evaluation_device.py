"""A small model on refchip: its answers are those of the model's definition, in every benchmark."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from _samples import WRITERS, small_model, write_lines
from adapter_conform.cli import cli
from adapter_conform.errors import UsageProblem
from adapter_conform.evaluation.benchmarks import BENCHMARKS, Question, questions_of
from adapter_conform.evaluation.conduct import Asked, Conduct, opened
from adapter_conform.evaluation.model.client import ModelClient
from adapter_conform.evaluation.model.engine_model import log_likelihood
from adapter_conform.evaluation.model.folder import find_model, load_weights
from adapter_conform.evaluation.model.language import Text, Writing, answers
from adapter_conform.evaluation.model.request import requested_model
from adapter_conform.evaluation.model.tokenizer import end_tokens, tokenizer_in
from adapter_conform.evaluation.outcomes import read_outcomes
from adapter_conform.evaluation.request import EvaluationRequest, digest_of
from adapter_conform.evaluation.sandbox import SandboxUnavailable, isolation
from adapter_conform.models.weights import Weights
from adapter_conform.serving.oracle import oracle_logits
from adapter_conform.serving.shape import DecoderShape

TOKENS = 6
"""That the model may write, here."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("model") / "small")


class Defined:
    """The model by its definition, in float64 (numpy)."""

    def __init__(self, path: Path) -> None:
        folder = find_model(path)
        self._shape = DecoderShape.from_settings(folder.settings, folder.architecture)
        self._weights = load_weights(folder)
        self.positions = self._shape.positions

    def likelihoods(self, texts: list[Text]) -> list[float]:
        found = []
        for text in texts:
            logits = oracle_logits(self._shape, self._weights, text.tokens[:-1])
            found.append(log_likelihood(logits[text.first - 1 :].astype(np.float64), text.tokens[text.first :]))
        return found

    def write(self, wanted: list[Writing]) -> list[list[int]]:
        return [self._write(writing) for writing in wanted]

    def _write(self, writing: Writing) -> list[int]:
        written: list[int] = []
        while len(written) < writing.limit and not (written and writing.ended(written)):
            logits = oracle_logits(self._shape, self._weights, [*writing.prompt, *written])[-1]
            written.append(int(logits.argmax()))
        return written


@dataclass
class Evaluated:
    questions: dict[str, list[Question]]
    asked: dict[str, Asked]
    kernels: dict[str, int]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Evaluated]:
    """Every benchmark, on one worker, two examples where there are some."""
    folder = tmp_path_factory.mktemp("evaluated")
    found = Evaluated({}, {}, {})
    request = requested_model("refchip", str(model), "engine", "float32", "none", 0, 4, 4096)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # a worker that starts in the checkout finds its parts that are not compiled
        with ModelClient(request, folder / "worker.log", 300.0) as client:
            for name, write in WRITERS.items():
                benchmark = BENCHMARKS[name]
                subjects = [replace(one, items=one.items[:1]) for one in benchmark.read(write(folder / name))]
                questions = questions_of(benchmark, subjects, min(benchmark.shots, 2), TOKENS)
                asking = EvaluationRequest(name, 2, 1, TOKENS, digest_of(questions), request)
                done = opened(folder / f"{name}-out", asking, resume=False)
                conduct = Conduct(benchmark, asking, client, folder / f"{name}-out", print)
                found.questions[name], found.asked[name] = questions, conduct.run(questions, done)
            found.kernels = dict(client.kernels)
    return found


@pytest.mark.device
@pytest.mark.parametrize("name", sorted(WRITERS))
def test_answers_are_those_of_the_definition(evaluated: Evaluated, model: Path, name: str) -> None:
    if name == "humaneval":
        try:
            isolation()
        except SandboxUnavailable as error:
            pytest.skip(str(error))
    folder = find_model(model)
    asked, tokenizer = evaluated.asked[name], tokenizer_in(folder)
    assert not asked.failures
    messages = [_message(question) for question in evaluated.questions[name]]
    for wanted in answers(Defined(model), tokenizer, end_tokens(folder), messages):
        outcome = asked.outcomes[wanted.id]
        assert outcome.likelihoods == pytest.approx(wanted.likelihoods, rel=1e-4)
        assert (outcome.text, outcome.shots, outcome.fault) == (wanted.text, wanted.shots, "")
        assert outcome.kernel_calls > 0


@pytest.mark.device
def test_the_device_did_the_work(evaluated: Evaluated) -> None:
    assert evaluated.kernels["block_multihead_attention/float32"] > 0
    assert evaluated.kernels["matmul/float32"] > 0


def _message(question: Question) -> dict[str, object]:
    from adapter_conform.evaluation.conduct import _message as made

    return made(question)


@pytest.mark.device
def test_killed_and_gone_on_with(tmp_path: Path, model: Path) -> None:
    """SIGKILL in the midst of it; what is there is not asked again; bfloat16 runs in bfloat16."""
    data, out = WRITERS["mmlu"](tmp_path / "data"), tmp_path / "out"
    arguments = ["--plugin", "refchip", "--benchmark", "mmlu", "--data", data, "--model", model, "--out", out,
                 "--precision", "bfloat16", "--batch", 1, "--shots", 1]  # fmt: skip
    command = [sys.executable, "-m", "adapter_conform", "evaluate", *map(str, arguments)]
    outcomes = out / "outcomes.jsonl"
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 500
        while not (outcomes.exists() and len(outcomes.read_bytes().split(b"\n")) > 3):
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.kill(running.pid, signal.SIGKILL)
    before = outcomes.read_bytes()
    done = subprocess.run(
        [*command, "--resume"], cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcomes.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    header, found = read_outcomes(outcomes)
    assert (len(found), header["model"]["precision"]) == (12, "bfloat16")
    assert all(one.kernel_calls > 0 for one in found.values())
    assert "12 items" in done.stdout
    summary = json.loads((out / "summary.json").read_text())
    assert summary["facts"]["device"] == "refchip:0"
    assert "matmul/float32" not in summary["facts"]["kernels"]


def test_a_model_that_does_not_fit_its_weights(tmp_path: Path, model: Path) -> None:
    settings = json.loads((model / "config.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    for part in ("model.safetensors", "tokenizer.json"):
        (other / part).write_bytes((model / part).read_bytes())
    (other / "config.json").write_text(json.dumps({**settings, "num_hidden_layers": 3}))
    with pytest.raises(UsageProblem, match=r"model\.layers\.2\.input_layernorm\.weight is missing"):
        requested_model("refchip", str(other), "engine", "float32", "none", 0, 4, 4096)
    (other / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(UsageProblem, match="no safetensors file"):
        requested_model("refchip", str(other), "engine", "float32", "none", 0, 4, 4096)


def write_bfloat16(path: Path, weights: Weights) -> None:
    """A safetensors file, byte by byte: length of the header, header, numbers."""
    header, data = {}, b""
    for name, array in weights.items():
        numbers = array.astype(ml_dtypes.bfloat16).tobytes()
        header[name] = {
            "dtype": "BF16",
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + len(numbers)],
        }
        data += numbers
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_weights_in_bfloat16_and_in_parts(tmp_path: Path, model: Path) -> None:
    whole = load_weights(find_model(model))
    other = tmp_path / "parts"
    other.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (other / name).write_bytes((model / name).read_bytes())
    names = sorted(name for name in whole if name != "lm_head.weight")  # tied
    places: dict[str, str] = {}
    for number, part in enumerate((names[:3], names[3:])):
        file = f"model-{number}.safetensors"
        write_bfloat16(other / file, {name: whole[name] for name in part})
        places |= dict.fromkeys(part, file)
    (other / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    found = load_weights(find_model(other))
    assert set(found) == set(whole)
    assert np.array_equal(found["lm_head.weight"], found["model.embed_tokens.weight"])
    assert all(np.allclose(found[name], whole[name], rtol=2**-8) for name in names)
    assert find_model(other).fingerprint != find_model(model).fingerprint
    (other / "model-0.safetensors").unlink()
    with pytest.raises(UsageProblem, match=r"model-0\.safetensors is missing"):
        find_model(other)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--model", "nowhere"), "no such folder, and no such model"),
        (("--model", "GPT-3-175B"), "is not served"),
        (("--scheme", "int3"), "--scheme int3: there are"),
        (("--backend", "paddlenlp", "--scheme", "int8"), "--backend paddlenlp knows"),
        (("--plugin", "nochip"), "nochip"),
        (("--reference", "REFERENCE"), "12 questions of --data are not in it, 1 of its own are not in --data"),
        (("--reference", "OTHER"), "is of boolq, not of mmlu"),
    ],
)
@pytest.mark.device
def test_what_cannot_be_evaluated(tmp_path: Path, model: Path, options: tuple[str, ...], says: str) -> None:
    common = [
        "evaluate",
        "--plugin",
        "refchip",
        "--benchmark",
        "mmlu",
        "--data",
        str(WRITERS["mmlu"](tmp_path / "data")),
    ]
    line = {"id": "x/0", "expected": "A", "score": 1}
    for name, benchmark in (("REFERENCE", "mmlu"), ("OTHER", "boolq")):
        write_lines(tmp_path / name, [{"format": 1, "benchmark": benchmark}, line])
    options = tuple(str(tmp_path / one) if one in ("REFERENCE", "OTHER") else one for one in options)
    with pytest.raises(UsageProblem, match=says):
        cli.main([*common, "--model", str(model), "--out", str(tmp_path / "out"), *options], standalone_mode=False)
    assert not (tmp_path / "out").exists()
