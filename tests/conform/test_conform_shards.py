"""Shards are parts of one plan, and merged they are one run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from adapter_conform import merging
from adapter_conform.cases import Case, Outcome
from adapter_conform.errors import UsageProblem
from adapter_conform.plan import LoadedSuite, Plan, RunOptions, make_plan
from adapter_conform.shards import Shard
from adapter_conform.suites.base import PlanRequest
from conform_harness import Conform, Finished, run_conform
from hypothesis import given, settings
from hypothesis import strategies as st
from test_conform_resume import essence

MIXED = "pass:12,fail:2,crash,unproven,unsupported,planned-out"


class Listed:
    """Plans the cases that it is given."""

    name = "listed"

    def __init__(self, payloads: Sequence[int]) -> None:
        self.payloads = payloads

    def plan(self, request: PlanRequest) -> Sequence[Case]:
        return [Case(f"listed/{i}", self.name, "add", "float32", {"n": n}) for i, n in enumerate(self.payloads)]

    def run(self, case: Case, session: object) -> Outcome:
        raise AssertionError("nothing runs")


def plan_of(payloads: Sequence[int], shard: Shard | None = None, expression: str | None = None) -> Plan:
    options = RunOptions("fake", ("listed",), "standard", 0, Path("out"), shard=shard, expression=expression)
    plugin: Any = SimpleNamespace(name="fake")
    return make_plan(options, [LoadedSuite("listed", Listed(payloads))], plugin)


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_shards_are_a_partition_of_the_plan(payloads: list[int], count: int) -> None:
    whole = plan_of(payloads)
    shards = [plan_of(payloads, Shard(number, count)) for number in range(1, count + 1)]
    together = sorted((case for shard in shards for case in shard.cases), key=lambda planned: planned.index)
    assert together == list(whole.cases), "the same cases, with the same place in the plan, each once"
    assert {shard.digest for shard in shards} == {whole.digest}
    assert max(len(s.cases) for s in shards) - min(len(s.cases) for s in shards) <= 1


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.data())
@settings(max_examples=60, deadline=None)
def test_the_digest_tells_plans_apart(payloads: list[int], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(payloads) - 1))
    other = [n + (index == place) for index, n in enumerate(payloads)]
    assert plan_of(payloads).digest == plan_of(list(payloads)).digest
    assert plan_of(payloads).digest != plan_of(other).digest
    assert plan_of(payloads).digest != plan_of([*payloads, 0]).digest


@given(st.text(alphabet="0123456789/ -x", max_size=8))
def test_a_shard_is_read_or_refused(text: str) -> None:
    try:
        shard = Shard.parse(text)
    except UsageProblem:
        return
    assert 1 <= shard.number <= shard.count
    assert Shard.parse(str(shard)) == shard


def run_shards(
    conform: Conform, folder: Path, plugin: str, count: int, *arguments: str, only: int | None = None
) -> list[Path]:
    numbers = range(1, count + 1) if only is None else [only]
    roots = [folder / f"shard-{number}" for number in numbers]
    for number, root in zip(numbers, roots, strict=True):
        done = conform(plugin, "--shard", f"{number}/{count}", *arguments, out=root)
        assert done.summary["shard"] == f"{number}/{count}"
        assert f", on a part only: --shard {number}/{count}" in done.stdout
    return roots


def merge(conform: Conform, roots: Sequence[Path], out: Path) -> Finished:
    return conform("", "merge", *map(str, roots), "--out", str(out), out=out)


def test_merged_shards_are_one_run(conform: Conform, tmp_path: Path) -> None:
    whole = conform(MIXED)
    merged = merge(conform, run_shards(conform, tmp_path, MIXED, 3), tmp_path / "merged")
    assert merged.code == whole.code == 1
    assert essence(merged) == essence(whole)
    assert merged.summary["shards"] == 3
    assert "on a part only" not in merged.stdout
    crashed = next(record for record in merged.records if record["state"] == "crashed")
    assert (merged.out / crashed["details"]["log"]).is_file(), "logs come along"
    assert (merged.out / "report.html").is_file()


def test_waivers_are_stale_on_the_whole_alone(conform: Conform, tmp_path: Path) -> None:
    plugin = "pass:4,waive"
    whole = conform(plugin)
    roots = run_shards(conform, tmp_path, plugin, 2)
    assert [json.loads((root / "results.json").read_text())["stale_waivers"] for root in roots] == [[], []]
    merged = merge(conform, reversed(roots), tmp_path / "merged")  # type: ignore[arg-type]
    assert merged.code == whole.code == 1
    assert merged.summary["stale_waivers"] == whole.summary["stale_waivers"] != []
    of_use = merge(conform, run_shards(conform, tmp_path, "pass:4,fail,waive", 2), tmp_path / "of-use")
    assert of_use.code == 0, of_use.stdout


def test_never_executed_kernels_are_those_of_the_whole(conform: Conform, tmp_path: Path) -> None:
    plugin = "pass:3,table-releases"
    whole = conform(plugin)
    roots = run_shards(conform, tmp_path, plugin, 3)
    merged = merge(conform, roots, tmp_path / "merged")
    assert merged.summary["kernels"] == whole.summary["kernels"]
    assert merged.code == whole.code == 0


def test_what_does_not_belong_together_is_not_merged(conform: Conform, tmp_path: Path) -> None:
    one, two = run_shards(conform, tmp_path, "pass:6", 2)
    (other_seed,) = run_shards(conform, tmp_path / "seed", "pass:6", 2, "--seed", "5", only=1)
    (third,) = run_shards(conform, tmp_path / "thirds", "pass:6", 3, only=1)
    (other_plugin,) = run_shards(conform, tmp_path / "plugin", "pass:7", 2, only=2)
    whole = conform("pass:6", out=tmp_path / "whole").out
    unfinished = tmp_path / "unfinished"
    shutil.copytree(two, unfinished)
    lines = (two / "results.jsonl").read_bytes().splitlines(keepends=True)
    (unfinished / "results.jsonl").write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    out = tmp_path / "merged"
    for roots, complaint in [
        ([one], "1 of 2 shards are missing: 2/2"),
        ([one, two, two], "shard 2/2 is there twice"),
        ([one, third], "parts of different divisions, which overlap"),
        ([two, other_seed], "--seed: 5 and 0"),
        ([one, other_plugin], "--plugin: pass:6 and pass:7"),
        ([one, whole], "is a whole run, not a shard"),
        ([one, unfinished], "is not finished: 1 of 3 cases have no record"),
        ([one, tmp_path], "holds no plan.json"),
    ]:
        with pytest.raises(UsageProblem) as found:
            merging.merge(roots, out)
        assert complaint in str(found.value)
        assert not out.exists(), "nothing is written"
    itself = merge(conform, [one, two], one)
    assert (itself.code, "is one of the shards" in itself.stderr) == (2, True)
    assert conform("", "merge", "--out", str(out)).code == 2


def test_shards_on_other_software_are_not_merged(conform: Conform, tmp_path: Path) -> None:
    one, two = run_shards(conform, tmp_path, "pass:4", 2)
    manifest = json.loads((two / "plan.json").read_text())
    manifest["versions"]["numpy"] = "0.9"
    (two / "plan.json").write_text(json.dumps(manifest))
    done = merge(conform, [one, two], tmp_path / "merged")
    assert done.code == 2
    assert "numpy: " in done.stderr
    assert "0.9" in done.stderr


@pytest.mark.parametrize("shard", ["3/2", "a/b"])
def test_malformed_shards_are_usage_errors(conform: Conform, shard: str) -> None:
    done = conform("pass", "--shard", shard)
    assert done.code == 2
    assert "NUMBER/COUNT" in done.stderr


@pytest.mark.device
def test_shards_of_refchip_are_one_run(conform: Conform, tmp_path: Path) -> None:
    request = ("--plugin", "refchip", "--suite", "ops", "--profile", "smoke", "-k", "relu or cumsum", "--jobs", "1")
    whole = run_conform(tmp_path / "whole", *request)
    roots = [tmp_path / "one", tmp_path / "two"]
    for number, root in enumerate(roots, start=1):
        run_conform(root, *request, "--shard", f"{number}/2")
    merged = merge(conform, roots, tmp_path / "merged")
    assert merged.code == whole.code == 0, merged.stdout + merged.stderr
    assert essence(merged) == essence(whole)
    assert len(whole.records) >= 10


@pytest.mark.device
def test_the_plan_of_a_seed_is_the_same_everywhere(tmp_path: Path) -> None:
    """Two processes, each with another order of sets of strings."""
    digests = []
    for hash_seed in ("0", "77"):
        out = tmp_path / hash_seed
        done = run_conform(
            out, "--plugin", "refchip", "--profile", "smoke", "--time-budget", "0.001s", PYTHONHASHSEED=hash_seed
        )
        assert done.code == 3
        digests.append(json.loads((out / "plan.json").read_text())["digest"])
    assert len(set(digests)) == 1
