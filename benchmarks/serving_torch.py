"""transformers on PyTorch's CPU, for serving.py: reads one JSON line with the model, then answers numbers of tokens."""

from __future__ import annotations

import json
import sys

import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM


def main() -> None:
    told = json.loads(sys.stdin.readline())
    config = LlamaConfig(**told["settings"], attn_implementation="sdpa", eos_token_id=None)
    model = LlamaForCausalLM(config)
    model.load_state_dict(load_file(told["weights"]), strict=True)
    model = model.to(getattr(torch, told["dtype"])).eval()
    ids = torch.tensor([told["prompt"]])
    print(json.dumps(torch.get_num_threads()), flush=True)
    for line in sys.stdin:
        count = int(line)
        with torch.inference_mode():
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=count,
                min_new_tokens=count,
                pad_token_id=0,
            )
        print(json.dumps(out[0, ids.shape[1] :].tolist()), flush=True)


if __name__ == "__main__":
    main()
