"""The HTTP server: OpenAI's completions and chat completions, health, metrics."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from adapter_conform.jsondata import compact
from adapter_conform.serving import openai
from adapter_conform.serving.backend import Backend, EngineFailed, Health
from adapter_conform.serving.metrics import CONTENT_TYPE, Metrics
from adapter_conform.serving.openai import ApiError, Job
from adapter_conform.serving.requests import Output, Refused, Request
from adapter_conform.serving.tokenizer import tokenizer_for

__all__ = ["Server"]

_STATUS = {"queue_full": 429, "too_long": 413, "invalid": 400}
_KINDS = {429: "rate_limit_error", 503: "service_unavailable_error", 404: "not_found_error"}
_CLIENT_GONE = 499
"""As web servers log it; nobody sees it."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class _Text:
    """The text of an answer as it grows, up to the first stop text."""

    job: Job
    server: Server
    shown: str = ""
    stopped: bool = False

    def __post_init__(self) -> None:
        self._decoding = self.server.tokenizer.decoding()
        self._held = ""

    def feed(self, output: Output) -> str:
        """What can be shown now. The beginning of a stop text is held back until it is known what follows."""
        final = output.finish is not None
        self._held += self._decoding.feed(output.token or 0, final)
        places = [place for place in map(self._held.find, self.job.stop) if place >= 0]
        if places:
            self.stopped = True
            ready, self._held = self._held[: min(places)], ""
        else:
            keep = 0 if final else self._overlap()
            ready = self._held[: len(self._held) - keep]
            self._held = self._held[len(ready) :]
        self.shown += ready
        return ready

    def _overlap(self) -> int:
        """Characters at the end that may begin a stop text."""
        return max(
            (n for stop in self.job.stop for n in range(1, len(stop)) if self._held.endswith(stop[:n])), default=0
        )


@dataclass
class Server:
    """Serves ``backend``. ``most_bytes``: of a request's body."""

    backend: Backend
    most_bytes: int = 1 << 20
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.model = self.backend.model.name
        self.tokenizer = tokenizer_for(self.backend.model.shape.vocabulary)

    def application(self) -> web.Application:
        app = web.Application(client_max_size=self.most_bytes, middlewares=[self._answer_errors])
        app.router.add_post("/v1/completions", self._completions)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        return app

    # ---- endpoints ----------------------------------------------------------------------------------------------

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        body = openai.parse_body(await request.read())
        return await self._serve(request, openai.completion_job(body, self.model, self.tokenizer))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = openai.parse_body(await request.read())
        return await self._serve(request, openai.chat_job(body, self.model, self.tokenizer))

    async def _models(self, _request: web.Request) -> web.StreamResponse:
        shape = self.backend.model.shape
        entry = {"id": self.model, "object": "model", "created": 0, "owned_by": "adapter-conform"}
        entry |= {"max_model_len": shape.positions, "vocabulary": shape.vocabulary}
        return web.json_response({"object": "list", "data": [entry]})

    async def _health(self, _request: web.Request) -> web.StreamResponse:
        backend = self.backend
        ready = backend.health is Health.READY
        body: dict[str, Any] = {"status": backend.health.value, "reason": backend.why, "in_flight": backend.in_flight}
        body |= {"device": backend.facts.get("device"), "weight_bytes": backend.facts.get("weight_bytes")}
        return web.json_response(body, status=200 if ready else 503)

    async def _metrics(self, _request: web.Request) -> web.StreamResponse:
        backend, gauges = self.backend, self.backend.gauges
        text = self.metrics.text(
            {
                "requests_in_flight": backend.in_flight,
                "sequences_running": gauges.get("running", 0),
                "requests_waiting": gauges.get("waiting", 0),
                "cache_blocks_used": gauges.get("blocks_used", 0),
                "cache_blocks": backend.facts.get("blocks", 0),
                "engine_ready": backend.health is Health.READY,
                "engine_steps": gauges.get("steps", 0),
                "engine_failures": backend.all_failures,
            }
        )
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})

    # ---- answers ------------------------------------------------------------------------------------------------

    async def _serve(self, request: web.Request, job: Job) -> web.StreamResponse:
        begin = time.perf_counter()
        self._check_length(job.request)
        outputs: list[Output] = []
        text = _Text(job, self)
        response: web.StreamResponse | None = None
        async with contextlib.aclosing(self.backend.answer(job.request)) as answer:
            try:
                async for output in answer:
                    if not outputs:
                        self.metrics.first_token.observe(time.perf_counter() - begin)
                        first_at = time.perf_counter()
                    outputs.append(output)
                    ready = text.feed(output)
                    if text.stopped:
                        output = outputs[-1] = _stopped(output)
                    if job.stream:
                        response = response or await self._open_stream(request)
                        await _send(response, openai.chunk(job, ready, output, len(outputs) == 1))
                    if text.stopped:
                        break
            except EngineFailed as error:
                if response is None:
                    raise
                # The status has gone out: all that can be told is told in the stream.
                await _send(response, openai.error_body(str(error), _KINDS[503]))
                await response.write_eof()
                return response
        self._book(job, outputs, first_at)
        if response is None:
            return web.json_response(openai.whole(job, text.shown, outputs))
        if job.usage:
            await _send(response, openai.usage_event(job, outputs))
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    def _check_length(self, request: Request) -> None:
        """Before the engine does, so that a request is refused even where the engine is not ready."""
        most = self.backend.model.shape.positions
        asked = len(request.prompt)
        if asked + request.limit > most:
            message = f"{asked} tokens of a prompt and {request.limit} to generate; the model has {most} positions"
            raise ApiError(413, message, parameter="max_tokens" if asked < most else "prompt")

    def _book(self, job: Job, outputs: list[Output], first_at: float) -> None:
        if len(outputs) > 1:
            self.metrics.per_token.observe((time.perf_counter() - first_at) / (len(outputs) - 1))
        self.metrics.prompt_tokens.inc(len(job.request.prompt))
        self.metrics.generated_tokens.inc(len(outputs))
        self.metrics.shared_tokens.inc(outputs[0].shared)

    @staticmethod
    async def _open_stream(request: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        return response

    # ---- errors -------------------------------------------------------------------------------------------------

    @web.middleware
    async def _answer_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        status = 500
        try:
            response = await handler(request)
            status = response.status
            return response
        except ApiError as error:
            status = error.status
            return _error(status, str(error), error.kind, error.parameter)
        except Refused as refusal:
            status = _STATUS[refusal.reason]
            return _error(status, str(refusal), _KINDS.get(status, "invalid_request_error"))
        except EngineFailed as error:
            status = 503
            return _error(status, str(error), _KINDS[503])
        except web.HTTPException as error:
            status = error.status
            message = error.text or error.reason or "error"
            if status == 413:
                message = f"the body is larger than {self.most_bytes} bytes"
            return _error(status, message, _KINDS.get(status, "invalid_request_error"))
        except (asyncio.CancelledError, ConnectionError):
            status = _CLIENT_GONE
            raise
        finally:
            known = request.match_info.http_exception is None
            self.metrics.requests.labels(request.path if known else "other", status).inc()


def _stopped(output: Output) -> Output:
    return replace(output, finish="stop")


async def _send(response: web.StreamResponse, data: dict[str, object]) -> None:
    await response.write(f"data: {compact(data)}\n\n".encode())


def _error(status: int, message: str, kind: str, parameter: str | None = None) -> web.Response:
    headers = {"Retry-After": "1"} if status in (429, 503) else None
    return web.json_response(openai.error_body(message, kind, parameter), status=status, headers=headers)
