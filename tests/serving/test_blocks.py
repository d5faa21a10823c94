"""Blocks of the cache: nobody loses one, nobody gets another's, and full ones are shared by their content alone."""

from __future__ import annotations

import pytest
from adapter_conform.serving.blocks import BlockPool, OutOfBlocks
from adapter_conform.serving.requests import Output, Refused, Request
from adapter_conform.serving.scheduler import Limits, Scheduler
from hypothesis import given, settings
from hypothesis import strategies as st


def test_all_or_nothing() -> None:
    pool = BlockPool(3, 4)
    taken = pool.take(2)
    with pytest.raises(OutOfBlocks, match="2 blocks are wanted, 1 of 3"):
        pool.take(2)
    assert pool.available == 1
    pool.release(taken)
    assert pool.available == 3
    with pytest.raises(ValueError, match="nobody owns"):
        pool.release(taken)


def test_shared_by_content_and_never_to_the_last_token() -> None:
    pool = BlockPool(4, 4)
    tokens = list(range(8))
    own = pool.take(2)
    pool.offer(own, tokens)
    assert pool.shared(tokens) == own[:1]  # something is left to compute
    assert pool.shared([*tokens, 9]) == own
    assert pool.shared([0, 1, 2, 4, *tokens[4:], 9]) == []
    assert pool.shared([9, *tokens]) == []


def test_kept_blocks_are_given_away_last_and_forgotten_then() -> None:
    pool = BlockPool(3, 2)
    first = pool.take(1)
    pool.offer(first, [1, 2])
    pool.release(first)
    assert (pool.available, pool.used) == (3, 0)
    assert first[0] not in pool.take(2)
    assert pool.take(1) == first
    assert pool.shared([1, 2, 3]) == []


LIMITS = Limits(most_running=3, most_waiting=6, most_prefill=12, most_catching_up=6)

Plan = list[tuple[str, list[int], int]]
PLANS = st.lists(
    st.tuples(
        st.sampled_from(["submit", "submit", "step", "step", "cancel"]),
        st.lists(st.integers(0, 1), min_size=1, max_size=12),
        st.integers(1, 6),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(PLANS, st.booleans())
def test_whatever_happens_every_request_ends_once_and_no_block_is_lost(plan: Plan, share: bool) -> None:
    pool = BlockPool(8, 4, share)
    scheduler = Scheduler(pool, 24, LIMITS)
    ends: dict[str, int] = {}

    def step() -> None:
        batch = scheduler.compose()
        owners: dict[int, list[str]] = {}
        for sequence in batch:
            assert len(sequence.blocks) * 4 >= sequence.computed + len(sequence.fresh)
            writable = sequence.blocks[sequence.computed // 4 :]
            for block in writable:
                owners.setdefault(block, []).append(sequence.request.id)
        assert all(len(ids) == 1 for ids in owners.values()), "two sequences write into one block"
        chosen = [Output(sequence.request.id, 1) for sequence in batch if sequence.due]
        for output in scheduler.advance(batch, chosen):
            if output.finish is not None:
                ends[output.id] += 1

    for place, (what, prompt, limit) in enumerate(plan):
        if what == "submit":
            request = Request(str(place), tuple(prompt), limit)
            if len(scheduler.waiting) + len(scheduler.running) < LIMITS.most_waiting + LIMITS.most_running:
                scheduler.submit(request)
                ends[request.id] = 0
            else:
                with pytest.raises(Refused, match="try again later"):
                    scheduler.submit(request)
        elif what == "cancel" and ends:
            id = list(ends)[limit % len(ends)]
            alive = ends[id] == 0
            assert scheduler.cancel(id) is alive
            ends[id] = 1
        else:
            step()
    for _ in range(400):
        if not scheduler.running and not scheduler.waiting:
            break
        step()
    assert set(ends.values()) <= {1}
    assert pool.used == 0
    assert pool.available == pool.count


def test_first_come_first_served_within_the_budget() -> None:
    scheduler = Scheduler(BlockPool(20, 4), 40, LIMITS)
    for name, length in (("a", 10), ("b", 10), ("c", 1)):
        scheduler.submit(Request(name, tuple(range(length)), 2))
    assert [s.request.id for s in scheduler.compose()] == ["a"]  # b would exceed 12 tokens, and c does not overtake it
    scheduler.advance(scheduler.running, [Output("a", 1)])
    assert [s.request.id for s in scheduler.compose()] == ["a", "b", "c"]


def test_refusals_say_why() -> None:
    scheduler = Scheduler(BlockPool(4, 4), 40, LIMITS)
    with pytest.raises(Refused, match="the whole cache holds 16 tokens") as refused:
        scheduler.submit(Request("a", tuple(range(15)), 2))
    assert refused.value.reason == "too_long"
    with pytest.raises(Refused, match="the model has 40 positions"):
        scheduler.submit(Request("a", tuple(range(39)), 2))
    with pytest.raises(Refused, match="at least one token"):
        scheduler.submit(Request("a", (), 2))


def test_a_failed_device_ends_every_request() -> None:
    scheduler = Scheduler(BlockPool(8, 4), 16, LIMITS)
    for name in "abcde":
        scheduler.submit(Request(name, (1, 2), 2))
    scheduler.compose()
    outputs = scheduler.fail("the device is gone")
    assert sorted(output.id for output in outputs) == list("abcde")
    assert {(output.finish, output.message) for output in outputs} == {("failed", "the device is gone")}
    assert scheduler.pool.used == 0
