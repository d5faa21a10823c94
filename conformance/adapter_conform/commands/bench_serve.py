"""``adapter-conform bench-serve``: how many requests a second a device bears."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console

from adapter_conform.states import ExitCode

__all__ = ["command"]

_EPILOG = """\b
Examples:
  adapter-conform bench-serve --plugin refchip
  adapter-conform bench-serve --plugin refchip --dtype bfloat16 --scheme int8 --seconds 60 --json serving.json
  adapter-conform bench-serve --plugin refchip --serve "--model Qwen2-14B --batch 32" --prompt-tokens exp:32:90
  adapter-conform bench-serve --url http://127.0.0.1:8000 --rate 20

\b
Requests arrive as a Poisson process, seeded; each is a greedy completion of a prompt of random tokens. The rate is
raised as long as every request is answered and mean and p99 of the time to the first token stay within --limit. Times
count from when a request was due. Figures have 95% bootstrap intervals; p99 of few samples is their maximum, so use
long trials for a figure to be quoted. Some requests of the best trial are then asked for again, one at a time: their
tokens have to be the same, but where alone the likeliest led the next by no more than --tie (log probability): 1e-5
for float32, 0.002 for float16, 0.016 for bfloat16, about what rounding a logit near 1 may change.
QPS/TFLOPS needs the device's declared peak for --dtype, or --peak-tflops.
Exit codes: 0 measured, 1 answers under load differ from those alone, 2 usage error, 3 no rate was borne, or the server
could not be started.
"""


@click.command(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--plugin", metavar="NAME", help="The device plugin; a server is started for it.")
@click.option("--url", help="A server that runs already, instead.")
@click.option("--serve", "serve_options", default="", metavar="OPTIONS", help="More options of `serve`.")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), default="float32", show_default=True)
@click.option("--scheme", default="none", show_default=True, help="Quantization, see `serve`.")
@click.option("--prompt-tokens", default="8-64", show_default=True, metavar="LENGTHS", help="N, N-M or exp:MEAN:MOST.")
@click.option("--output-tokens", default="4-32", show_default=True, metavar="LENGTHS", help="Likewise.")
@click.option("--shared-tokens", type=click.IntRange(0), default=0, show_default=True, help="All prompts begin alike.")
@click.option("--seconds", type=click.FloatRange(1), default=20.0, show_default=True, help="Of a trial, at least.")
@click.option("--limit", type=click.FloatRange(0.001), default=1.0, show_default=True, help="Seconds to first token.")
@click.option("--rate", type=click.FloatRange(0.01), help="Requests a second to begin with.  [default: by capacity]")
@click.option("--trials", type=click.IntRange(1, 50), default=10, show_default=True, help="At most.")
@click.option("--verify", type=click.IntRange(0), default=24, show_default=True, help="Requests to repeat alone.")
@click.option("--tie", type=click.FloatRange(0), help="Lead that decides nothing.  [default: by --dtype]")
@click.option("--peak-tflops", type=click.FloatRange(0, min_open=True), help="Of the device, for --dtype.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write all here.")
@click.option("--html", "html_file", type=click.Path(dir_okay=False, path_type=Path), help="And a page with a chart.")
@click.pass_context
def command(
    context: click.Context,
    plugin: str | None,
    url: str | None,
    serve_options: str,
    dtype: str,
    scheme: str,
    prompt_tokens: str,
    output_tokens: str,
    shared_tokens: int,
    seconds: float,
    limit: float,
    rate: float | None,
    trials: int,
    verify: int,
    tie: float | None,
    peak_tflops: float | None,
    seed: int,
    json_file: Path | None,
    html_file: Path | None,
) -> None:
    """Searches the highest rate of requests at which the first token comes in time."""
    import asyncio

    from adapter_conform.serving.load.equality import TIES
    from adapter_conform.serving.load.report import print_result, result_of
    from adapter_conform.serving.load.run import Options, measure

    if (plugin is None) == (url is None):
        raise click.UsageError(
            "say either which plugin to serve with, --plugin NAME, or which server to ask, --url URL"
        )
    options = Options(
        plugin=plugin,
        url=url,
        serve=(*("--dtype", dtype, "--scheme", scheme), *serve_options.split()),
        prompts=prompt_tokens,
        answers=output_tokens,
        shared=shared_tokens,
        seconds=seconds,
        limit=limit,
        rate=rate,
        trials=trials,
        verify=verify,
        tie=TIES[dtype] if tie is None else tie,
        seed=seed,
    )
    console = Console(highlight=False, soft_wrap=True)
    measured = asyncio.run(measure(options, console.print))
    result = result_of(options, measured, dtype, peak_tflops)
    print_result(console, result)
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=1) + "\n")
    if html_file is not None:
        from adapter_conform.serving.load.page import page

        html_file.write_text(page(result), encoding="utf-8")
    if measured.equality is not None and not measured.equality.holds:
        context.exit(int(ExitCode.NOT_CONFORMANT))
    context.exit(int(ExitCode.CONFORMANT if measured.found.best is not None else ExitCode.INCONCLUSIVE))
