"""The result of `bench-serve`, as data and on the terminal."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from adapter_conform.serving.load.bench import Measured
from adapter_conform.serving.load.run import Options

__all__ = ["FORMAT", "print_result", "result_of"]

FORMAT = 1


def result_of(options: Options, measured: Measured, dtype: str, peak_tflops: float | None) -> dict[str, Any]:
    """Everything, in a form that JSON has; an infinite rate is None."""
    peak, source = (peak_tflops, "given") if peak_tflops is not None else _declared_peak(options.plugin, dtype)
    data = measured.to_json()
    data["capacity"]["rate"] = None
    best = measured.found.best
    return {
        "format": FORMAT,
        "options": asdict(options),
        "dtype": dtype,
        "machine": {"processor": platform.processor(), "cpus": os.cpu_count(), "load": os.getloadavg()[0]},
        **data,
        "peak_tflops": peak,
        "peak_source": source,
        "qps_per_tflops": None if peak is None or best is None else best.qps / peak,
    }


def _declared_peak(plugin: str | None, dtype: str) -> tuple[float | None, str]:
    if plugin is None:
        return None, ""
    import adapter_sdk

    peaks = {peak.dtype: peak.tflops for peak in adapter_sdk.load(plugin).device.peaks}
    return (peaks[dtype], "declared by the plugin") if dtype in peaks else (None, "")


def print_result(console: Console, result: dict[str, Any]) -> None:
    best = result["best"]
    if best is None:
        console.print("[bold red]no rate was borne[/]")
        return
    table = Table(title=f"highest rate with the first token within {best['limit']:g} s", title_justify="left")
    for name in ("", "value", "95% interval", "samples"):
        table.add_column(name, justify="left" if not name else "right")
    table.add_row("requests/s sent", f"{best['rate']:.2f}", "", str(best["sent"]))
    table.add_row("requests/s answered (QPS)", f"{best['qps']:.2f}", "", str(best["answered"]))
    if result["qps_per_tflops"] is not None:
        why = f"{result['peak_tflops']:g} TFLOPS {result['peak_source']}"
        table.add_row("QPS/TFLOPS", f"{result['qps_per_tflops']:.3f}", why, "")
    table.add_row("tokens/s", f"{best['tokens_per_second']:.1f}", "", "")
    for key, title in (
        ("first_mean", "time to first token, mean, ms"),
        ("first_p99", "time to first token, p99, ms"),
        ("per_token", "time per output token, mean, ms"),
    ):
        figure = best.get(key)
        if isinstance(figure, dict):
            interval = f"{figure['low'] * 1e3:.2f} to {figure['high'] * 1e3:.2f}"
            table.add_row(title, f"{figure['value'] * 1e3:.2f}", interval, str(figure["samples"]))
    console.print(table)
    equality = result["equality"]
    if equality is not None:
        words = "the same tokens as alone" if equality["holds"] else "[bold red]NOT the same as alone[/]"
        console.print(f"{equality['compared']} answers, {equality['tokens']} tokens: {words}; ties {equality['ties']}")
        for line in equality["differences"][:10]:
            console.print(f"  {line}", markup=False)
