"""A device written in Python: eager and static, several threads, errors, memory, a LLaMA, a verdict."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from conform_harness import REPOSITORY

if TYPE_CHECKING:
    from conftest import Pychip

pytestmark = pytest.mark.device

PLUGIN = REPOSITORY / "plugins" / "pychip" / "pychip" / "__init__.py"


def test_an_mlp_runs_eager_and_static_on_its_own_kernels(pychip: Pychip) -> None:
    printed = pychip.run(
        """
        class MLP(paddle.nn.Layer):
            def __init__(self):
                super().__init__()
                self.inner, self.outer = paddle.nn.Linear(6, 8), paddle.nn.Linear(8, 3)
            def forward(self, x):
                return paddle.nn.functional.softmax(self.outer(paddle.nn.functional.relu(self.inner(x))))

        model = MLP()
        x = np.linspace(-1, 1, 24, dtype="float32").reshape(4, 6)
        eager = model(paddle.to_tensor(x)).numpy()
        static = paddle.jit.to_static(model, full_graph=True)(paddle.to_tensor(x))
        assert str(static.place) == "Place(pychip:0)", static.place
        weights = [p.numpy().astype("float64") for p in model.parameters()]
        hidden = np.maximum(x @ weights[0] + weights[1], 0) @ weights[2] + weights[3]
        wanted = np.exp(hidden) / np.exp(hidden).sum(-1, keepdims=True)
        np.testing.assert_allclose(eager, wanted, atol=1e-6)
        np.testing.assert_allclose(static.numpy(), wanted, atol=1e-6)
        eager_calls, static_calls = plugin.library.calls()["matmul/float32"]
        print("matmul", eager_calls, static_calls)
        """
    )
    assert "matmul 2 2" in printed


def test_a_llama_gives_the_logits_that_the_cpu_gives(pychip: Pychip) -> None:
    pytest.importorskip("paddlenlp")
    pychip.run(
        """
        from paddlenlp.transformers import LlamaConfig, LlamaForCausalLM
        config = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                             num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64)

        def logits(weights):
            model = LlamaForCausalLM(config)
            model.eval()
            if weights:
                model.set_state_dict({name: paddle.to_tensor(value) for name, value in weights.items()})
            with paddle.no_grad():
                result = model(paddle.to_tensor(np.arange(16).reshape(2, 8)))
            return (result[0] if isinstance(result, tuple) else result), model

        own, model = logits(None)
        assert str(own.place) == "Place(pychip:0)"
        weights = {name: value.numpy() for name, value in model.state_dict().items()}
        paddle.set_device("cpu")
        paddle.set_flags({"FLAGS_enable_api_kernel_fallback": True})
        wanted = logits(weights)[0].numpy()
        assert wanted.std() > 0.01
        np.testing.assert_allclose(own.numpy(), wanted, atol=1e-5)
        """
    )


@pytest.mark.parametrize("mode", ["eager", "static"])
def test_an_exception_arrives_with_its_traceback(pychip: Pychip, mode: str) -> None:
    printed = pychip.run(
        f"""
        def look_up(table, ids):
            return paddle.nn.functional.embedding(ids, table)

        if {mode!r} == "static":
            look_up = paddle.jit.to_static(look_up, full_graph=True)
        try:
            look_up(paddle.ones([3, 4]), paddle.to_tensor([7, 1])).numpy()
        except OSError as error:
            print(error)
        print("alive", (paddle.ones([2]) + 1).numpy().tolist())
        """
    )
    assert "pychip: kernel embedding (float32): IndexError: index 7 is out of bounds" in printed
    assert re.search(r'pychip/__init__\.py", line \d+, in embedding', printed), printed
    assert "alive [2.0, 2.0]" in printed


def test_kinds_of_exceptions(pychip: Pychip) -> None:
    printed = pychip.run(
        """
        import pychip

        def fail(*_):
            raise pychip.error

        pychip.softmax.__code__ = fail.__code__
        pychip.softmax.__globals__["pychip"] = pychip
        for pychip.error in ValueError("axis"), NotImplementedError("later"), MemoryError("full"), KeyError("x"):
            try:
                paddle.nn.functional.softmax(paddle.ones([2]))
            except Exception as error:
                print(type(pychip.error).__name__, "seen as", type(error).__name__)
        """
    )
    for raised, seen in (
        ("ValueError",) * 2,
        ("NotImplementedError",) * 2,
        ("MemoryError",) * 2,
        ("KeyError", "OSError"),
    ):
        assert f"{raised} seen as {seen}" in printed


def test_several_threads(pychip: Pychip) -> None:
    pychip.run(
        """
        import threading
        faults = []

        def work(seed):
            try:
                paddle.set_device("pychip")
                rng = np.random.default_rng(seed)
                for _ in range(60):
                    a = rng.standard_normal((int(rng.integers(1, 60)), 20)).astype("float32")
                    b = rng.standard_normal((20, 7)).astype("float32")
                    got = (paddle.matmul(paddle.to_tensor(a), paddle.to_tensor(b)) + 1.0).numpy()
                    np.testing.assert_allclose(got, a @ b + 1, rtol=1e-4, atol=1e-4)
            except BaseException as fault:
                faults.append(fault)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not faults, faults
        """
    )


def test_views_and_full_memory(pychip: Pychip) -> None:
    pychip.run(
        """
        grid = paddle.arange(12).reshape([3, 4]).cast("float32")
        grid[:, 1:3].scale_(2.0)
        np.testing.assert_array_equal(grid.numpy(), [[0, 2, 4, 3], [4, 10, 12, 7], [8, 18, 20, 11]])
        np.testing.assert_array_equal(grid.T.contiguous().numpy(), grid.numpy().T)
        try:
            paddle.empty([1 << 29])
        except MemoryError:
            pass
        else:
            raise AssertionError("2 GiB came from a card of 1 GiB")
        before = plugin.library.allocated_bytes(0)
        assert 0 < before <= plugin.library.memory_bytes(0)
        """
    )


def test_the_program_ends_in_order(pychip: Pychip) -> None:
    """Without os._exit: Paddle gives memory and streams back while the interpreter is going."""
    printed = pychip.run("print((paddle.ones([2]) + 1).numpy().tolist())\nsys.stdout.flush()\nsys.exit(0)")
    assert "[2.0, 2.0]" in printed


def test_a_plain_import_mounts_the_installed_copy(pychip: Pychip) -> None:
    """Without mount(): Paddle finds lib<name>.so, and closes it before the interpreter ends."""
    printed = pychip.run_installed(
        """
        import paddle
        paddle.set_device("pychip")
        print(paddle.device.get_all_custom_device_type(), (paddle.ones([2]) + 1).numpy().tolist())
        """
    )
    assert "['pychip'] [2.0, 2.0]" in printed


def test_a_verdict_with_proof_of_execution(pychip: Pychip) -> None:
    done = pychip.conform("--profile", "smoke", "--suite", "ops", "-k", "(ops/relu/ or ops/sigmoid/) and float32")
    assert done.code == 0, done.stdout
    states = [record["state"] for record in done.records]
    assert states.count("passed") >= 4, states
    assert "failed" not in states, states


def test_memory_streams_and_kernels_stay_short() -> None:
    text = PLUGIN.read_text(encoding="utf-8")
    body = text[text.index("# [memory]") : text.index("# [hooks]")]
    assert len([line for line in body.splitlines() if line.strip() and not line.startswith("#")]) < 150
