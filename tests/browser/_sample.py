"""A run of 5,000 cases as it could have been: every state, failures with figures, training, refused kernels.

The numbers are drawn, seeded; what is judged with them is the page, not a device.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

from adapter_conform.cases import GateFigure, Record
from adapter_conform.plan import RunOptions
from adapter_conform.report import RunResult
from adapter_conform.states import State

OPTIONS = RunOptions("mychip", ("runtime", "ops", "training"), "standard", 0, Path("out"))
_NAMES = """
abs add add_n argmax arange assign batch_norm bmm cast clip concat conv2d cos cross_entropy_with_softmax cumsum
depthwise_conv2d divide dropout einsum elementwise_pow embedding equal erf exp expand flash_attn flip floor full
fused_rotary_position_embedding gather gather_nd gelu greater_than group_norm index_elementwise_get isfinite
layer_norm leaky_relu linspace log log_softmax logical_and logsumexp masked_select matmul max maximum mean
memory_efficient_attention min minimum multiply nll_loss nonzero one_hot p_norm pad pool2d pow prod put_along_axis
reciprocal relu remainder repeat rms_norm roll rsqrt scale scatter scatter_nd_add sigmoid sign silu sin slice
softmax split sqrt square stack subtract sum swiglu take_along_axis tanh tile top_p_sampling topk transpose
tril_triu uniform unique variable_length_attention weight_only_linear where
"""
OPERATORS = _NAMES.split()
DTYPES = ("float32", "float16", "bfloat16", "float64", "int32", "int64")
PLUGIN = {
    "name": "mychip",
    "distribution": "adapter-mychip",
    "version": "1.4.0",
    "device": {
        "vendor": "Mychip Semiconductor",
        "cards": 8,
        "memory_bytes": [64 << 30] * 8,
        "peaks": [{"dtype": "bfloat16", "tflops": 312.0}],
    },
    "library": "/opt/venv/lib/python3.11/site-packages/paddle_plugins/paddle_custom_device/libmychip_device_plugin.so",
}
ENVIRONMENT = {
    "python": "3.11.7",
    "platform": "Linux-6.1.0-x86_64-with-glibc2.36",
    "cores": 64,
    "memory_bytes": 512 << 30,
    "packages": {"paddlepaddle": "3.3.1", "adapter-sdk": "0.2.0", "numpy": "1.26.4"},
}
_MESSAGES = {
    State.FAILED: "out0: 37 of 4096 elements are wrong; worst at [3, 127]: got 0.4912, expected 0.5047, limit 6.55e-07",
    State.CRASHED: "the worker ended with signal 11 (SIGSEGV); the last lines of its log:\n  launch of tile 12 of 16",
    State.HUNG: "no answer within 60 s; the worker was killed",
    State.FELL_BACK: "the result is right, but the call counter of the plugin's kernel did not move",
    State.VACUOUS: "zeros would be within the limits of 99% of every result",
    State.NOT_RUN: "the time budget of 8 h was used up",
    State.WAIVED: "waived until 2031-01-31: rounding of ties, https://issues.example/1234",
    State.UNSUPPORTED: "Paddle has no such kernel registered, and the plugin declares none",
}


def sample_result(cases: int = 5000) -> RunResult:
    """A run of ``cases`` cases: operators, and two trainings of 1,000 steps with their losses."""
    draw = random.Random(0)
    records = [_record(index, draw) for index in range(cases - 2)]
    records += [_training("llama_pretrain", draw, fault=False), _training("qwen2_moe_sft", draw, fault=True)]
    return RunResult(
        options=OPTIONS,
        suite_names=["runtime", "ops", "training"],
        records=records,
        available=len(records),
        plugin=PLUGIN,
        environment=ENVIRONMENT,
        kernels=_kernels(),
        started="2030-01-01T00:00:00+00:00",
        elapsed_s=7261.5,
        replacements=["worker 3: a fresh process after case ops/softmax/float16/eager-2, which crashed"],
        stale_waivers=["waiver of erf/float16 (https://issues.example/77)"],
        excluded={"replay": {"paddle.linalg.svd: no oracle": [3, 4, 5, 9, 120], "larger than 8 MiB": [17]}},
    )


def _record(index: int, draw: random.Random) -> Record:
    operator = OPERATORS[index % len(OPERATORS)]
    dtype = DTYPES[index // len(OPERATORS) % len(DTYPES)]
    mode = ("eager", "static", "denormal", "repeat", "bias")[index // (len(OPERATORS) * len(DTYPES)) % 5]
    case_id = f"ops/{operator}/{dtype}/{mode}-{index}"
    state = draw.choice(list(_MESSAGES)) if draw.random() < 0.04 else State.PASSED
    ran = state not in (State.NOT_RUN, State.UNSUPPORTED)
    wrong = state is State.FAILED
    figures = [
        GateFigure("form", "out0", 0.0, 0.0, True),
        GateFigure("unwritten", "out0", 0.0, 0.0, True),
        GateFigure("bound", "out0", 4.2e4 if wrong else 10 ** draw.uniform(-6, -0.2), 1.0, not wrong),
        GateFigure("repeat", "out0", 0.0, 0.0, True),
        GateFigure("max_abs", "out0", 10 ** draw.uniform(-7, -4), math.inf, True, "for information"),
    ]
    return Record(
        id=case_id,
        suite="ops",
        operator=operator,
        dtype=dtype,
        state=state,
        executed_on="mychip:0" if ran else "",
        errors=figures if ran else [],
        seconds=round(10 ** draw.uniform(-3, 0.5), 4),
        repro=OPTIONS.repro("ops", case_id),
        message=_MESSAGES.get(state, ""),
        details={"kernels": {f"{operator}/{dtype}": 2}, "inputs": "Tensor([4, 1024]), Tensor([1024])"} if ran else {},
    )


def _training(name: str, draw: random.Random, fault: bool) -> Record:
    cpu = [6.2 + 5.1 * math.exp(-step / 180) + draw.gauss(0, 0.02) for step in range(1000)]
    errors = [abs(draw.gauss(0, 2e-7)) * (1 + fault * max(0, step - 400)) for step in range(1000)]
    device = [loss * (1 + error) for loss, error in zip(cpu, errors, strict=True)]
    case_id, worst = f"training/{name}/float32/train", max(errors)
    return Record(
        id=case_id,
        suite="training",
        operator=name,
        dtype="float32",
        state=State.FAILED if fault else State.PASSED,
        executed_on="mychip:0",
        errors=[GateFigure("relative_error", "loss", worst, 1e-5, worst <= 1e-5)],
        seconds=412.0,
        repro=OPTIONS.repro("training", case_id),
        details={"loss": {"cpu": cpu, "device": device}, "relative_error": errors},
    )


def _kernels() -> list[dict[str, object]]:
    rows = []
    for number, operator in enumerate(OPERATORS):
        for dtype in DTYPES[:4]:
            refused = number % 31 == 7
            text = f"{operator}: expected Tensor,float||Tensor of Paddle 3.3.1, given Tensor,double||Tensor"
            rows.append(
                {
                    "operator": operator,
                    "dtype": dtype,
                    "registration": "refused" if refused else "registered",
                    "refusal": text if refused else "",
                    "in_paddle_registry": not refused,
                    "accumulator": "float32" if number % 3 else "",
                    "provenance": "own" if number % 4 else "reference",
                    "refusals": [text] if refused else [],
                }
            )
    return rows
