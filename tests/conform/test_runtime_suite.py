"""The runtime suite: its plan, what it covers, its verdicts, and that planted faults do not get past it."""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from adapter_conform.cases import Case, Outcome
from adapter_conform.runtime import CHECKS
from adapter_conform.runtime.bench import Bench
from adapter_conform.runtime.check import Check, check
from adapter_conform.runtime.errors import CheckFailed, NotApplicable, RanElsewhere
from adapter_conform.runtime.memory import _expect_refusal
from adapter_conform.runtime.slots import PROMISES, SLOTS, home_of
from adapter_conform.session import KernelCalls
from adapter_conform.states import State
from adapter_conform.suites import load_suite, runtime
from adapter_conform.suites.base import PROFILES, PlanRequest
from adapter_faults import all_faults
from conform_harness import HERE, REPOSITORY, conform_command, conform_environment

PLUGIN = "refchip"


def plan(profile: str, seed: int = 3) -> list[Case]:
    request = PlanRequest(plugin=SimpleNamespace(), profile=profile, seed=seed)  # type: ignore[arg-type]
    return list(runtime.SUITE.plan(request))


def test_the_suite_is_found_by_name() -> None:
    assert load_suite("runtime") is runtime.SUITE


@pytest.mark.parametrize("profile", PROFILES)
def test_plan(profile: str) -> None:
    cases = plan(profile)
    assert len({case.id for case in cases}) == len(cases) >= 50
    assert {case.payload["check"] for case in cases} == set(CHECKS)
    assert {case.operator for case in cases} == {"memory", "copies", "streams", "devices", "framework"}
    for case in cases:
        assert case.id.startswith(f"runtime/{case.operator}/")
        assert case.payload["seed"] == 3
        assert json.loads(json.dumps(case.payload)) == case.payload
        assert case.payload["covers"]
        assert "\n" not in case.payload["statement"]


def test_profiles_differ_in_repetitions_alone() -> None:
    smoke, standard, full = (plan(profile) for profile in PROFILES)
    assert [case.id for case in smoke] == [case.id for case in standard] == [case.id for case in full]
    for cases in zip(smoke, standard, full, strict=True):
        counts = [case.payload["repetitions"] for case in cases]
        assert counts == sorted(counts)


def test_the_callbacks_are_those_that_the_abi_layer_fills() -> None:
    sources = "".join((REPOSITORY / "csrc" / "abi" / name).read_text() for name in ("runtime.cc", "profiler.cc"))
    assert set(SLOTS) == {*re.findall(r"layout\.(\w+),", sources), *re.findall(r"\bi->(\w+) =", sources)}
    collectives = re.findall(r"layout\.(\w+),", (REPOSITORY / "csrc" / "abi" / "collectives.cc").read_text())
    assert len(collectives) > 10
    assert all(home_of(name) for name in collectives), "the others are another suite's, or say why they are not covered"


def test_every_callback_and_promise_is_covered() -> None:
    table = runtime.coverage()
    assert set(table) == {*SLOTS, *PROMISES}
    assert [name for name, checks in table.items() if not checks] == []
    assert table["stream_wait_event"] == ["streams/wait_event", "streams/wait_stream", "streams/event_states"]


@pytest.mark.parametrize("covers", [(), ("warp_speed",)])
def test_a_check_says_what_of_the_contract_it_covers(covers: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="slots"):
        check("memory/new", "New.", covers=covers)(lambda bench: None)


def test_two_checks_cannot_share_an_id() -> None:
    with pytest.raises(ValueError, match="two checks"):
        check("memory/no_leak", "Again.", covers=("initialize",))(lambda bench: None)


# Below, a table of functions stands in for the session, so that verdicts can be tried where no plugin is installed.


@dataclass
class FakeSession:
    cards: int = 2
    registered: tuple[tuple[str, str], ...] = (("add", "float32"),)
    declared: tuple[tuple[str, str], ...] = (("add", "float32"),)
    refusal: str = ""
    """Why the SDK refused every declared kernel, each being another release's; empty where it registered them."""
    calls: dict[str, int] = field(default_factory=dict)
    device: str = "chip:0"
    unusable: frozenset[tuple[str, str]] = frozenset()
    selected: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        foreign = bool(self.refusal)
        state = {"registration": "refused" if foreign else "registered", "for_other_paddle": foreign}
        kernels = [
            SimpleNamespace(operator=o, dtype=d, accumulator=None, refusal=self.refusal, **state)
            for o, d in self.declared
        ]
        self.plugin = SimpleNamespace(name="chip", kernels=kernels, kernel_supported=lambda *call: True)
        self.library = SimpleNamespace(
            card_count=lambda: self.cards, features=frozenset[str](), kernels=lambda: kernels
        )
        self.paddle = SimpleNamespace(
            base=SimpleNamespace(core=SimpleNamespace()),
            device=SimpleNamespace(synchronize=lambda device: None),
            set_device=self.selected.append,
            __version__="3.0.0",
        )

    def is_registered(self, operator: str, dtype: str) -> bool:
        return (operator, dtype) in self.registered

    @contextmanager
    def watch(self) -> Iterator[KernelCalls]:
        calls = KernelCalls()
        yield calls
        calls.eager.update(self.calls)


def judge(body: Any, session: FakeSession | None = None, **fields: Any) -> Outcome:
    session = session or FakeSession()
    made = Check("memory/fake", "Is fake.", ("device_memory_allocate",), body, **fields)
    case = Case("x", "runtime", "memory", "float32", {"check": "memory/fake", "repetitions": 2, "seed": 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CHECKS, "memory/fake", made)
        outcome = runtime.SUITE.run(case, session)  # type: ignore[arg-type]
    assert outcome.details["covers"] == ["device_memory_allocate"]
    assert outcome.details["statement"] == "Is fake."
    return outcome


def test_a_kept_promise_passes_where_it_was_proved() -> None:
    session = FakeSession()
    outcome = judge(lambda bench: (bench.proved("seen"), bench.proved("seen, too", 1)), session)
    assert (outcome.state, outcome.executed_on) == (State.PASSED, "chip:0, chip:1")
    assert outcome.details["evidence"] == {"chip:0": ["seen"], "chip:1": ["seen, too"]}
    assert session.selected == ["chip:0"], "the session's device is selected again afterwards"


def test_without_proof_nothing_passes() -> None:
    outcome = judge(lambda bench: None)
    assert (outcome.state, outcome.executed_on) == (State.VACUOUS, "")


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (CheckFailed("wrong"), State.FAILED),
        (RanElsewhere("elsewhere"), State.FELL_BACK),
        (NotApplicable("no such thing here"), State.UNSUPPORTED),
        (RuntimeError("(External) the card is on fire"), State.FAILED),
    ],
)
def test_how_checks_end(error: Exception, state: State) -> None:
    def body(bench: Bench) -> None:
        bench.proved("seen")
        raise error

    outcome = judge(body)
    assert outcome.state is state
    assert str(error) in outcome.message
    assert bool(outcome.details.get("retire_worker")) is (state in (State.FAILED, State.FELL_BACK))


def test_a_check_that_needs_more_cards_is_unsupported() -> None:
    outcome = judge(lambda bench: None, FakeSession(cards=1), cards=2)
    assert outcome.state is State.UNSUPPORTED
    assert "takes 2 cards; this machine has 1" in outcome.message


def test_a_kernel_that_is_neither_declared_nor_registered_makes_a_check_unsupported() -> None:
    outcome = judge(lambda bench: None, FakeSession(registered=(), declared=()), kernels=("add/{}",))
    assert outcome.state is State.UNSUPPORTED
    assert "add/float32" in outcome.message


def test_a_kernel_that_is_declared_and_not_registered_fails_a_check() -> None:
    outcome = judge(lambda bench: None, FakeSession(registered=()), kernels=("add/float32",))
    assert outcome.state is State.FAILED


def test_a_kernel_that_is_for_other_releases_of_paddle_makes_a_check_unsupported() -> None:
    session = FakeSession(registered=(), refusal="given x, expected y")
    outcome = judge(lambda bench: None, session, kernels=("add/float32",))
    assert outcome.state is State.UNSUPPORTED
    assert "given x, expected y" in outcome.message


@pytest.mark.parametrize(("operator", "state"), [("npu_identity", State.UNSUPPORTED), ("add", State.FAILED)])
def test_a_kernel_that_paddle_misses_on_its_way_is_unsupported_unless_declared(operator: str, state: State) -> None:
    def body(bench: Bench) -> None:
        key = "(chip, Undefined(AnyLayout), float32)"
        raise RuntimeError(f"(NotFound) The kernel with key {key} of kernel `{operator}` is not registered. Selected")

    outcome = judge(body)
    assert outcome.state is state
    assert operator in outcome.message


@pytest.mark.parametrize(("calls", "state"), [(2, State.FELL_BACK), (3, State.PASSED)])
def test_kernel_calls_are_counted(calls: int, state: State) -> None:
    def body(bench: Bench) -> None:
        with bench.computing("add/float32", at_least=3):
            pass

    assert judge(body, FakeSession(calls={"add/float32": calls})).state is state


@pytest.mark.parametrize(
    "got",
    [np.array([1.0, 2.5], np.float32), np.array([1.0, 2.0]), np.array([[1.0, 2.0]], np.float32), np.float32([1.0])],
)
def test_arrays_are_the_same_to_the_last_bit_or_not_at_all(got: Any) -> None:
    bench = Bench(FakeSession(), seed=1)  # type: ignore[arg-type]
    wanted = np.array([1.0, 2.0], np.float32)
    bench.same("numbers", wanted, wanted.copy())
    with pytest.raises(CheckFailed, match="numbers"):
        bench.same("numbers", wanted, got)


def test_nan_is_compared_by_its_bits() -> None:
    bench = Bench(FakeSession(), seed=1)  # type: ignore[arg-type]
    nan, other = (np.array([bits], np.uint32).view(np.float32) for bits in (0x7FC00001, 0x7FC00002))
    bench.same("NaN", nan, nan.copy())
    with pytest.raises(CheckFailed):
        bench.same("NaN", nan, other)


@pytest.mark.parametrize("dtype", ["bool", "bfloat16", "float16", "complex128"])
def test_random_bits_have_the_dtype(dtype: str) -> None:
    bench = Bench(FakeSession(), seed=1)  # type: ignore[arg-type]
    array = bench.bits((3, 5), dtype)
    assert (str(array.dtype), array.shape) == (dtype, (3, 5))
    assert bench.bits((), dtype).shape == ()


def test_memory_that_the_host_can_read_is_noticed() -> None:
    memory = ctypes.create_string_buffer(8)
    reader, writer = os.pipe()
    try:
        with pytest.raises(CheckFailed, match="host could read"):
            _expect_refusal(writer, ctypes.addressof(memory), "a host buffer")
        _expect_refusal(writer, 8, "the page at address 0")
    finally:
        os.close(reader)
        os.close(writer)


# Below, the real thing.


@pytest.fixture(scope="session")
def faults() -> dict[str, Any]:
    command = [sys.executable, str(HERE / "runtime_faults.py"), PLUGIN]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, env=conform_environment(), cwd=HERE, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


FAULTS = {fault.name: fault for fault in all_faults() if fault.suite == "runtime"}


@pytest.mark.device
@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_planted_faults_are_noticed(faults: dict[str, Any], name: str) -> None:
    sound, faulty = faults[name]["sound"], faults[name]["faulty"]
    assert sound["state"] == "passed", sound
    assert not sound["notices"], sound
    if FAULTS[name].sees == ("notice",):
        assert faulty["state"] == "passed", faulty
        assert faulty["notices"], faulty
    else:
        assert faulty["state"] in ("failed", "fell_back"), faulty


@pytest.mark.device
@pytest.mark.slow
def test_refchip_passes_the_suite(tmp_path: Path) -> None:
    command = conform_command("--plugin", PLUGIN, "--suite", "runtime", "--profile", "smoke", "--out", str(tmp_path))
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=conform_environment(), check=False)
    records = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    wrong = {record["id"]: record["message"] for record in records if record["state"] != "passed"}
    assert not wrong
    assert done.returncode == 0, done.stdout[-3000:]
    assert all(record["executed_on"].startswith(PLUGIN) and record["details"]["covers"] for record in records)
