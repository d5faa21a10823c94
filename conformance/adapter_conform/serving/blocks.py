"""Who owns which block of the paged cache, and which full blocks a later prompt may share."""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Sequence

import numpy as np

__all__ = ["BlockPool", "OutOfBlocks"]


class OutOfBlocks(Exception):
    """Fewer blocks are left than were asked for."""


class BlockPool:
    """``count`` blocks of ``block_tokens`` tokens.

    A block is free, owned by one or more sequences, or kept: full, owned by nobody, and given away only when no free
    one is left, the one that was of use longest ago first.
    """

    def __init__(self, count: int, block_tokens: int, share: bool = True) -> None:
        if count < 1 or block_tokens < 1:
            raise ValueError(f"{count} blocks of {block_tokens} tokens hold nothing")
        self.count, self.block_tokens, self.share = count, block_tokens, share
        self._free: deque[int] = deque(range(count))
        self._owners = [0] * count
        self._keys: dict[int, bytes] = {}
        self._by_key: dict[bytes, int] = {}
        self._kept: OrderedDict[int, None] = OrderedDict()

    @property
    def available(self) -> int:
        """Blocks that :meth:`take` can give."""
        return len(self._free) + len(self._kept)

    @property
    def used(self) -> int:
        """Blocks that sequences own."""
        return self.count - self.available

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_tokens)

    def take(self, count: int) -> list[int]:
        """``count`` blocks with one owner.

        Raises:
            OutOfBlocks: there are not so many; none was taken.
        """
        if count > self.available:
            raise OutOfBlocks(f"{count} blocks are wanted, {self.available} of {self.count} are left")
        return [self._take_one() for _ in range(count)]

    def _take_one(self) -> int:
        if self._free:
            block = self._free.popleft()
        else:
            block, _ = self._kept.popitem(last=False)
            del self._by_key[self._keys.pop(block)]
        self._owners[block] = 1
        return block

    def shared(self, tokens: Sequence[int]) -> list[int]:
        """Full blocks that hold the beginning of ``tokens``, each with one owner more. The last token is never among
        them: something must be left to compute the next token from."""
        found: list[int] = []
        if self.share:
            for key in self._chain(tokens, (len(tokens) - 1) // self.block_tokens):
                block = self._by_key.get(key)
                if block is None:
                    break
                self._kept.pop(block, None)
                self._owners[block] += 1
                found.append(block)
        return found

    def offer(self, blocks: Sequence[int], tokens: Sequence[int]) -> None:
        """Lets later prompts share those of ``blocks`` that ``tokens``, all in the cache, fill."""
        if not self.share:
            return
        full = len(tokens) // self.block_tokens
        if full and blocks[full - 1] in self._keys:
            return  # offered before, and so are those ahead of it
        for block, key in zip(blocks, self._chain(tokens, full), strict=False):
            if block not in self._keys and key not in self._by_key:
                self._keys[block], self._by_key[key] = key, block

    def release(self, blocks: Sequence[int]) -> None:
        """Takes one owner away from each.

        Raises:
            ValueError: a block has none.
        """
        for block in reversed(blocks):  # the end of a prompt is the first to go
            if self._owners[block] == 0:
                raise ValueError(f"block {block} is released, but nobody owns it")
            self._owners[block] -= 1
            if self._owners[block] == 0:
                if block in self._keys:
                    self._kept[block] = None
                else:
                    self._free.append(block)

    def forget(self) -> None:
        """Frees what is kept for later prompts."""
        self._free.extend(self._kept)
        for block in self._kept:
            del self._by_key[self._keys.pop(block)]
        self._kept.clear()

    def _chain(self, tokens: Sequence[int], blocks: int) -> list[bytes]:
        """A key for each of the first ``blocks`` blocks, which stands for all tokens up to its end."""
        array = np.asarray(tokens[: blocks * self.block_tokens], dtype=np.int64).reshape(blocks, self.block_tokens)
        keys, key = [], b""
        for row in array:
            key = hashlib.blake2b(key + row.tobytes(), digest_size=16).digest()
            keys.append(key)
        return keys
