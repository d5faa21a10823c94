"""Records check themselves, and say which field is at fault."""

from __future__ import annotations

import datetime
import pickle
from typing import Any

import pytest

from adapter_sdk import (
    CollectivesDescription,
    DeviceDescription,
    FusedOperatorDescription,
    KernelDescription,
    MemoryDescription,
    PeakThroughput,
    RecordInvalid,
    StreamDescription,
    Waiver,
    errors,
)
from adapter_sdk.dtypes import DTYPE_CODES, to_numpy

GOOD: dict[type, dict[str, Any]] = {
    PeakThroughput: {"dtype": "float32", "tflops": 1.5},
    DeviceDescription: {
        "name": "chip",
        "vendor": "Acme",
        "device_type": "chip",
        "version": "1.0",
        "cards": 2,
        "memory_bytes": (1, 2),
        "paddle_versions": ">=3.0,<3.4",
        "contract": (1, 0),
    },
    MemoryDescription: {"host_readable": True},
    StreamDescription: {"asynchronous": False},
    KernelDescription: {"operator": "relu", "dtype": "float32", "signature": "Tensor||Tensor"},
    CollectivesDescription: {"operations": ("all_reduce",)},
    FusedOperatorDescription: {"operator": "swiglu", "dtypes": ("float32",)},
    Waiver: {
        "operator": "relu",
        "dtype": "float32",
        "reason": "rounds down",
        "link": "https://example.com/1",
        "expires": datetime.date(2030, 1, 31),
    },
}


@pytest.mark.parametrize("record", GOOD)
def test_good_values_are_taken(record: type) -> None:
    built = record(**GOOD[record])
    assert {field: getattr(built, field) for field in GOOD[record]} == GOOD[record]


@pytest.mark.parametrize(
    ("record", "field", "value"),
    [
        (PeakThroughput, "dtype", "float33"),
        (PeakThroughput, "tflops", 0),
        (PeakThroughput, "tflops", float("nan")),
        (DeviceDescription, "name", "My Chip"),
        (DeviceDescription, "vendor", ""),
        (DeviceDescription, "device_type", "gpu"),
        (DeviceDescription, "device_type", "my-chip"),
        (DeviceDescription, "cards", -1),
        (DeviceDescription, "cards", True),
        (DeviceDescription, "memory_bytes", (1,)),
        (DeviceDescription, "memory_bytes", [1, 2]),
        (DeviceDescription, "memory_bytes", (1, 0)),
        (DeviceDescription, "paddle_versions", "3.3.1 or so"),
        (DeviceDescription, "contract", (1,)),
        (DeviceDescription, "peaks", (PeakThroughput("float32", 1), PeakThroughput("float32", 2))),
        (DeviceDescription, "library", "lib.so"),
        (MemoryDescription, "host_readable", 1),
        (MemoryDescription, "alignment_bytes", 48),
        (MemoryDescription, "min_chunk_bytes", 0),
        (StreamDescription, "asynchronous", None),
        (KernelDescription, "operator", "soft max"),
        (KernelDescription, "dtype", "half"),
        (KernelDescription, "signature", "Tensor"),
        (KernelDescription, "accumulator", "fp32"),
        (KernelDescription, "provenance", "borrowed"),
        (KernelDescription, "fused", "yes"),
        (CollectivesDescription, "operations", ("allreduce",)),
        (FusedOperatorDescription, "dtypes", ()),
        (Waiver, "reason", " "),
        (Waiver, "link", "see the wiki"),
        (Waiver, "expires", "2030-01-31"),
        (Waiver, "expires", datetime.datetime(2030, 1, 31)),
    ],
)
def test_wrong_value_names_record_and_field(record: type, field: str, value: object) -> None:
    with pytest.raises(RecordInvalid) as caught:
        record(**{**GOOD[record], field: value})
    assert str(caught.value).startswith(f"{record.__name__}.{field} ")


def test_close_dtype_is_proposed() -> None:
    with pytest.raises(RecordInvalid, match="did you mean 'bfloat16'"):
        KernelDescription("relu", "bfloat6", "Tensor||Tensor")


def test_waiver_ends_after_its_last_day() -> None:
    waiver = Waiver(**GOOD[Waiver])
    assert waiver.covers("relu", "float32", datetime.date(2030, 1, 31))
    assert not waiver.covers("relu", "float32", datetime.date(2030, 2, 1))
    assert not waiver.covers("relu", "float64", datetime.date(2029, 1, 1))


@pytest.mark.parametrize("name", DTYPE_CODES)
def test_every_dtype_has_a_numpy_one(name: str) -> None:
    assert to_numpy(name).name == name


def test_unknown_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match="did you mean 'float32'"):
        to_numpy("float3")


@pytest.mark.parametrize(
    "error",
    [
        errors.RecordInvalid("Waiver", "link", "is empty"),
        errors.PluginNotFound("chip", ("chop",)),
        errors.PluginInvalid("chip", "adapter_device", "adapter_device()", "raised", "mend it"),
        errors.ContractMismatch("chip", (2, 0), (1, 0)),
        errors.PaddleMismatch("chip", "3.4.0", "<3.4"),
        errors.MountError("chip", "refused", "retry"),
        errors.DeviceError("chip", "copy", "bad card"),
    ],
)
def test_errors_survive_pickling(error: errors.AdapterError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (type(error), str(error))
