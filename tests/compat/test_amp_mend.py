"""The mends are needed by this Paddle, do what they say, and can be undone."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.device


def run(body: str) -> list[str]:
    """The lines that ``body`` prints in a process of its own, with refchip mounted and Paddle imported."""
    head = """
        import os, sys, warnings
        warnings.simplefilter("ignore")
        import adapter_sdk
        mounted = adapter_sdk.mount("refchip", exclusive=True)
        import paddle
        from adapter_sdk import compat
        mounted.confirm_mounted()
        paddle.set_device("refchip:0")

        def product_dtype():
            x = paddle.ones([4, 4])
            with paddle.amp.auto_cast(level="O1", dtype="bfloat16"):
                return str(paddle.matmul(x, x).dtype)
    """
    script = textwrap.dedent(head) + textwrap.dedent(body) + "\nsys.stdout.flush(); os._exit(0)\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split("\n")[:-1]


def test_paddle_still_switches_bfloat16_off_by_name_and_the_mend_switches_it_on() -> None:
    # The first line fails when Paddle asks the device instead of its name: the mend can go then.
    assert run(
        """
        print(product_dtype())
        applied = compat.apply(mounted)
        print([one.name for one in applied if 'auto_cast' in one.name])
        print(product_dtype())
        print([one.name for one in compat.apply(mounted) if 'auto_cast' in one.name])
        for one in applied:
            one.undo()
        print(product_dtype())
        """
    ) == ["paddle.float32", "['bfloat16 auto_cast']", "paddle.bfloat16", "[]", "paddle.float32"]


def test_a_device_without_bfloat16_products_is_not_mended() -> None:
    assert run(
        """
        type(mounted).kernel_supported = lambda self, operator, dtype: (operator, dtype) != ("matmul", "bfloat16")
        print([one.name for one in compat.apply(mounted) if 'auto_cast' in one.name])
        print(product_dtype())
        """
    ) == ["[]", "paddle.float32"]


def test_a_paddle_without_the_place_is_an_error() -> None:
    (line,) = run(
        """
        import paddle.amp.auto_cast
        del sys.modules["paddle.amp.auto_cast"]._is_custom_device_bfloat16_supported
        try:
            compat.apply(mounted)
        except RuntimeError as error:
            print(error)
        """
    )
    assert "this release of Paddle has no such function" in line
    assert "auto_cast" in line
