"""Requests over HTTP, and when each token came."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from adapter_conform.serving.load.workload import Arrival

__all__ = ["Seen", "ask", "run_trial"]


@dataclass
class Seen:
    """What a client saw of one request. Times are seconds since the request was due to be sent, so that a client that
    is late itself hides nothing."""

    arrival: Arrival
    status: int = 0
    error: str = ""
    tokens: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    """When each token came."""
    margins: list[float] = field(default_factory=list)
    """By how much the likeliest token led the next (log probability); where they were asked for."""
    begun: float = 0.0
    """Seconds from the beginning of the trial."""

    @property
    def ok(self) -> bool:
        return self.status == 200 and not self.error and len(self.tokens) == self.arrival.limit

    @property
    def first(self) -> float:
        return self.times[0]

    @property
    def per_token(self) -> float | None:
        """Mean seconds between two tokens; None for an answer of one."""
        return (self.times[-1] - self.times[0]) / (len(self.times) - 1) if len(self.times) > 1 else None

    @property
    def ended(self) -> float:
        return self.begun + self.times[-1]


async def ask(session: aiohttp.ClientSession, url: str, arrival: Arrival, due: float, logprobs: int = 0) -> Seen:
    """One greedy, streamed completion. ``due``: of ``time.perf_counter()``."""
    seen = Seen(arrival)
    body: dict[str, Any] = {
        "prompt": list(arrival.prompt),
        "max_tokens": arrival.limit,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
    }
    if logprobs:
        body["logprobs"] = logprobs
    try:
        async with session.post(f"{url}/v1/completions", json=body) as response:
            seen.status = response.status
            if response.status != 200:
                seen.error = (await response.text())[:500]
                return seen
            async for line in response.content:
                _take(seen, line, due)
    except (aiohttp.ClientError, asyncio.TimeoutError, ValueError) as error:
        seen.error = f"{type(error).__name__}: {error}"
    if not seen.error and len(seen.tokens) != arrival.limit:
        seen.error = f"{len(seen.tokens)} tokens came, {arrival.limit} were asked for"
    return seen


def _take(seen: Seen, line: bytes, due: float) -> None:
    if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
        return
    event = json.loads(line[len(b"data: ") :])
    if "error" in event:
        seen.error = str(event["error"]["message"])
        return
    now = time.perf_counter() - due
    for choice in event["choices"]:
        for token in choice["token_ids"]:
            seen.tokens.append(token)
            seen.times.append(now)
        if choice.get("logprobs"):
            for top in choice["logprobs"]["top_logprobs"]:
                likeliest = sorted(top.values(), reverse=True)
                seen.margins.append(likeliest[0] - likeliest[1])


async def run_trial(url: str, arrivals: Sequence[Arrival], patience: float) -> list[Seen]:
    """Sends every request when it is due, whatever has become of those before it. A request that takes longer than
    ``patience`` seconds ends with an error."""
    timeout = aiohttp.ClientTimeout(total=patience)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        begin = time.perf_counter() + 0.05

        async def one(arrival: Arrival) -> Seen:
            due = begin + arrival.at
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            seen = await ask(session, url, arrival, due)
            seen.begun = arrival.at
            return seen

        return list(await asyncio.gather(*map(one, arrivals)))
