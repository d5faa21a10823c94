"""What a check works with: tensors on the device, exact comparisons, and proof that the device did the work."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from adapter_conform.cases import GateFigure
from adapter_conform.models.training import place_of
from adapter_conform.runtime.callbacks import Callbacks
from adapter_conform.runtime.errors import CheckFailed, NotApplicable, RanElsewhere
from adapter_conform.tensors import from_tensor
from adapter_sdk.native import CopyKind

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["Array", "Bench"]

Array = npt.NDArray[Any]


class Bench:
    """One check on one device.

    Args:
        repetitions: how often a check repeats what it does; larger in thorough profiles.
        dtype: of the case; ``"any"`` where the check has none in particular.
    """

    def __init__(self, session: Session, seed: int, repetitions: int = 1, dtype: str = "any") -> None:
        self.session, self.paddle, self.library = session, session.paddle, session.library
        self.core: Any = session.paddle.base.core
        self.device = session.device
        self.device_type, _, number = session.device.partition(":")
        self.card = int(number)
        self.seed, self.repetitions, self.dtype = seed, repetitions, dtype
        self.random = np.random.default_rng(seed)
        self.figures: list[GateFigure] = []
        self.notes: dict[str, Any] = {}
        self.kernels: dict[str, int] = {}
        self.evidence: dict[str, list[str]] = {}
        """Where work was shown to have been done -> by what."""
        self.notices: list[str] = []
        """What is allowed, and worth knowing; it stands in the report and leaves the verdict alone."""
        self._compared = [0, 0]

    # -- tensors

    def place(self, card: int | None = None) -> Any:
        return self.paddle.CustomPlace(self.device_type, self.card if card is None else card)

    def name_of(self, card: int) -> str:
        return f"{self.device_type}:{card}"

    def tensor(self, array: Array, card: int | None = None) -> Any:
        """``array`` on a card, the session's by default. Fails the check when it lands elsewhere."""
        host = np.ascontiguousarray(array).reshape(array.shape)
        if host.dtype == ml_dtypes.bfloat16:
            host = host.view(np.uint16)  # Paddle takes uint16 arrays for bfloat16
        tensor = self.paddle.to_tensor(host, place=self.place(card))
        self.lies_on(tensor, self.card if card is None else card)
        return tensor

    def bits(self, shape: int | Sequence[int], dtype: str) -> Array:
        """Random bit patterns of a dtype, NaNs and infinities among them."""
        kind = np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)
        sizes = (shape,) if isinstance(shape, int) else tuple(shape)
        if kind == np.bool_:
            return self.random.integers(0, 2, sizes).astype(np.bool_)
        raw = self.random.integers(0, 256, math.prod(sizes) * kind.itemsize, np.uint8)
        return raw.view(kind).reshape(sizes)

    def counts(self, shape: int | Sequence[int], limit: int = 1000) -> Array:
        """float32 whole numbers from 0 to ``limit``: sums of them are exact in any order up to 2^24."""
        return self.random.integers(0, limit + 1, shape).astype(np.float32)

    # -- demands

    def demand(self, condition: bool, message: str) -> None:
        if not condition:
            raise CheckFailed(message)

    def lies_on(self, tensor: Any, card: int) -> None:
        place, wanted = place_of(tensor), self.name_of(card)
        self.demand(place == wanted, f"a tensor asked for on {wanted} lies on {place}")

    def same(self, what: str, wanted: Array, got: Array) -> None:
        """Demands the same shape, dtype and bits."""
        if (wanted.shape, wanted.dtype) != (got.shape, got.dtype):
            raise CheckFailed(f"{what}: wanted {wanted.dtype}{wanted.shape}, got {got.dtype}{got.shape}")
        left, right = _bytes(wanted), _bytes(got)
        wrong = np.flatnonzero(left != right)
        self._compared = [self._compared[0] + 1, self._compared[1] + left.size]
        if wrong.size:
            first = int(wrong[0])
            message = f"{what}: {wrong.size} of {left.size} bytes differ, the first at byte {first}"
            self.figures.append(GateFigure("bits", what, float(wrong.size), 0.0, False, message))
            element = first // wanted.dtype.itemsize
            raise CheckFailed(f"{message} (wanted {wanted.flat[element]!r}, got {got.flat[element]!r})")

    def holds(self, what: str, wanted: Array, tensor: Any) -> None:
        """Demands that a tensor, read back by Paddle, has the bits of ``wanted``."""
        self.same(what, wanted, from_tensor(tensor))

    # -- proof

    def proved(self, how: str, card: int | None = None) -> None:
        where = self.evidence.setdefault(self.name_of(self.card if card is None else card), [])
        if how not in where:
            where.append(how)

    def stored(self, what: str, wanted: Array, tensor: Any, card: int | None = None) -> None:
        """Demands that the device's own copy function, past Paddle, finds ``wanted`` at the tensor's address."""
        on = self.card if card is None else card
        self.lies_on(tensor, on)
        if wanted.nbytes == 0:
            return
        found = self.peek(tensor.data_ptr(), wanted.nbytes, on)
        self.same(f"{what}, read at its device address", _bytes(wanted), found)
        self.proved("the device's own copy found the data at the tensors' addresses", on)

    def peek(self, address: int, size: int, card: int | None = None) -> Array:
        """Bytes at a device address."""
        found = np.full(size, 0xCB, np.uint8)
        on = self.card if card is None else card
        self.library.copy(on, CopyKind.DEVICE_TO_HOST, found.ctypes.data, address, size)
        return found

    def poke(self, address: int, data: Array, card: int | None = None) -> None:
        """Writes bytes to a device address."""
        data = np.ascontiguousarray(data)
        on = self.card if card is None else card
        self.library.copy(on, CopyKind.HOST_TO_DEVICE, address, data.ctypes.data, data.nbytes)

    @contextmanager
    def computing(
        self, kernel: str, at_least: int = 1, card: int | None = None, static: bool = False
    ) -> Iterator[None]:
        """Demands that the plugin's own ``kernel`` is called ``at_least`` times inside the block.

        Raises:
            RanElsewhere: it was called less often, so something else made the result.
        """
        on = self.card if card is None else card
        with self.session.watch() as calls:
            yield
            self.synchronize(on)
        counted = calls.static if static else calls.eager
        for key, number in calls.total().items():
            self.kernels[key] = self.kernels.get(key, 0) + number
        if counted.get(kernel, 0) < at_least:
            raise RanElsewhere(
                f"the plugin's kernel {kernel} was called {counted.get(kernel, 0)} times in "
                f"{'static' if static else 'eager'} mode, but the work takes at least {at_least}"
            )
        self.proved(f"its kernel {kernel} was called", on)

    # -- the device as a whole

    def synchronize(self, card: int | None = None) -> None:
        self.paddle.device.synchronize(self.name_of(self.card if card is None else card))

    def allocated(self, card: int | None = None) -> int:
        """Bytes that the device itself has handed out."""
        return self.library.allocated_bytes(self.card if card is None else card)

    def settled(self, card: int | None = None) -> int:
        """What is still allocated when Python has dropped its garbage and Paddle has emptied its pool, in bytes."""
        empty_cache = getattr(self.core, "device_empty_cache", None)
        if empty_cache is None:
            raise NotApplicable(f"Paddle {self.paddle.__version__} cannot empty its pool of a custom device")
        gc.collect()
        self.synchronize(card)
        empty_cache()
        return self.allocated(card)

    def statistic(self, name: str, card: int | None = None) -> int:
        """Paddle's own statistics of a card, in bytes: ``"Allocated"`` to tensors, or ``"Reserved"`` in its pool."""
        value: int = self.core.device_memory_stat_current_value(name, self.card if card is None else card)
        return value

    def callbacks(self, card: int | None = None) -> Callbacks:
        """The callbacks that Paddle holds, for a card. Raises NotApplicable where the library does not tell them."""
        return Callbacks(self.session, self.card if card is None else card)

    def promises(self, feature: str) -> bool:
        """Whether the plugin declares a feature, e.g. ``"async_streams"``; a bare device declares none."""
        return feature in self.library.features

    def other_card(self) -> int:
        """A second card, to be used by checks that ask for two."""
        return 1 if self.card == 0 else 0

    def still_works(self) -> None:
        """Demands that the device, after whatever befell it, takes data and gives it back."""
        data = self.bits(4099, "uint8")
        tensor = self.tensor(data)
        self.stored("a tensor made afterwards", data, tensor)
        self.holds("a tensor made afterwards", data, tensor)

    def conclude(self) -> None:
        """Adds what was compared to the figures."""
        comparisons, size = self._compared
        if comparisons:
            note = f"{comparisons} comparisons of {size} bytes in all"
            self.figures.append(GateFigure("bits", "everything compared", 0.0, 0.0, True, note))


def _bytes(array: Array) -> Array:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
