"""``adapter-conform serve``: a model behind HTTP, on a plugin's device."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]

_EPILOG = """\b
Examples:
  adapter-conform serve --plugin refchip
  adapter-conform serve --plugin refchip --model Qwen2-14B --dtype bfloat16 --scheme int8 --port 8080
  adapter-conform serve --plugin refchip --config config.json --weights model.safetensors
  curl http://127.0.0.1:8000/v1/completions -d '{"prompt": "Hello", "max_tokens": 8, "stream": true}'

\b
Endpoints: POST /v1/completions and /v1/chat/completions (OpenAI's; stream by server-sent events), GET /v1/models,
/health, /metrics (Prometheus). Errors: 400 malformed, 404 no such model, 413 too long, 429 too many wait,
503 the device failed; the engine is then started anew. Weights are those of a safetensors file with Hugging Face's
names, or drawn from the seed: then the model talks nonsense, at the speed of sense. Text becomes tokens byte by byte,
or character by character where the vocabulary is smaller; a prompt may also be a list of tokens.
Exit codes: 0 stopped by a signal, 2 usage error, 3 the engine could not be started.
"""


@click.command(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--plugin", metavar="NAME", required=True, help="The device plugin, see `adapter-sdk devices`.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free one.")
@click.option("--model", metavar="NAME", help="A model of the standard, as a proxy; default: a small LLaMA.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A config.json as on Hugging Face, of a llama or qwen2.",
)
@click.option("--weights", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A safetensors file.")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), default="float32", show_default=True)
@click.option("--scheme", default="none", show_default=True, metavar="NAME", help="Quantization of the linear layers.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of weights that are drawn.")
@click.option("--batch", type=click.IntRange(1, 1024), default=16, show_default=True, help="Sequences of a step.")
@click.option("--queue", type=click.IntRange(0), default=64, show_default=True, help="Requests that may wait.")
@click.option("--blocks", type=click.IntRange(0), default=0, show_default=True, help="Of the cache; 0: by --batch.")
@click.option("--block-tokens", type=click.IntRange(1, 256), default=16, show_default=True, help="Tokens of a block.")
@click.option("--share-prefixes/--no-share-prefixes", default=True, show_default=True, help="Reuse what is cached.")
@click.option("--step-limit", type=click.FloatRange(1), default=120.0, show_default=True, help="Seconds of a step.")
def command(
    plugin: str,
    host: str,
    port: int,
    model: str | None,
    config: Path | None,
    weights: Path | None,
    dtype: str,
    scheme: str,
    seed: int,
    batch: int,
    queue: int,
    blocks: int,
    block_tokens: int,
    share_prefixes: bool,
    step_limit: float,
) -> None:
    """Serves a language model on a plugin's device, with continuous batching over a paged cache."""
    from adapter_conform.serving.engine import EngineSettings
    from adapter_conform.serving.launch import chosen_model, serve
    from adapter_conform.serving.scheduler import Limits

    settings = EngineSettings(
        dtype=dtype,
        block_tokens=block_tokens,
        blocks=blocks,
        share_prefixes=share_prefixes,
        limits=Limits(most_running=batch, most_waiting=queue),
    )
    chosen = chosen_model(plugin, settings, model, config, weights, seed, scheme)
    serve(chosen, host, port, step_limit)
