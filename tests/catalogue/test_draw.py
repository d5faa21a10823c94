"""Drawing: deterministic, without Paddle, JSON-able, corner cases first, quick."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from adapter_conform import catalogue
from adapter_conform.catalogue.draw import draw
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.values import REGIMES, make_input, make_inputs, tensor
from adapter_conform.suites.base import PlanRequest
from adapter_conform.suites.ops import EXAMPLES, SUITE


def request(profile: str = "smoke", seed: int = 0, kernels: tuple[tuple[str, str], ...] = ()) -> PlanRequest:
    declared = [SimpleNamespace(operator=name, dtype=dtype, accumulator="float32") for name, dtype in kernels]
    plugin = SimpleNamespace(name="none", kernels=declared)
    return PlanRequest(plugin=plugin, profile=profile, seed=seed)  # type: ignore[arg-type]


def test_plans_are_deterministic_and_unique() -> None:
    first, second = SUITE.plan(request()), SUITE.plan(request())
    assert first == second
    assert len({case.id for case in first}) == len(first)
    assert SUITE.plan(request(seed=1)) != first


def test_payloads_survive_json() -> None:
    for case in SUITE.plan(request("standard")):
        assert json.loads(json.dumps(case.payload)) == case.payload


def test_smoke_is_a_few_hundred_cases() -> None:
    cases = SUITE.plan(request())
    assert 400 <= len(cases) <= 900
    assert {case.operator for case in cases} >= {"matmul", "softmax", "adamw", "reshape", "cross_entropy_with_softmax"}


def test_half_types_only_where_declared() -> None:
    assert not [case for case in SUITE.plan(request()) if case.dtype in ("bfloat16", "float16")]
    cases = SUITE.plan(request(kernels=(("softmax", "bfloat16"),)))
    assert {case.operator for case in cases if case.dtype == "bfloat16"} == {"softmax"}


def test_planning_does_not_import_paddle() -> None:
    program = (
        "import sys; from types import SimpleNamespace as N;"
        "from adapter_conform.suites.ops import SUITE; from adapter_conform.suites.base import PlanRequest;"
        "SUITE.plan(PlanRequest(N(name='x', kernels=[]), 'smoke', 0)); print('paddle' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "False"


def test_planning_is_the_same_in_any_process_and_leaves_no_files(tmp_path: Path) -> None:
    """Hypothesis by itself draws constants from the modules that happen to be loaded, and caches them where it runs."""
    (tmp_path / "local_module.py").write_text("NUMBERS = (3, 7, 5, 2, 4, 6)\n")
    program = (
        "import sys, zlib; sys.path.insert(0, '.'); {} from types import SimpleNamespace as N;"
        "from adapter_conform.suites.ops import SUITE; from adapter_conform.suites.base import PlanRequest;"
        "print(zlib.crc32(repr(SUITE.plan(PlanRequest(N(name='x', kernels=[]), 'standard', 0))).encode()))"
    )
    sums = {
        subprocess.run(
            [sys.executable, "-c", program.format(first)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for first in ("", "import local_module;")
    }
    assert len(sums) == 1
    assert not (tmp_path / ".hypothesis").exists()


def test_a_plan_of_many_examples_is_quick() -> None:
    started = time.process_time()
    examples = [
        item
        for spec in catalogue.all_specs()
        for item in draw(spec, spec.dtypes[0] if spec.dtypes else "float32", 20, 99)
    ]
    assert (time.process_time() - started) / len(examples) < 0.02


@pytest.mark.parametrize("spec", catalogue.all_specs(), ids=lambda spec: spec.name)
def test_corner_cases_come_first_and_all_inputs_can_be_made(spec: catalogue.OperatorSpec) -> None:
    for dtype in spec.dtypes:
        examples = draw(spec, dtype, 12, 0)
        assert len(examples) >= EXAMPLES["smoke"][0]
        first = {key: value for key, value in spec.corners(dtype)[0].items() if key != "seed"}
        assert {key: value for key, value in examples[0].items() if key != "seed"} == first
        for example in examples:
            arrays = make_inputs(example, dtype)
            assert [list(array.shape) for array in arrays] == [item["shape"] for item in example["inputs"]]
            again = make_inputs(example, dtype)
            assert all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(arrays, again, strict=True))


@pytest.mark.parametrize("name", ["add", "multiply", "maximum", "minimum", "abs", "softmax"])
@pytest.mark.parametrize("seed", [0, 1])
def test_smoke_draws_nan_and_infinities(name: str, seed: int) -> None:
    """Without them a kernel that swallows NaN would pass."""
    examples = draw(catalogue.get(name), "float32", EXAMPLES["smoke"][0], seed)
    (special,) = [item for item in examples if item["inputs"][0]["regime"] == "special" and item["inputs"][0]["shape"]]
    for array in make_inputs(special, "float32"):
        assert array.size >= 3
        assert np.isnan(array).any()
        assert {np.inf, -np.inf} <= set(array.reshape(-1).tolist())
        assert (np.signbit(array) & (array == 0)).any()


def test_no_special_values_on_top_where_whole_numbers_are_drawn() -> None:
    assert len(draw(catalogue.get("abs"), "int64", 1, 0)) == 1


def test_probe_inputs_are_small_whole_numbers() -> None:
    for name in ("sum", "mean", "matmul", "bmm", "cumsum"):
        probes = [item for item in draw(catalogue.get(name), "float32", 10, 0) if item.get("probe")]
        assert probes, name
        for array in make_inputs(probes[0], "float32"):
            assert np.array_equal(array, np.rint(array))
            assert np.abs(array).max() <= 4


@pytest.mark.parametrize("regime", sorted(set(REGIMES) - {"labels", "unique", "constant", "listed"}))
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool"])
def test_regimes_give_arrays_of_the_dtype(regime: str, dtype: str) -> None:
    array = make_input(tensor((3, 4), regime), dtype, 5)
    assert array.dtype.name == dtype
    assert array.shape == (3, 4)


def test_an_unknown_operator_is_named_with_its_neighbours() -> None:
    with pytest.raises(catalogue.UnknownOperatorError, match=r"did you mean.*softmax"):
        catalogue.get("sofmax")


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="registered twice"):
        register(catalogue.get("add"))
