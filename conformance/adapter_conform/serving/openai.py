"""The requests and answers of OpenAI's API, as far as they are served: checked, and turned into the engine's."""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapter_conform.serving.requests import Output, Request
from adapter_conform.serving.tokenizer import END, Tokenizer

__all__ = ["ApiError", "Job", "chat_job", "chunk", "completion_job", "error_body", "parse_body", "whole"]

_MOST_LOGPROBS = 20
_ROLES = ("system", "developer", "user", "assistant", "tool")
_DEFAULT_TOKENS = 16
"""Of a completion that does not say how many, as in OpenAI's API."""

_KNOWN = {
    *("model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed"),
    *("stop", "n", "user", "ignore_eos", "logprobs", "top_logprobs", "prompt", "messages", "echo", "best_of"),
    *("presence_penalty", "frequency_penalty", "suffix", "store", "metadata"),
}
_ONLY = {"n": 1, "best_of": 1, "echo": False, "presence_penalty": 0, "frequency_penalty": 0, "suffix": None}
"""Options that are served with one value."""


class ApiError(Exception):
    """An answer that is an error. ``kind`` is OpenAI's type, ``parameter`` the field at fault."""

    def __init__(self, status: int, message: str, kind: str = "invalid_request_error", parameter: str | None = None):
        super().__init__(message)
        self.status, self.kind, self.parameter = status, kind, parameter


@dataclass(frozen=True)
class Job:
    """A request that has been understood."""

    request: Request
    chat: bool
    stream: bool
    usage: bool
    """Whether a stream ends with the count of tokens."""
    stop: tuple[str, ...]
    """Texts that end the answer and are not part of it."""
    model: str
    created: int


def parse_body(raw: bytes) -> dict[str, Any]:
    """Raises ApiError for anything but a JSON object."""
    try:
        body = json.loads(raw)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ApiError(400, f"the body is not JSON: {error}") from error
    except RecursionError as error:
        raise ApiError(400, "the body is not JSON that can be read: it is nested too deeply") from error
    if not isinstance(body, dict):
        raise ApiError(400, f"the body is a JSON {type(body).__name__}, not an object")
    return body


def completion_job(body: Mapping[str, Any], model: str, tokenizer: Tokenizer) -> Job:
    """From the body of POST /v1/completions.

    Raises:
        ApiError: it is malformed (400), or for another model (404).
    """
    prompt = _prompt(body, tokenizer)
    count = _integer(body, "logprobs", None, 0, _MOST_LOGPROBS)
    return _job(body, model, prompt, False, count or 0)


def chat_job(body: Mapping[str, Any], model: str, tokenizer: Tokenizer) -> Job:
    """From the body of POST /v1/chat/completions. A conversation becomes one text, a line a message."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise ApiError(400, "messages has to be a list of at least one message", parameter="messages")
    lines = [f"{role}: {content}\n" for role, content in map(_message, messages)]
    prompt = _encoded("".join(lines) + "assistant: ", tokenizer, "messages")
    wanted = _boolean(body, "logprobs")
    count = _integer(body, "top_logprobs", 1 if wanted else 0, 0, _MOST_LOGPROBS)
    return _job(body, model, prompt, True, max(1, count or 0) if wanted else 0)


def _message(message: Any) -> tuple[str, str]:
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise ApiError(400, f"a message is an object with a role, one of {', '.join(_ROLES)}", parameter="messages")
    content = message.get("content")
    if isinstance(content, list) and all(isinstance(p, dict) and p.get("type") == "text" for p in content):
        content = "".join(str(part.get("text", "")) for part in content)
    if not isinstance(content, str):
        raise ApiError(400, "the content of a message has to be text", parameter="messages")
    return message["role"], content


def _prompt(body: Mapping[str, Any], tokenizer: Tokenizer) -> tuple[int, ...]:
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], (str, list)):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return _encoded(prompt, tokenizer, "prompt")
    if isinstance(prompt, list) and prompt and all(type(token) is int for token in prompt):
        return tuple(prompt)
    raise ApiError(400, "prompt has to be one text or one list of at least one token", parameter="prompt")


def _encoded(text: str, tokenizer: Tokenizer, parameter: str) -> tuple[int, ...]:
    try:
        tokens = tokenizer.encode(text)
    except ValueError as error:
        raise ApiError(400, str(error), parameter=parameter) from error
    if not tokens:
        raise ApiError(400, f"{parameter} is empty", parameter=parameter)
    return tuple(tokens)


def _job(body: Mapping[str, Any], model: str, prompt: tuple[int, ...], chat: bool, logprobs: int) -> Job:
    _check_options(body)
    if body.get("model", model) != model:
        message = f"there is no model {str(body['model'])[:100]!r} here; served is {model!r}"
        raise ApiError(404, message, "not_found_error", "model")
    limit = _integer(body, "max_tokens", None, 1, 2**31)
    limit = _integer(body, "max_completion_tokens", limit, 1, 2**31) or _DEFAULT_TOKENS
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise ApiError(400, "stream_options has to be an object", parameter="stream_options")
    seed = _integer(body, "seed", None, -(2**63), 2**63 - 1)
    request = Request(
        id=("chatcmpl-" if chat else "cmpl-") + uuid.uuid4().hex,
        prompt=prompt,
        limit=limit,
        temperature=_number(body, "temperature", 1.0, 0.0, 2.0),
        top_p=_number(body, "top_p", 1.0, 0.0, 1.0),
        seed=uuid.uuid4().int >> 66 if seed is None else seed,
        stop=() if _boolean(body, "ignore_eos") else (END,),
        logprobs=logprobs,
    )
    usage = bool(options.get("include_usage"))
    return Job(request, chat, _boolean(body, "stream"), usage, _stops(body), model, int(time.time()))


def _check_options(body: Mapping[str, Any]) -> None:
    unknown = sorted(body.keys() - _KNOWN)
    if unknown:
        raise ApiError(400, f"unknown field {unknown[0]!r}", parameter=unknown[0])
    for name, value in _ONLY.items():
        if name in body and body[name] not in (value, None):
            raise ApiError(400, f"{name} is served with {json.dumps(value)} alone", parameter=name)


def _stops(body: Mapping[str, Any]) -> tuple[str, ...]:
    stop = body.get("stop")
    texts = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(texts, list) or len(texts) > 4 or not all(isinstance(t, str) and t for t in texts):
        raise ApiError(400, "stop has to be a text or a list of up to four", parameter="stop")
    return tuple(texts)


def _boolean(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise ApiError(400, f"{name} has to be true or false", parameter=name)
    return bool(value)


def _integer(body: Mapping[str, Any], name: str, default: int | None, low: int, high: int) -> int | None:
    value = body.get(name)
    if value is None:
        return default
    if type(value) is not int or not low <= value <= high:
        raise ApiError(400, f"{name} has to be a whole number from {low} to {high}", parameter=name)
    return value


def _number(body: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ApiError(400, f"{name} has to be a number", parameter=name)
    if not low <= value <= high:
        raise ApiError(400, f"{name} has to be from {low:g} to {high:g}", parameter=name)
    return float(value)


# ---- answers --------------------------------------------------------------------------------------------------------


def error_body(message: str, kind: str, parameter: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": parameter, "code": None}}


def chunk(job: Job, text: str, output: Output, first: bool) -> dict[str, Any]:
    """One event of a stream."""
    if job.chat:
        delta = {"role": "assistant", "content": text} if first else {"content": text}
        choice: dict[str, Any] = {"index": 0, "delta": delta}
        name = "chat.completion.chunk"
    else:
        choice, name = {"index": 0, "text": text}, "text_completion"
    choice |= {"finish_reason": output.finish, "logprobs": _logprobs(job, [output]), "token_ids": _ids([output])}
    return {**_head(job, name), "choices": [choice]}


def whole(job: Job, text: str, outputs: Sequence[Output]) -> dict[str, Any]:
    """A whole answer."""
    content: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if job.chat else {"text": text}
    finish = outputs[-1].finish if outputs else None
    choice = {"index": 0, **content, "finish_reason": finish, "logprobs": _logprobs(job, outputs)}
    choice["token_ids"] = _ids(outputs)
    name = "chat.completion" if job.chat else "text_completion"
    return {**_head(job, name), "choices": [choice], "usage": usage_of(job, outputs)}


def usage_of(job: Job, outputs: Sequence[Output]) -> dict[str, Any]:
    asked, given = len(job.request.prompt), len(outputs)
    shared = outputs[0].shared if outputs else 0
    return {
        "prompt_tokens": asked,
        "completion_tokens": given,
        "total_tokens": asked + given,
        "prompt_tokens_details": {"cached_tokens": shared},
    }


def usage_event(job: Job, outputs: Sequence[Output]) -> dict[str, Any]:
    name = "chat.completion.chunk" if job.chat else "text_completion"
    return {**_head(job, name), "choices": [], "usage": usage_of(job, outputs)}


def _head(job: Job, name: str) -> dict[str, Any]:
    return {"id": job.request.id, "object": name, "created": job.created, "model": job.model}


def _ids(outputs: Sequence[Output]) -> list[int]:
    """An extension: text does not tell tokens apart that no text stands for."""
    return [output.token for output in outputs if output.token is not None]


def _logprobs(job: Job, outputs: Sequence[Output]) -> dict[str, Any] | None:
    if not job.request.logprobs:
        return None
    if job.chat:
        entries = [
            {
                "token": str(o.token),
                "logprob": o.logprob,
                "top_logprobs": [{"token": str(t), "logprob": p} for t, p in o.top],
            }
            for o in outputs
        ]
        return {"content": entries}
    return {
        "tokens": [str(o.token) for o in outputs],
        "token_logprobs": [o.logprob for o in outputs],
        "top_logprobs": [{str(t): p for t, p in o.top} for o in outputs],
    }
