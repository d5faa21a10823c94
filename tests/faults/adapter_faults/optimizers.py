"""Optimizer steps and mixed precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adapter_faults.call import Array, Call
from adapter_faults.table import after

__all__: list[str] = []


@dataclass
class _Adam:
    """One step of AdamW in float64, from the state before it; outputs 1 and 2 hold the moments after it."""

    call: Call

    def __post_init__(self) -> None:
        self.parameter, self.gradient, self.rate = (item.astype(np.float64) for item in self.call.inputs[:3])
        self.power1, self.power2 = (item.astype(np.float64) for item in self.call.inputs[5:7])
        self.first, self.second = (self.call.output(i).astype(np.float64) for i in (1, 2))
        self.epsilon = self.call.attributes["epsilon"]
        self.decay = self.call.attributes["weight_decay"]

    def moments(self, gradient: Array) -> None:
        beta1, beta2 = self.call.attributes["beta1"], self.call.attributes["beta2"]
        first, second = (item.astype(np.float64) for item in self.call.inputs[3:5])
        self.first = beta1 * first + (1 - beta1) * gradient
        self.second = beta2 * second + (1 - beta2) * gradient * gradient

    def root(self) -> Array:
        return np.asarray(np.sqrt(self.second / (1 - self.power2)))

    def stepped(self, size: Array, corrected: bool = True, decoupled: bool = True) -> Array:
        kept = self.parameter * (1 - self.rate * self.decay) if decoupled else self.parameter
        first = self.first / (1 - self.power1) if corrected else self.first
        return np.asarray(kept - self.rate * first / size)


@after("adamw/float32", sees="bound")
def coupled_weight_decay(call: Call) -> None:
    """Weight decay is added to the gradient, as in Adam with L2, instead of to the step."""
    step = _Adam(call)
    step.moments(step.gradient + step.decay * step.parameter)
    call.write(step.stepped(step.root() + step.epsilon, decoupled=False))


@after("adamw/float32", sees="bound")
def epsilon_under_the_root(call: Call) -> None:
    """epsilon is added under the square root instead of to it."""
    step = _Adam(call)
    call.write(step.stepped(np.sqrt(step.second / (1 - step.power2) + step.epsilon)))


@after("adamw/float32", sees="bound")
def no_bias_correction(call: Call) -> None:
    """The moments of the first steps are not corrected for their start at zero."""
    step = _Adam(call)
    call.write(step.stepped(np.sqrt(step.second) + step.epsilon, corrected=False))


@after("adamw/bfloat16", sees="bound", operator="adamw_master")
def dropped_master_weights(call: Call) -> None:
    """The float32 copy of the weights is made anew from the bfloat16 weights at every step."""
    call.write(call.output(0), index=len(call.output_views) - 1)


@after("check_finite_and_unscale/float32", sees="bound exact")
def loss_scale_not_applied(call: Call) -> None:
    """Gradients keep the loss scale."""
    call.write(call.inputs[0])


@after("check_finite_and_unscale/float16", sees="exact")
def overflow_not_noticed(call: Call) -> None:
    """An infinite gradient is not reported, so that the optimizer steps with it."""
    call.write(False, index=len(call.output_views) - 1)


@after("update_loss_scaling/float32", sees="exact bound")
def scale_never_shrinks(call: Call) -> None:
    """The loss scale stays as it is after steps that overflowed."""
    index = len(call.output_views) - 3
    call.write(np.maximum(call.output(index), call.inputs[2]), index)
