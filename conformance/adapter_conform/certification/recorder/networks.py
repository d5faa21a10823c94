"""The models in PyTorch: built from a recipe's settings, filled from arrays with the names of transformers 4.

transformers 4.57 and 5 differ in how they hold experts (5: one tensor for all) and in their default attention, which
is therefore always named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.recipes.starting import Weights
from adapter_conform.certification.recorder.diffusion.model import StableDiffusion

__all__ = ["build_network", "exported_weights", "load_weights"]

Arrays = Mapping[str, NDArray[np.float32]]

_CLASSES = {
    "llama": ("LlamaForCausalLM", "LlamaConfig"),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config"),
    "qwen2_moe": ("Qwen2MoeForCausalLM", "Qwen2MoeConfig"),
    "gpt3": ("GPT2LMHeadModel", "GPT2Config"),
}


def build_network(recipe: Recipe, attention: str) -> Any:
    """A model with arbitrary weights, without dropout; ``attention`` is "eager" or "sdpa".

    Raises:
        ValueError: this release of transformers builds something else than the recipe's settings ask for.
    """
    architecture = recipe.standard_model.architecture
    if architecture == "stable_diffusion":
        return StableDiffusion(recipe, attention)
    model, config = _CLASSES[architecture]
    settings = _gpt_settings(recipe.settings) if architecture == "gpt3" else dict(recipe.settings)
    network = getattr(transformers, model)(
        getattr(transformers, config)(**settings, use_cache=False, attn_implementation=attention)
    )
    if "rope_theta" in recipe.settings:
        _require_rotary_base(network, recipe.settings)
    return network


def _gpt_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "vocab_size": settings["vocab_size"],
        "n_positions": settings["max_position_embeddings"],
        "n_embd": settings["hidden_size"],
        "n_layer": settings["num_hidden_layers"],
        "n_head": settings["num_attention_heads"],
        "n_inner": settings["intermediate_size"],
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def _require_rotary_base(network: Any, settings: Mapping[str, Any]) -> None:
    """Releases have renamed the setting, and one that is not understood is silently the default."""
    size = settings["hidden_size"] // settings["num_attention_heads"]
    wanted = settings["rope_theta"] ** (-np.arange(0, size, 2) / size)
    found = network.model.rotary_emb.inv_freq.double().numpy()
    if not np.allclose(found, wanted, rtol=1e-5, atol=0):
        raise ValueError(
            f"transformers {transformers.__version__} ignores rope_theta={settings['rope_theta']}: the rotary "
            "frequencies are not those of the recipe; use a release from 4.57 on"
        )


def load_weights(network: Any, weights: Arrays) -> None:
    """Raises ValueError where names or shapes do not fit; the message lists them."""
    state = network.state_dict()
    arrays = _fused(weights, state)
    tied = {"lm_head.weight"} - arrays.keys()
    faults = [f"{name}: only in the model" for name in sorted(state.keys() - arrays.keys() - tied)]
    faults += [f"{name}: only in the weights" for name in sorted(arrays.keys() - state.keys())]
    for name in sorted(state.keys() & arrays.keys()):
        if tuple(state[name].shape) != arrays[name].shape:
            faults.append(f"{name}: {tuple(state[name].shape)} in the model, {arrays[name].shape} in the weights")
    if faults:
        raise ValueError("the weights do not fit the model:\n  " + "\n  ".join(faults))
    with torch.no_grad():
        for name, array in arrays.items():
            state[name].copy_(torch.from_numpy(np.array(array)))


def exported_weights(network: Any) -> Weights:
    """The weights of ``network``, float32, with the names of transformers 4."""
    config = getattr(network, "config", None)
    tied = "lm_head.weight" if getattr(config, "tie_word_embeddings", False) else ""
    state = {
        name: tensor.detach().float().cpu().numpy() for name, tensor in network.state_dict().items() if name != tied
    }
    return _apart(state)


def _fused(weights: Arrays, state: Mapping[str, Any]) -> Weights:
    """``weights`` with the experts of a layer in one tensor, where the model wants them so."""
    arrays = {name: np.asarray(array) for name, array in weights.items()}
    for name in state:
        if not name.endswith("mlp.experts.gate_up_proj"):
            continue
        prefix = name.removesuffix("gate_up_proj")
        count = state[name].shape[0]

        def of(kind: str, prefix: str = prefix, count: int = count) -> list[NDArray[np.float32]]:
            return [arrays.pop(f"{prefix}{expert}.{kind}_proj.weight") for expert in range(count)]

        pairs = zip(of("gate"), of("up"), strict=True)
        arrays[prefix + "gate_up_proj"] = np.stack([np.concatenate(pair) for pair in pairs])
        arrays[prefix + "down_proj"] = np.stack(of("down"))
    return arrays


def _apart(state: Weights) -> Weights:
    """The opposite of :func:`_fused`."""
    weights: Weights = {}
    for name, array in state.items():
        found = re.fullmatch(r"(.*\.mlp\.experts\.)(gate_up|down)_proj", name)
        if found is None:
            weights[name] = array
            continue
        for expert, matrix in enumerate(array):
            stem = f"{found[1]}{expert}."
            if found[2] == "down":
                weights[stem + "down_proj.weight"] = np.ascontiguousarray(matrix)
            else:
                gate, up = np.split(matrix, 2)
                weights[stem + "gate_proj.weight"] = np.ascontiguousarray(gate)
                weights[stem + "up_proj.weight"] = np.ascontiguousarray(up)
    return weights
