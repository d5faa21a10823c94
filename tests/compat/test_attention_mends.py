"""Paddle's public attention functions reach the device's kernels, which without the mends they do not."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.device

HEAD = """
    import os, sys, warnings
    warnings.simplefilter("ignore")
    import numpy as np
    import adapter_sdk
    mounted = adapter_sdk.mount("refchip", exclusive=True)
    import paddle
    import paddle.nn.functional as F
    from adapter_sdk import compat
    from paddle.nn.attention import SDPBackend, sdpa_kernel
    mounted.confirm_mounted()
    paddle.set_device("refchip:0")
    paddle.set_flags({"FLAGS_enable_api_kernel_fallback": False})
    applied = compat.apply(mounted) if MENDED else []

    def ran(function, dtype):
        q, k, v = (paddle.to_tensor(np.random.RandomState(i).rand(1, 24, 2, 16).astype("float32")).astype(dtype)
                   for i in range(3))
        for x in (q, k, v):
            x.stop_gradient = False
        before = mounted.library.calls()
        try:
            out = function(q, k, v)
            (out[0] if isinstance(out, (list, tuple)) else out).sum().backward()
        except ValueError as error:
            return "ValueError: " + str(error).split("\\n")[-1]
        return sorted(key for key, count in mounted.library.calls().items() if "flash" in key and count != before[key])

    bounds = paddle.full([1, 1, 24, 1], 20, "int32")
    FUNCTIONS = {
        "sdpa": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        "flash": lambda q, k, v: F.flash_attention.flash_attention(q, k, v, causal=True),
        "flashmask": lambda q, k, v: F.flashmask_attention(q, k, v, bounds, causal=True),
    }
"""


def run(body: str, mended: bool = True) -> list[str]:
    head = textwrap.dedent(HEAD).replace("MENDED", str(mended))
    script = head + textwrap.dedent(body) + "\nsys.stdout.flush(); os._exit(0)\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [line[3:] for line in done.stdout.split("\n") if line.startswith("=> ")]


EACH = """
    for name in FUNCTIONS:
        for dtype in ("float32", "bfloat16"):
            print("=>", name, dtype, ran(FUNCTIONS[name], dtype))
"""


def test_mended_every_function_reaches_the_kernel_in_every_dtype() -> None:
    kernels = {"sdpa": "flash_attn", "flash": "flash_attn", "flashmask": "flashmask_attention"}
    assert run(EACH) == [
        f"{name} {dtype} {[f'{kernel}/{dtype}', f'{kernel}_grad/{dtype}']}"
        for name, kernel in kernels.items()
        for dtype in ("float32", "bfloat16")
    ]


def test_without_the_mends_none_does() -> None:
    # Where one of these lines changes, Paddle has learnt to ask the device: its mend can go.
    lines = run(EACH, mended=False)
    assert [line for line in lines if line.split()[0] != "flashmask"] == [
        f"{name} {dtype} []" for name in ("sdpa", "flash") for dtype in ("float32", "bfloat16")
    ]
    assert all("ValueError" in line for line in lines if line.split()[0] == "flashmask")


def test_a_choice_of_the_user_is_heeded() -> None:
    assert run(
        """
        with sdpa_kernel(SDPBackend.MATH):
            print("=>", ran(FUNCTIONS["sdpa"], "bfloat16"), ran(FUNCTIONS["flash"], "bfloat16"))
        print("=>", ran(FUNCTIONS["flash"], "bfloat16") != [])
        """
    ) == ["[] []", "True"]


def test_the_cpu_keeps_its_own_path_and_everything_can_be_undone() -> None:
    assert run(
        """
        paddle.set_device("cpu")
        print("=>", ran(FUNCTIONS["sdpa"], "float32"), ran(FUNCTIONS["flash"], "float32"))
        paddle.set_device("refchip:0")
        for one in reversed(applied):
            one.undo()
        print("=>", ran(FUNCTIONS["sdpa"], "bfloat16"), ran(FUNCTIONS["flash"], "bfloat16"))
        """
    ) == ["[] []", "[] []"]


def test_a_flag_that_nobody_knows_is_still_an_error() -> None:
    (line,) = run(
        """
        try:
            paddle.get_flags("FLAGS_nobody_knows")
        except ValueError as error:
            print("=>", error)
        """
    )
    assert "FLAGS_nobody_knows" in line
