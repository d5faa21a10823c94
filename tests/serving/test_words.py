"""Text, tokens and commands: everything around the engine that needs no device."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from adapter_conform.cli import cli
from adapter_conform.errors import UsageProblem
from adapter_conform.serving.engine import EngineSettings
from adapter_conform.serving.launch import chosen_model
from adapter_conform.serving.openai import ApiError, chat_job, completion_job
from adapter_conform.serving.requests import Output, Request
from adapter_conform.serving.sampling import seed_of
from adapter_conform.serving.shape import DecoderShape, drawn_weights, require_weights
from adapter_conform.serving.tokenizer import ByteTokenizer, CharacterTokenizer, Tokenizer, tokenizer_for
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st


def decoded(tokenizer: Tokenizer, tokens: list[int]) -> str:
    decoding = tokenizer.decoding()
    return "".join(decoding.feed(token, place == len(tokens) - 1) for place, token in enumerate(tokens))


@settings(max_examples=30, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_bytes_there_and_back(text: str) -> None:
    assert decoded(ByteTokenizer(), ByteTokenizer().encode(text)) == text


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 299)))
def test_any_tokens_can_be_shown(tokens: list[int]) -> None:
    assert isinstance(decoded(ByteTokenizer(), tokens), str)


def test_characters_where_bytes_do_not_fit() -> None:
    tokenizer = tokenizer_for(128)
    assert isinstance(tokenizer, CharacterTokenizer)
    assert isinstance(tokenizer_for(259), ByteTokenizer)
    tokens = tokenizer.encode("Zo? £")
    assert max(tokens) < 128
    assert decoded(tokenizer, [0, 1, *tokens, 2]) == "Zo? £"
    with pytest.raises(ValueError, match="no token for '漢'"):
        tokenizer.encode("漢")


def test_a_job() -> None:
    job = completion_job({"prompt": [5, 6], "max_tokens": 3, "seed": -4, "top_p": 0.5}, "m", ByteTokenizer())
    assert job.request == Request(job.request.id, (5, 6), 3, 1.0, 0.5, -4, (2,))
    assert Request.from_json(json.loads(json.dumps(job.request.to_json()))) == job.request
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}], "ignore_eos": True}
    chat = chat_job(body, "m", ByteTokenizer())
    assert bytes(token - 3 for token in chat.request.prompt) == b"user: a\nassistant: "
    assert chat.request.stop == ()


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"logprobs": 21}, "logprobs"),
        ({"stream": 1}, "stream"),
        ({"stream_options": [1]}, "stream_options"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"best_of": 3}, "best_of"),
        ({"seed": 2**64}, "seed"),
        ({"top_p": 1.5}, "top_p"),
    ],
)
def test_the_field_at_fault_is_named(body: dict[str, Any], parameter: str) -> None:
    with pytest.raises(ApiError) as error:
        completion_job({"prompt": "a", **body}, "m", ByteTokenizer())
    assert (error.value.status, error.value.parameter) == (400, parameter)


def test_seeds_differ_by_request_and_position() -> None:
    seeds = {seed_of(seed, position) for seed in range(-20, 20) for position in range(50)}
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_weights_that_do_not_fit_are_all_listed() -> None:
    shape = DecoderShape(qkv_bias=True)
    weights = drawn_weights(shape, 0)
    require_weights(shape, weights)
    del weights["lm_head.weight"]
    weights["extra"] = weights["model.norm.weight"]
    weights["model.norm.weight"] = weights["model.norm.weight"][:5]
    with pytest.raises(ValueError, match="do not fit") as error:
        require_weights(shape, weights)
    assert "lm_head.weight is missing" in str(error.value)
    assert "extra is unknown" in str(error.value)
    assert "model.norm.weight is [5], not [128]" in str(error.value)


@pytest.mark.device
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "LLaMA1-14B"}, "there are LLaMA1-13B"),
        ({"name": "SD"}, "'stable_diffusion' is not served"),
        ({"scheme": "int7"}, "there are none, int8"),
    ],
)
def test_choices_that_are_none(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageProblem, match=words):
        chosen_model("refchip", EngineSettings(), **options)


@pytest.mark.device
@pytest.mark.parametrize("text", ["[", "[]", '{"model_type": "llama"}', '{"model_type": "mamba"}'])
def test_configurations_that_are_none(tmp_path: Path, text: str) -> None:
    config = tmp_path / "config.json"
    config.write_text(text)
    with pytest.raises(UsageProblem):
        chosen_model("refchip", EngineSettings(), config=config)


@pytest.mark.device
def test_a_configuration_as_on_hugging_face(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**DecoderShape().settings(), "model_type": "qwen2"}))
    assert chosen_model("refchip", EngineSettings(), config=config).shape == DecoderShape(qkv_bias=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve"], "Missing option '--plugin'"),
        (["serve", "--plugin", "x", "--batch", "0"], "--batch"),
        (["bench-serve"], "say either which plugin"),
        (["bench-serve", "--plugin", "x", "--url", "y"], "say either which plugin"),
    ],
)
def test_usage(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert words in result.output


def test_help_has_examples() -> None:
    for name in ("serve", "bench-serve"):
        output = CliRunner().invoke(cli, [name, "--help"]).output
        assert f"adapter-conform {name} --plugin refchip" in output
        assert "Exit codes" in output


@pytest.mark.device
def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = ["-m", "adapter_conform", "serve", "--plugin", "refchip", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
        )
    assert done.returncode == 2
    assert "cannot listen at 127.0.0.1" in done.stderr


def test_outputs_travel_whole() -> None:
    output = Output("a", 5, None, "", 3, -0.5, ((5, -0.5), (6, -1.0)))
    data = json.loads(json.dumps(asdict(output)))
    assert Output(**{**data, "top": tuple(map(tuple, data["top"]))}) == output
