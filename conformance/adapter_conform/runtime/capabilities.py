"""What a device says of itself when Paddle asks: versions, sizes, half types, and which callbacks it has."""

from __future__ import annotations

import ctypes

from adapter_conform.runtime.bench import Bench
from adapter_conform.runtime.check import check
from adapter_conform.runtime.errors import NotApplicable
from adapter_conform.runtime.slots import SLOTS, home_of

__all__: list[str] = []

_NUMBERS = ("get_compute_capability", "get_runtime_version", "get_driver_version")
_POOL = (
    "device_min_chunk_size",
    "device_max_chunk_size",
    "device_max_alloc_size",
    "device_extra_padding_size",
    "device_init_alloc_size",
    "device_realloc_size",
)
_BY_FEATURE = {"profiler_": "profiler", "xccl_": "collectives"}


@check(
    "devices/interface",
    "Paddle was given every callback that a device needs, and those of a feature exactly where it is declared.",
    covers=("initialize", "the table tells the truth"),
)
def interface(bench: Bench) -> None:
    callbacks = bench.callbacks()
    filled, empty = set(callbacks.filled), set(callbacks.empty)
    bench.notes["slots"] = {"filled": sorted(filled), "empty": sorted(empty)}
    optional = {name for name in empty if name in _POOL or _feature_of(name) is not None}
    missing = sorted((empty - optional) & set(SLOTS))
    bench.demand(not missing, f"Paddle was given nothing for {', '.join(missing)}")
    for start, feature in _BY_FEATURE.items():
        of_feature = {name for name in filled | empty if name.startswith(start)}
        wrong = sorted(of_feature & (empty if bench.promises(feature) else filled))
        said = "is declared, but empty are" if bench.promises(feature) else "is not declared, but filled are"
        bench.demand(not wrong, f"the feature {feature!r} {said} {', '.join(wrong)}")
    unknown = sorted(name for name in filled if name not in SLOTS and not home_of(name))
    bench.demand(not unknown, f"Paddle was given callbacks that no check knows: {', '.join(unknown)}")
    bench.still_works()


def _feature_of(slot: str) -> str | None:
    return next((feature for start, feature in _BY_FEATURE.items() if slot.startswith(start)), None)


@check(
    "devices/queries",
    "Cards, versions and the sizes that steer Paddle's pool are answered, the same whenever asked, and make sense.",
    covers=(*_NUMBERS, *_POOL, "get_device_count", "get_device_list"),
)
def queries(bench: Bench) -> None:
    answers: dict[str, int] = {}
    for card in range(bench.library.card_count()):
        callbacks = bench.callbacks(card)
        asked = [name for name in (*_NUMBERS, *_POOL) if name in callbacks.filled]
        first, second = ({name: callbacks.size(name) for name in asked} for _ in range(2))
        bench.demand(first == second, f"asked twice, card {card} answered {first} and {second}")
        memory = bench.library.memory_bytes(card)
        for name in set(asked) & set(_POOL):
            bench.demand(first[name] <= memory, f"{name} is {first[name]} bytes, more than card {card} has")
        answers.update(first)
    chunk = answers.get("device_min_chunk_size", 0)
    bench.demand(chunk > 0 and not chunk & (chunk - 1), f"device_min_chunk_size is {chunk}, not a power of two")
    count, cards = ctypes.c_size_t(), bench.library.card_count()
    status = bench.callbacks().function("get_device_count", ctypes.POINTER(ctypes.c_size_t))(ctypes.byref(count))
    bench.demand((status, count.value) == (0, cards), f"get_device_count says {count.value}, the table {cards}")
    numbers = (ctypes.c_size_t * cards)()
    status = bench.callbacks().function("get_device_list", ctypes.POINTER(ctypes.c_size_t))(numbers)
    bench.demand((status, list(numbers)) == (0, list(range(cards))), f"get_device_list says {list(numbers)}")
    bench.notes["answers"] = answers
    bench.still_works()


@check(
    "devices/half_types",
    "What the device says of float16 and bfloat16 for mixed precision is what it has matmul kernels for.",
    covers=("is_float16_supported", "is_bfloat16_supported", "the table tells the truth"),
)
def half_types(bench: Bench) -> None:
    callbacks, amp = bench.callbacks(), bench.paddle.amp
    said: dict[str, bool] = {}
    for dtype in ("float16", "bfloat16"):
        slot = f"is_{dtype}_supported"
        if slot not in callbacks.filled:
            raise NotApplicable(f"Paddle {bench.paddle.__version__} does not ask a device whether it has {dtype}")
        said[dtype] = callbacks.flag(slot)
        told = bool(getattr(amp, slot)(bench.device))
        has = bench.session.is_registered("matmul", dtype)
        bench.demand(said[dtype] == told, f"{slot} is {said[dtype]}, but paddle.amp.{slot}() is {told}")
        lacks = "has no matmul kernel of that dtype" if said[dtype] else "has a matmul kernel of that dtype"
        bench.demand(said[dtype] == has, f"{slot} is {said[dtype]}, but the device {lacks}")
    bench.notes["half_types"] = said
    bench.still_works()
