"""A bundle of inference: its page shows what was judged, and whatever is changed in its raw records is found."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from _bundle import bundle_of, make_key
from _inference import device, logits, recipe_of, references
from _packs import manifest
from adapter_conform.certification.bundle import seal, verify
from adapter_conform.certification.digests import weights_digest
from adapter_conform.certification.packs import PackError, read_pack
from adapter_conform.certification.packs.pack import learned_weights
from adapter_conform.certification.packs.writing import PackWriter
from adapter_conform.certification.recipes import initial_weights

LLAMA = recipe_of("I", "LLaMA1-13B")
RAW = "measurements/llama1-13b.inference.bfloat16.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``pack``, ``key`` and ``bundle``."""
    root = tmp_path_factory.mktemp("inference")
    writer = PackWriter.open(root / "pack", manifest(), resume=False)
    few = dict(list(initial_weights(LLAMA).items())[:2])
    weights = {name: array[:2].astype("float16").astype("float32") for name, array in few.items()}
    writer.add_final_weights(LLAMA.starts_from, weights)
    writer.start_from(LLAMA.id, LLAMA.starts_from)
    digest = weights_digest(weights)
    for run in copy.deepcopy(references(LLAMA)):
        run.digests["weights"] = digest
        writer.add(run)
    writer.finish("2030-01-01T00:10:00+00:00")
    runs = [(LLAMA, device(LLAMA, name)) for name in LLAMA.precisions]
    for _, run in runs:
        run.digests["weights"] = digest
    bundle_of(runs, ("inference",), root / "bundle", root / "pack", make_key(root))
    return root


def test_the_page_shows_every_way_and_the_load(made: Path) -> None:
    assert not verify(made / "bundle", made / "key.pub", made / "pack")
    page = (made / "bundle" / "report.html").read_text()
    assert json.loads((made / "bundle" / "certificate.json").read_text())["tasks"][0]["verdict"] == "conformant"
    for words in ("<h2>Inference</h2>", "static", "matmul/float16", "requests/s", "first token", "logits, served"):
        assert words in page
    assert "Loss on device and reference" not in page


def _logits(run: dict[str, Any]) -> None:
    run["logits"]["eager"] = logits(LLAMA, "float32", 0)


def _answer(run: dict[str, Any]) -> None:
    run["answers"]["static"][0][0] += 1


def _kernels(run: dict[str, Any]) -> None:
    run["executed"]["ways"]["served"]["kernels"]["matmul/bfloat16"] += 1


def _another_scheme(run: dict[str, Any]) -> None:
    run["precision"] = "float16"


@pytest.mark.parametrize("change", [_logits, _answer, _kernels, _another_scheme])
def test_an_edited_record_is_found_even_under_a_new_seal(
    made: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    bundle = Path(shutil.copytree(made / "bundle", tmp_path / "bundle"))
    run = json.loads((bundle / RAW).read_text())
    change(run)
    (bundle / RAW).write_text(json.dumps(run))
    assert any(finding.kind == "digest" for finding in verify(bundle, made / "key.pub"))
    seal(bundle, made / "key")
    kinds = {finding.kind for finding in verify(bundle, made / "key.pub")}
    assert kinds & {"figure", "record"}, kinds


def test_weights_of_another_pack(made: Path) -> None:
    pack = read_pack(made / "pack")
    found = learned_weights(made / "pack", LLAMA.starts_from, pack.provenance)
    assert weights_digest(found) == pack.measurements[0].digests["weights"]
    with pytest.raises(PackError, match="does not hold what"):
        learned_weights(made / "pack", "qwen2-14b/sft", pack.provenance)
    with pytest.raises(PackError, match="its seed"):
        learned_weights(made / "pack", LLAMA.starts_from, {**pack.provenance, "seed": 5})
