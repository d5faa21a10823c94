"""What state a judged call ends in, on a device made of NumPy arrays (test only; no Paddle)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from adapter_conform.cases import Outcome
from adapter_conform.catalogue.bounds import Array, Tracked, move
from adapter_conform.catalogue.gates import POISON
from adapter_conform.catalogue.spec import Kind, OperatorSpec
from adapter_conform.further import Further
from adapter_conform.judge import judge_call
from adapter_conform.session import KernelCalls
from adapter_conform.states import State

X = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)


class Tensor:
    def __init__(self, array: Array, place: str = "Place(chip:0)") -> None:
        self.array, self.place, self.stop_gradient = array, place, True
        self.dtype, self.size = f"paddle.{array.dtype.name}", array.size
        self.hooks: list[Callable[[Tensor], None]] = []

    def numpy(self) -> Array:
        return self.array.copy()

    def data_ptr(self) -> int:
        return int(self.array.ctypes.data)

    def is_contiguous(self) -> bool:
        return bool(self.array.flags.c_contiguous)

    def register_hook(self, hook: Callable[[Tensor], None]) -> None:
        self.hooks.append(hook)

    def contiguous(self) -> Tensor:
        return Tensor(np.ascontiguousarray(self.array))

    def element_size(self) -> int:
        return self.array.dtype.itemsize


class Chip:
    """A session whose kernels are counted by hand: ``counted`` forward, ``counted_backward`` backward."""

    def __init__(self, counted: str = "double/float32", counted_backward: str = "double_grad/float32") -> None:
        self.device, self.seed = "chip:0", 0
        self.unusable: frozenset[tuple[str, str]] = frozenset()
        self.registered = {("double", "float32"), ("double_grad", "float32")}
        declared = [
            SimpleNamespace(
                operator=name,
                dtype=dtype,
                accumulator="undefined",
                registration="registered",
                refusal="",
                for_other_paddle=False,
            )
            for name, dtype in self.registered
        ]
        self.refused: set[str] = set()
        self.plugin = SimpleNamespace(name="chip", kernels=declared, kernel_supported=self.kernel_supported)
        self.library = SimpleNamespace(set_checks=self.remember, checks=[], kernels=lambda: self.plugin.kernels)
        self.paddle = SimpleNamespace(to_tensor=lambda array: Tensor(np.array(array)), grad=self.grad)
        self.batches = [counted, "", counted_backward, ""]
        self.gradient_factor = 2.0

    def remember(self, poison: bool, canary: bool) -> None:
        self.library.checks.append((poison, canary))

    def kernel_supported(self, operator: str, dtype: str, attributes: Any) -> bool:
        return operator not in self.refused

    def is_registered(self, operator: str, dtype: str) -> bool:
        return (operator, dtype) in self.registered

    def grad(self, outputs: Any, inputs: Any, flowing: Any, allow_unused: bool) -> list[Tensor]:
        return [Tensor((item.array * self.gradient_factor).astype(np.float32)) for item in flowing]

    @contextmanager
    def watch(self) -> Iterator[KernelCalls]:
        calls = KernelCalls()
        yield calls
        counted = self.batches.pop(0)
        if counted:
            calls.eager[counted] = 1


def spec(call: Callable[[Tensor], Any], **changes: Any) -> OperatorSpec:
    settings: dict[str, Any] = {
        "name": "double",
        "oracle": lambda x, a: [x[0] * 2.0],
        "gradient": lambda x, out, d, a: [d[0] * 2.0],
        "kind": Kind.ELEMENTWISE,
        "examples": lambda dtype: pytest.fail("nothing is drawn here"),
        "corners": lambda dtype: [],
        **changes,
    }
    return OperatorSpec(call=lambda paddle, tensors, attributes: call(tensors[0]), **settings)


def good(x: Tensor) -> Tensor:
    return Tensor(x.array * np.float32(2))


def judge(chip: Chip, call: Callable[[Tensor], Any] = good, backward: bool = True, **changes: Any) -> Outcome:
    return judge_call(chip, spec(call, **changes), [X], {}, dtype="float32", backward=backward)  # type: ignore[arg-type]


def test_a_good_call_passes_with_proof_and_figures() -> None:
    chip = Chip()
    outcome = judge(chip)
    assert outcome.state is State.PASSED
    assert outcome.executed_on == "chip:0"
    assert outcome.details["kernels"] == {"double/float32": 1, "double_grad/float32": 1}
    assert {figure.output for figure in outcome.errors} == {"outputs", "out0", "grad0"}
    assert all(figure.passed for figure in outcome.errors)


def test_checks_are_on_during_the_call_and_off_after_it() -> None:
    chip = Chip()
    seen = []
    judge(chip, lambda x: (seen.append(list(chip.library.checks)), good(x))[1])
    assert seen == [[(True, True)]]
    assert chip.library.checks == [(True, True), (False, False)]


def test_checks_are_off_after_a_call_that_raised() -> None:
    chip = Chip()

    def broken(x: Tensor) -> Tensor:
        raise RuntimeError("canary of output 0 is dead")

    outcome = judge(chip, broken)
    assert outcome.state is State.FAILED
    assert "canary of output 0 is dead" in outcome.message
    assert chip.library.checks[-1] == (False, False)


def test_a_right_result_without_any_kernel_of_ours_fell_back() -> None:
    outcome = judge(Chip(counted="", counted_backward=""))
    assert outcome.state is State.FELL_BACK
    assert outcome.executed_on == ""
    assert "double/float32" in outcome.message


def test_a_right_result_that_lies_elsewhere_fell_back() -> None:
    outcome = judge(Chip(), lambda x: Tensor(x.array * np.float32(2), "Place(cpu)"))
    assert outcome.state is State.FELL_BACK
    assert "Place(cpu)" in outcome.message


def test_another_kernel_than_the_required_one_proves_nothing() -> None:
    outcome = judge(Chip(counted="triple/float32"))
    assert outcome.state is State.VACUOUS
    assert "double/float32" in outcome.message
    assert "triple/float32" in outcome.message


def test_a_kernel_in_another_dtype_proves_nothing() -> None:
    assert judge(Chip(counted="double/float64")).state is State.VACUOUS


def test_an_uncounted_gradient_kernel_proves_nothing() -> None:
    outcome = judge(Chip(counted_backward=""))
    assert outcome.state is State.VACUOUS
    assert "double_grad/float32" in outcome.message


def test_a_wrong_result_fails_even_without_proof() -> None:
    outcome = judge(Chip(counted="", counted_backward=""), lambda x: Tensor(x.array * np.float32(3)))
    assert outcome.state is State.FAILED
    assert outcome.message.startswith("gate bound on out0")


def test_a_wrong_gradient_fails() -> None:
    chip = Chip()
    chip.gradient_factor = 2.001
    outcome = judge(chip)
    assert outcome.state is State.FAILED
    assert "grad0" in outcome.message


def test_an_unwritten_output_fails() -> None:
    outcome = judge(Chip(), lambda x: Tensor(np.full((3, 4), POISON, np.uint8).repeat(4, axis=1).view(np.float32)))
    assert outcome.state is State.FAILED
    assert "unwritten" in outcome.message


def test_a_changed_input_fails() -> None:
    def careless(x: Tensor) -> Tensor:
        result = good(x)
        x.array[0, 0] = 77
        return result

    outcome = judge(Chip(), careless)
    assert outcome.state is State.FAILED
    assert "gate intact on in0" in outcome.message


def test_a_missing_or_surplus_output_fails() -> None:
    for call in (lambda x: [], lambda x: [good(x), good(x)]):
        outcome = judge(Chip(), call, backward=False)
        assert outcome.state is State.FAILED
        assert "count" in outcome.message


def test_undeclared_and_unregistered_is_unsupported() -> None:
    chip = Chip()
    chip.registered.clear()
    chip.plugin.kernels.clear()
    outcome = judge(chip)
    assert outcome.state is State.UNSUPPORTED
    assert "double/float32" in outcome.message


def test_declared_but_not_registered_fails() -> None:
    chip = Chip()
    chip.registered.discard(("double_grad", "float32"))
    outcome = judge(chip)
    assert outcome.state is State.FAILED
    assert "double_grad/float32 is declared" in outcome.message


def test_a_refusal_is_believed_where_paddle_has_no_kernel() -> None:
    chip = Chip()
    chip.registered.discard(("double", "float32"))
    chip.refused.add("double")
    outcome = judge(chip)
    assert outcome.state is State.UNSUPPORTED
    assert "adapter_kernel_supported" in outcome.message


def test_a_refusal_is_not_believed_where_paddle_has_the_kernel() -> None:
    chip = Chip()
    chip.refused.add("double")
    outcome = judge(chip)
    assert outcome.state is State.PASSED
    assert outcome.details["refusal_not_believed"] == ["double/float32"]
    wrong = Chip()
    wrong.refused.add("double")
    assert judge(wrong, lambda x: Tensor(x.array * np.float32(3))).state is State.FAILED


def refused(chip: Chip, operator: str, refusal: str, for_other_paddle: bool) -> Chip:
    """``chip``, with the row of ``operator`` refused by the SDK when Paddle mounted the library."""
    chip.registered.discard((operator, "float32"))
    (row,) = [row for row in chip.plugin.kernels if row.operator == operator]
    row.registration, row.refusal, row.for_other_paddle = "refused", refusal, for_other_paddle
    return chip


def test_a_kernel_for_other_releases_of_paddle_is_unsupported_with_the_refusal() -> None:
    outcome = judge(refused(Chip(), "double", "this Paddle has no operator kernel double", True))
    assert outcome.state is State.UNSUPPORTED
    assert "brings it for other releases of Paddle; this Paddle has no operator kernel double" in outcome.message
    gradient = judge(refused(Chip(), "double_grad", "given x, expected y", True))
    assert gradient.state is State.UNSUPPORTED
    assert gradient.message.startswith("the forward call passed; double_grad/float32")
    assert "given x, expected y" in gradient.message


def test_a_refused_kernel_that_fits_no_paddle_fails() -> None:
    assert judge(refused(Chip(), "double", "given x, expected y", False)).state is State.FAILED


def test_one_broken_row_among_those_for_other_releases_fails() -> None:
    chip = refused(Chip(), "double", "given x, expected y", True)
    (row,) = [row for row in chip.plugin.kernels if row.operator == "double"]
    chip.plugin.kernels.append(SimpleNamespace(**{**vars(row), "for_other_paddle": False}))
    assert judge(chip).state is State.FAILED


PADDLE_SAYS = (
    "(NotFound) The kernel with key (chip, Undefined(AnyLayout), float32) of kernel `{}` is not registered. "
    "Selected wrong Backend `chip`."
)


@pytest.mark.parametrize(("operator", "state"), [("helper", State.UNSUPPORTED), ("double", State.FAILED)])
def test_a_kernel_that_paddle_misses_on_the_way(operator: str, state: State) -> None:
    """An auxiliary kernel that nobody promised is unsupported; a refusal of one that is registered is a failure."""

    def refused(x: Tensor) -> Tensor:
        raise RuntimeError(PADDLE_SAYS.format(operator))

    assert judge(Chip(), refused).state is state


def test_a_view_is_proved_by_its_address() -> None:
    def window(x: Tensor) -> Tensor:
        return Tensor(x.array[1:])

    view = {"view": True, "gradient": None, "oracle": lambda x, a: [x[0][1:]]}
    outcome = judge(Chip(counted=""), window, **view)
    assert outcome.state is State.PASSED
    assert outcome.details["aliases_input"] is True
    assert outcome.executed_on == "chip:0"
    copied = judge(Chip(counted=""), lambda x: Tensor(x.array[1:].copy()), **view)
    assert copied.state is State.FELL_BACK


@pytest.mark.parametrize(("source", "state"), [("arrived", State.PASSED), ("anew", State.FELL_BACK)])
def test_the_gradient_of_a_view_is_proved_by_the_gradient_that_arrived(source: str, state: State) -> None:
    """Paddle 3.0 copies the gradient that is given to paddle.grad: the view's own then lies in that copy."""

    class Chip30(Chip):
        def grad(self, outputs: Any, inputs: Any, flowing: Any, allow_unused: bool) -> list[Tensor]:
            copy = Tensor(flowing[0].array.copy())
            for hook in outputs[0].hooks:
                hook(copy)
            return [Tensor((copy.array if source == "arrived" else copy.array.copy()).reshape(X.shape))]

    def flat(x: Tensor) -> Tensor:
        return Tensor(x.array.reshape(-1))

    gradient = lambda x, out, d, a: [move(lambda g: g.reshape(X.shape), d[0])]  # noqa: E731
    view = {"view": True, "gradient": gradient, "oracle": lambda x, a: [move(np.ravel, x[0])]}
    assert judge(Chip30(counted="", counted_backward=""), flat, **view).state is state


def test_a_strided_view_must_be_made_contiguous_by_the_device() -> None:
    def turned(x: Tensor) -> Tensor:
        return Tensor(x.array.T)

    view = {"view": True, "gradient": None, "oracle": lambda x, a: [move(np.transpose, x[0])]}
    outcome = judge(Chip(counted=""), turned, **view)
    assert outcome.state is State.VACUOUS
    assert "contiguous/float32" in outcome.message
    chip = Chip(counted="")
    chip.batches[1] = "contiguous/float32"
    assert judge(chip, turned, **view).state is State.PASSED


def test_a_copy_where_a_view_is_due_is_not_proved_by_some_other_kernel() -> None:
    chip = Chip(counted="something/float32")
    view = {"view": True, "gradient": None, "oracle": lambda x, a: [x[0][1:]]}
    outcome = judge(chip, lambda x: Tensor(x.array[1:].copy()), **view)
    assert outcome.state is State.VACUOUS
    assert outcome.executed_on == ""


def test_a_passed_forward_without_a_gradient_kernel_is_unsupported() -> None:
    outcome = judge(chip_without_gradient())
    assert outcome.state is State.UNSUPPORTED
    assert outcome.message.startswith("the forward call passed")
    wrong = judge(chip_without_gradient(), lambda x: Tensor(x.array * np.float32(3)))
    assert wrong.state is State.FAILED


def chip_without_gradient() -> Chip:
    chip = Chip()
    chip.registered.discard(("double_grad", "float32"))
    chip.plugin.kernels = [row for row in chip.plugin.kernels if row.operator == "double"]
    return chip


def test_gradients_are_not_asked_of_whole_numbers() -> None:
    chip = Chip(counted="double/int64")
    chip.registered.add(("double", "int64"))
    outcome = judge_call(
        chip,  # type: ignore[arg-type]
        spec(lambda x: Tensor(x.array * 2), oracle=lambda x, a: [x[0] * 2]),
        [np.arange(4)],
        {},
        dtype="int64",
        backward=True,
    )
    assert outcome.state is State.PASSED
    assert not [figure for figure in outcome.errors if figure.output == "grad0"]


def repeating(chip: Chip, call: Callable[[Tensor], Any], repeats: int) -> Outcome:
    return judge_call(
        chip,  # type: ignore[arg-type]
        spec(call),
        [X],
        {},
        dtype="float32",
        backward=False,
        further=Further(repeats=repeats),
    )


def test_calls_that_repeat_their_bits_pass() -> None:
    outcome = repeating(Chip(), good, 20)
    assert outcome.state is State.PASSED
    (figure,) = [item for item in outcome.errors if item.gate == "repeat"]
    assert (figure.value, figure.note) == (0, "20 calls one after the other")


def test_one_call_in_twenty_that_differs_by_a_bit_fails() -> None:
    calls = []

    def sometimes(x: Tensor) -> Tensor:
        calls.append(x)
        result = good(x)
        if len(calls) == 15:
            result.array[1, 2] = np.nextafter(result.array[1, 2], np.float32(9))
        return result

    outcome = repeating(Chip(), sometimes, 20)
    assert outcome.state is State.FAILED
    assert outcome.message.startswith("gate repeat on outputs: 1, limit 0")
    assert "call 14 gave other bits" in outcome.message


def test_results_that_zeros_would_meet_are_vacuous() -> None:
    wide = np.linspace(-2, 2, 64, dtype=np.float32)

    def oracle(x: list[Any], a: Any) -> list[Any]:
        return [Tracked(x[0].value * 2, x[0].arithmetic, np.full(64, 100.0))]

    outcome = judge_call(
        Chip(),  # type: ignore[arg-type]
        spec(good, oracle=oracle, gradient=None),
        [wide],
        {},
        dtype="float32",
        backward=False,
    )
    assert outcome.state is State.VACUOUS
    assert "zeros would be within the limits" in outcome.message
