"""Serving a language model on a device: continuous batching over a cache of keys and values in blocks.

From the outside in::

    server     HTTP, OpenAI-compatible: validates, streams, counts          no Paddle, aiohttp
    backend    the engine's process: starts it, restarts it, routes tokens  no Paddle, asyncio
    worker     that process: reads requests, steps the engine, answers
    engine     one step: who takes part, logits, tokens                     Paddle from here on
    scheduler  requests that wait and sequences that run, and their blocks  no Paddle
    decoder    the forward pass on the device
    sampling   tokens from logits

The server and the device live in two processes, so that nothing the device does can take a request away without an
answer.
"""
