"""Writes what ``operators.py`` records: the operator suite's own cases, with what the float64 oracle says of each.

    python -m adapter_conform.certification.recorder.operator_cases --plugin refchip --profile standard --out cases.npz

Inputs follow from profile, seed and dtype alone, so that one recording serves every plugin which declares no more
dtypes than the one named here. Needs the suite, no Paddle and no device.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import ml_dtypes
import numpy as np

import adapter_sdk
from adapter_conform import catalogue
from adapter_conform.catalogue.bounds import Array
from adapter_conform.catalogue.gates import Expected
from adapter_conform.catalogue.values import make_inputs
from adapter_conform.certification.recorder.operators import OPERATORS
from adapter_conform.expectation import Expectation
from adapter_conform.reference import FLOORS, OperatorPack
from adapter_conform.suites.base import PROFILES, PlanRequest
from adapter_conform.suites.ops import SUITE
from adapter_sdk.errors import AdapterError
from adapter_sdk.manager import LoadedPlugin

__all__ = ["RecordedCase", "main", "recorded_cases", "write_cases"]


@dataclass(frozen=True)
class RecordedCase:
    """A case of the operator suite, by the digest under which a pack holds its figures."""

    digest: str
    operator: str
    dtype: str
    attributes: dict[str, Any]
    inputs: Sequence[Array]
    outputs: dict[str, Expected]
    """By the name that records have, ``"out0"``; exact ones are left out, since no ratio is taken of them."""


def recorded_cases(plugin: LoadedPlugin, profile: str, seed: int) -> Iterator[RecordedCase]:
    """Each digest once; operators that the recorder's table has, in dtypes for which a ratio is taken."""
    seen: set[str] = set()
    for case in SUITE.plan(PlanRequest(plugin, profile, seed)):
        if case.operator not in OPERATORS or case.dtype not in FLOORS:
            continue
        spec, example = catalogue.get(case.operator), case.payload["example"]
        inputs, attributes = make_inputs(example, case.dtype), example["attributes"]
        digest = OperatorPack.digest(spec.name, case.dtype, attributes, inputs)
        if digest in seen:
            continue
        seen.add(digest)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of NaN and infinities among the inputs
            expected = Expectation(spec, inputs, attributes, case.dtype, {}, (), ()).expected
        outputs = {f"out{i}": item for i, item in enumerate(expected) if item.limit is not None}
        if outputs:
            yield RecordedCase(digest, spec.name, case.dtype, attributes, inputs, outputs)


def write_cases(path: Path, cases: Iterator[RecordedCase]) -> int:
    """Writes ``path`` and returns the number of cases. Raises OSError where that cannot be written."""
    arrays: dict[str, Array] = {}
    index: list[dict[str, Any]] = []
    for number, case in enumerate(cases):
        arrays |= {f"{number}/in{i}": _storable(item) for i, item in enumerate(case.inputs)}
        arrays |= {f"{number}/{name}": item.value.astype(np.float64) for name, item in case.outputs.items()}
        index.append(
            {
                "digest": case.digest,
                "operator": case.operator,
                "dtype": case.dtype,
                "attributes": case.attributes,
                "inputs": [item.dtype.name for item in case.inputs],
                "outputs": list(case.outputs),
            }
        )
    np.savez_compressed(path, index=json.dumps(index), **arrays)
    return len(index)


def _storable(array: Array) -> Array:
    """NumPy's file format has no bfloat16."""
    return array.view(np.uint16) if array.dtype == ml_dtypes.bfloat16 else array


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--plugin", required=True, metavar="NAME", help="Whose dtypes are planned.")
@click.option("--profile", type=click.Choice(PROFILES), default="standard", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, metavar="FILE.npz")
def main(plugin: str, profile: str, seed: int, out: Path) -> None:
    """Writes the cases of operators of which operators.py records a reference device's error."""
    try:
        count = write_cases(out, recorded_cases(adapter_sdk.load(plugin), profile, seed))
    except (AdapterError, OSError) as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"{count} cases: {out}")


if __name__ == "__main__":
    main()
