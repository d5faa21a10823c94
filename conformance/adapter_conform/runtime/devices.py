"""Cards: as many as declared, each on its own, and data travels between them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from adapter_conform.runtime.bench import Bench
from adapter_conform.runtime.check import check
from adapter_conform.runtime.errors import CheckFailed, NotApplicable
from adapter_sdk.versions import matches

__all__: list[str] = []

_ADD = "add/float32"


@check(
    "devices/identity",
    "The plugin's hooks, its library's table and Paddle agree on the device, its cards and their memory.",
    covers=("get_device_count", "get_device_list", "init_device", "initialize", "the table tells the truth"),
)
def identity(bench: Bench) -> None:
    declared, library, kind = bench.session.plugin.device, bench.library, bench.device_type
    cards = library.card_count()
    offered = bench.paddle.device.get_all_custom_device_type()
    bench.demand(kind in offered, f"Paddle offers the device types {offered}, not {kind!r}")
    bench.demand(
        declared.device_type == library.device_type == kind,
        f"device type: hooks say {declared.device_type!r}, the table {library.device_type!r}, Paddle {kind!r}",
    )
    listed = [name for name in bench.paddle.device.get_available_custom_device() if name.split(":")[0] == kind]
    counted = bench.core.get_custom_device_count(kind)
    bench.demand(
        declared.cards == cards == counted == len(listed),
        f"cards: hooks say {declared.cards}, the table {cards}, Paddle counts {counted} and lists {listed}",
    )
    memory = tuple(library.memory_bytes(card) for card in range(cards))
    bench.demand(declared.memory_bytes == memory, f"memory: hooks say {declared.memory_bytes}, the table {memory}")
    for card in range(cards):
        data = bench.bits(1000, "uint8")
        bench.stored(f"data on card {card}", data, bench.tensor(data, card), card)


@check(
    "devices/no_such_card",
    "Selecting a card that does not exist is an error, and the card selected before stays in use.",
    covers=("set_device", "get_device_count"),
)
def no_such_card(bench: Bench) -> None:
    if matches(bench.paddle.__version__, "<3.1"):
        raise NotApplicable("Paddle 3.0 itself ends the process when a card does not exist")
    name = bench.name_of(bench.library.card_count())
    try:
        bench.paddle.set_device(name)
    except (ValueError, RuntimeError, OSError):
        selected = bench.paddle.device.get_device()
        bench.demand(selected == bench.device, f"after the refusal of {name} the device is {selected}")
        bench.still_works()
        return
    finally:
        bench.paddle.set_device(bench.device)
    raise CheckFailed(f"{name} could be selected, although the device has {bench.library.card_count()} cards")


@check(
    "devices/selection",
    "Tensors are made, and kernels run, on the card that is selected.",
    covers=("set_device", "get_device", "init_device"),
    kernels=(_ADD,),
    cards=2,
    repeat=(2, 10, 100),
)
def selection(bench: Bench) -> None:
    data = bench.counts(5000)
    for _ in range(bench.repetitions):
        for card in range(bench.library.card_count()):
            with _selected(bench, card):
                tensor = bench.paddle.to_tensor(data)
                with bench.computing(_ADD, card=card):
                    doubled = tensor + tensor
                bench.stored(f"made on card {card}", data, tensor, card)
                bench.stored(f"computed on card {card}", data * 2, doubled, card)


@check(
    "devices/cards_are_apart",
    "Work on one card leaves memory and contents of another alone.",
    covers=("set_device", "device_memory_allocate", "the table tells the truth"),
    kernels=(_ADD,),
    cards=2,
)
def cards_are_apart(bench: Bench) -> None:
    here, there = bench.card, bench.other_card()
    kept = bench.bits(1 << 20, "uint8")
    neighbour = bench.tensor(kept)
    bench.settled(there)
    before_here, before_there = bench.allocated(here), bench.allocated(there)
    data = bench.counts(1 << 20)
    with _selected(bench, there), bench.computing(_ADD, at_least=10, card=there):
        total = bench.paddle.to_tensor(data)
        for _ in range(10):
            total = total + total
        grown = bench.allocated(there) - before_there
    bench.stored("computed on the other card", data * 1024, total, there)
    bench.demand(grown >= 2 * data.nbytes, f"card {there} computed on {data.nbytes} bytes, but allocated {grown} only")
    shift = bench.allocated(here) - before_here
    bench.demand(shift == 0, f"computing on card {there} changed what card {here} has allocated by {shift} bytes")
    bench.stored("a tensor on the card left alone", kept, neighbour, here)


@check(
    "devices/between_cards",
    "Data goes from card to card with every bit, after the kernels that make it and before those that follow.",
    covers=("memory_copy_p2p", "async_memory_copy_p2p", "kernels run on their stream"),
    kernels=(_ADD,),
    cards=2,
    repeat=(2, 10, 100),
)
def between_cards(bench: Bench) -> None:
    here, there = bench.card, bench.other_card()
    for _ in range(bench.repetitions):
        for size in (1, 3, 4097, 1 << 20, 16 << 20):
            data = bench.bits(size, "uint8")
            gone = bench.tensor(data)._copy_to(bench.place(there), True)
            bench.stored(f"{size} bytes from card {here} to card {there}", data, gone, there)
            back = gone._copy_to(bench.place(here), True)
            bench.stored(f"{size} bytes from card {there} to card {here}", data, back, here)
        _in_order(bench, here, there)


def _in_order(bench: Bench, here: int, there: int) -> None:
    elements, steps = 1 << 20, 20
    total, one = bench.tensor(np.zeros(elements, np.float32)), bench.tensor(np.ones(elements, np.float32))
    with bench.computing(_ADD, at_least=2 * steps):
        for _ in range(steps):
            total.add_(one)
        moved = total._copy_to(bench.place(there), True)
        for _ in range(steps):
            total.add_(one)
    bench.stored("a sum, sent in mid-work", np.full(elements, steps, np.float32), moved, there)
    bench.holds("the sum at its end", np.full(elements, 2 * steps, np.float32), total)


@contextmanager
def _selected(bench: Bench, card: int) -> Iterator[None]:
    bench.paddle.set_device(bench.name_of(card))
    try:
        selected = bench.paddle.device.get_device()
        bench.demand(selected == bench.name_of(card), f"{bench.name_of(card)} was selected, but {selected} is")
        yield
    finally:
        bench.paddle.set_device(bench.device)
