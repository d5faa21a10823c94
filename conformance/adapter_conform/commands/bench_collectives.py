"""``adapter-conform bench-collectives``: bandwidth of a plugin's collectives by nccl-tests' formulas."""

from __future__ import annotations

import json
import os
import statistics
from pathlib import Path
from typing import Any

import click

from adapter_conform.collectives.bandwidth import FACTORS, bus_bandwidth
from adapter_conform.collectives.crew import Crew, CrewLost
from adapter_conform.errors import ConformError

__all__ = ["command"]

_SMALLEST, _LARGEST = 2**10, 2**30
_UNITS = {"K": 10, "M": 20, "G": 30}
_SECONDS_PER_SIZE = 0.3
"""Roughly; so many calls make up a round that it is neither noise nor tedious."""

_EPILOG = """\b
Examples:
  adapter-conform bench-collectives --plugin refchip --ranks 2
  REFCHIP_CARDS=4 adapter-conform bench-collectives --plugin refchip --ranks 2,4 --operations all_reduce \\
      --sizes 64K,1M,16M --json bandwidth.json

\b
algbw = S / t and busbw = algbw * factor, in GB/s (10^9 bytes); S is the size of the larger side, t the median of
ROUNDS, the slowest rank counting. Factors for n ranks: all_reduce 2(n-1)/n; all_gather, reduce_scatter and alltoall
(n-1)/n; broadcast and reduce 1. Every rank takes a card of its own. Exit codes: 0 measured, 2 usage error,
3 the ranks could not be started or did not answer.
"""


def _sizes(_context: click.Context, _option: click.Parameter, text: str) -> list[int]:
    return [_size(word) for word in text.split(",")]


def _size(word: str) -> int:
    digits, unit = (word[:-1], word[-1].upper()) if word and word[-1].upper() in _UNITS else (word, "")
    if not digits.isdigit() or not _SMALLEST <= int(digits) << _UNITS.get(unit, 0) <= _LARGEST:
        raise click.BadParameter(f"{word!r} is no size from 1K to 1G, such as 65536, 64K or 16M.")
    return int(digits) << _UNITS.get(unit, 0)


def _ranks(_context: click.Context, _option: click.Parameter, text: str) -> list[int]:
    words = text.split(",")
    if not all(word.isdigit() and 2 <= int(word) <= 64 for word in words):
        raise click.BadParameter(f"{text!r} is no list of numbers from 2 to 64, such as 2,4.")
    return [int(word) for word in words]


def _operations(_context: click.Context, _option: click.Parameter, text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in FACTORS]
    if unknown:
        raise click.BadParameter(f"unknown {', '.join(unknown)}; known are {', '.join(FACTORS)}.")
    return names


@click.command(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--plugin", metavar="NAME", required=True, help="The device plugin, see `adapter-sdk devices`.")
@click.option("--ranks", default="2", show_default=True, metavar="N[,N]", callback=_ranks, help="Processes.")
@click.option(
    "--operations",
    default=",".join(FACTORS),
    show_default=True,
    metavar="NAMES",
    callback=_operations,
    help="Joined by commas.",
)
@click.option("--sizes", default="64K,1M,16M,64M", show_default=True, metavar="SIZES", callback=_sizes, help="Bytes.")
@click.option("--dtype", type=click.Choice(["float32", "float16", "int8"]), default="float32", show_default=True)
@click.option("--rounds", type=click.IntRange(1, 100), default=5, show_default=True, help="The median counts.")
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write the figures here."
)
def command(
    plugin: str,
    ranks: list[int],
    operations: list[str],
    sizes: list[int],
    dtype: str,
    rounds: int,
    json_file: Path | None,
) -> None:
    """Measures the bandwidth of a plugin's collectives."""
    _require(plugin, max(ranks))
    rows: list[dict[str, Any]] = []
    for count in ranks:
        click.echo(f"{plugin}, {count} ranks, {dtype}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        click.echo(f"{'operation':16}{'bytes':>12}{'time us':>12}{'algbw GB/s':>12}{'busbw GB/s':>12}")
        rows += _measure(plugin, count, operations, sizes, dtype, rounds)
    if json_file is not None:
        json_file.write_text(json.dumps(rows, indent=1) + "\n")


def _require(plugin: str, ranks: int) -> None:
    import adapter_sdk
    from adapter_sdk.errors import AdapterError

    try:
        loaded = adapter_sdk.load(plugin)
    except AdapterError as error:
        raise click.UsageError(str(error)) from error
    if loaded.collectives is None:
        raise click.UsageError(f"plugin {plugin!r} declares no collectives (hook adapter_collectives)")
    if loaded.device.cards < ranks:
        raise click.UsageError(f"{ranks} ranks take {ranks} cards, this machine has {loaded.device.cards}")


def _measure(
    plugin: str, ranks: int, operations: list[str], sizes: list[int], dtype: str, rounds: int
) -> list[dict[str, Any]]:
    rows = []
    try:
        crew = Crew(plugin, ranks, 0, os.environ)
    except CrewLost as error:
        raise ConformError(f"no {ranks} ranks could be started: {error}") from error
    try:
        for operation in operations:
            for size in sizes:
                seconds = _time(crew, operation, size, dtype, rounds)
                algorithm, bus = bus_bandwidth(operation, ranks, size, seconds)
                click.echo(f"{operation:16}{size:12}{seconds * 1e6:12.1f}{algorithm:12.3f}{bus:12.3f}")
                rows.append(
                    {"operation": operation, "ranks": ranks, "bytes": size, "dtype": dtype}
                    | {"seconds": seconds, "algbw": algorithm, "busbw": bus}
                )
    finally:
        crew.dismiss()
    return rows


def _time(crew: Crew, operation: str, size: int, dtype: str, rounds: int) -> float:
    """Seconds of a call: the median over rounds of the slowest rank."""
    job = {"type": "bandwidth", "operation": operation, "size": size, "dtype": dtype, "rounds": 1, "calls": 1}
    first = max(_ask(crew, job)[0])
    calls = max(2, min(200, int(_SECONDS_PER_SIZE / max(first, 1e-6))))
    answers = _ask(crew, {**job, "rounds": rounds, "calls": calls})
    return statistics.median(answers[0])


def _ask(crew: Crew, job: dict[str, Any]) -> list[list[float]]:
    answers = crew.run(job, 300)
    faults = [str(answer.get("error", answer.get("ended"))) for answer in answers.values() if "seconds" not in answer]
    if faults or len(answers) < crew.ranks:
        raise ConformError(
            f"{job['operation']} of {job['size']} bytes: {'; '.join(faults) or 'no answer'}\n{crew.logs()}"
        )
    by_rank = [list(map(float, answer["seconds"])) for answer in answers.values()]
    return [[max(times) for times in zip(*by_rank, strict=True)]]
