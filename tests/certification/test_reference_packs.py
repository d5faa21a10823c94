"""Reference packs: what is read is what was written, and everything else is refused with the reason."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from _inference import logits
from _packs import DEVICE, PRETRAIN, RECIPES, VERSIONS, manifest, measurement, write_pack
from adapter_conform.certification.arrays import as_text
from adapter_conform.certification.digests import weights_digest
from adapter_conform.certification.packs import PackError, builtin, read_pack, runs
from adapter_conform.certification.packs.manifest import OPERATORS_FILE, Entry
from adapter_conform.certification.packs.merging import merge_packs
from adapter_conform.certification.packs.summary import compared, described, error_of_means
from adapter_conform.certification.packs.weightfile import packed, unpacked
from adapter_conform.certification.packs.writing import PackWriter
from adapter_conform.certification.recipes import initial_weights
from adapter_conform.certification.recipes.starting import neighbouring, storable
from adapter_conform.errors import ConformError
from adapter_conform.reference import ErrorFigures, OperatorPack
from hypothesis import given, settings
from hypothesis import strategies as st

WEIGHTS = "weights/gpt-3-175b.initial.safetensors"
BASE = "measurements/gpt-3-175b.pretrain.float32.base.json.gz"
GPU = {"kind": "cuda", "name": "NVIDIA X", "driver": "1", "compute_capability": "9.0", "memory_bytes": 1}


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return write_pack(tmp_path / "pack")


def edit(pack: Path, change: object) -> None:
    """Applies ``change`` to the manifest, as someone would who wants the pack to be believed."""
    data = json.loads((pack / "pack.json").read_text())
    change(data)  # type: ignore[operator]
    (pack / "pack.json").write_text(json.dumps(data))


def replaced(pack: Path, relative: str, content: bytes) -> None:
    """Another content, with digest and size that fit it."""
    (pack / relative).write_bytes(content)
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    edit(pack, lambda data: data["files"].update({relative: entry}))


def base_of(pack: Path) -> str:
    return gzip.decompress((pack / BASE).read_bytes()).decode()


def base_replaced(pack: Path, text: str) -> None:
    replaced(pack, BASE, gzip.compress(text.encode()))


def refused(pack: Path, *words: str) -> None:
    with pytest.raises(PackError) as caught:
        read_pack(pack)
    for word in words:
        assert word in str(caught.value)


def test_what_is_written_is_read(pack: Path) -> None:
    read = read_pack(pack)
    assert [one.variant for one in read.of(PRETRAIN.id, "float32")] == ["base", "rows"]
    assert read.of(PRETRAIN.id, "float32")[0] == measurement(
        PRETRAIN, "base", weights_digest(read.weights(PRETRAIN.id))
    )
    assert read.scale == "sample"
    assert len(read.digest) == 64


def test_weights_survive_bit_by_bit(pack: Path) -> None:
    drawn = initial_weights(PRETRAIN)
    for name, array in read_pack(pack).weights(PRETRAIN.id).items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, drawn[name][:4].astype(np.float16).astype(np.float32))


def test_weights_that_float16_cannot_hold_stay_float32() -> None:
    weights = {"a": np.array([1.0, 1e-9, 70000.0], np.float32), "b": np.array([0.5], np.float32)}
    data = packed(weights)
    for name, array in unpacked(data, "x").items():
        np.testing.assert_array_equal(array, weights[name])
    assert b'"F32"' in data
    assert b'"F16"' in data


def test_a_pack_of_a_cpu_says_so(pack: Path) -> None:
    read = read_pack(pack)
    assert not read.is_gpu
    assert "no GPU reference" in read.label
    assert any("no comparison with a GPU" in line for line in described(read))


def test_a_pack_of_a_cpu_cannot_be_renamed_into_one_of_a_gpu(pack: Path) -> None:
    edit(pack, lambda data: data.update(name="cuda-sample"))
    refused(pack, "does not begin with the kind of device, cpu")


def test_a_pack_of_a_cpu_cannot_claim_a_gpu(pack: Path) -> None:
    def claim(data: dict) -> None:
        data["name"] = "cuda-sample"
        data["provenance"]["device"] = GPU
        data["provenance"]["versions"]["cuda"] = "12"

    edit(pack, claim)
    refused(pack, "was measured on", "A processor")


def test_a_gpu_is_described_in_full(tmp_path: Path) -> None:
    device = {**GPU, "driver": ""}
    writer = PackWriter.open(tmp_path / "p", manifest(device=device, versions={**VERSIONS, "cuda": "12"}), False)
    writer.finish("now")
    edit(tmp_path / "p", lambda data: data.update(name="cuda-x"))
    refused(tmp_path / "p", "driver missing")


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_flipped_bit_anywhere_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    pack = write_pack(tmp_path_factory.mktemp("flip") / "pack")
    path = pack / data.draw(st.sampled_from([WEIGHTS, BASE]))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    refused(pack, path.name, "sha256")


def test_a_truncated_file_is_found(pack: Path) -> None:
    path = pack / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1])
    refused(pack, WEIGHTS, "bytes")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda data: data[:-1], "cut off"),
        (lambda data: data + data, "followed by something else"),
        (gzip.decompress, "not compressed by gzip"),
        (lambda _: gzip.compress(b" " * 2048), "larger than any run"),
    ],
)
def test_a_run_that_cannot_be_unfolded_is_refused(
    pack: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[bytes], bytes], why: str
) -> None:
    monkeypatch.setattr(runs, "_LARGEST", 1024 if "larger" in why else runs._LARGEST)
    replaced(pack, BASE, spoil((pack / BASE).read_bytes()))
    refused(pack, BASE, why)


def test_a_run_in_plain_json_is_read_too(pack: Path) -> None:
    """As packs had them once."""
    before = read_pack(pack)
    replaced(pack, BASE.removesuffix(".gz"), gzip.decompress((pack / BASE).read_bytes()))
    (pack / BASE).unlink()
    edit(pack, lambda data: data["files"].pop(BASE))
    assert read_pack(pack).measurements == before.measurements


def test_a_run_that_is_there_twice_is_refused(pack: Path) -> None:
    """Compressed and plain, as a merge of an older pack and a newer one would have it: which one would be the base?"""
    replaced(pack, BASE.removesuffix(".gz"), gzip.decompress((pack / BASE).read_bytes()))
    refused(pack, PRETRAIN.id, "float32 base is there twice")


def test_packs_that_hold_a_run_in_two_forms_are_not_merged(pack: Path, tmp_path: Path) -> None:
    older = Path(shutil.copytree(pack, tmp_path / "older"))
    replaced(older, BASE.removesuffix(".gz"), gzip.decompress((older / BASE).read_bytes()))
    (older / BASE).unlink()
    edit(older, lambda data: data["files"].pop(BASE))
    with pytest.raises(PackError, match="hold the run"):
        merge_packs([older, pack], tmp_path / "whole")
    assert not (tmp_path / "whole").exists()


def test_a_missing_file_is_found(pack: Path) -> None:
    (pack / BASE).unlink()
    refused(pack, BASE, "is missing")


@pytest.mark.parametrize("name", ["measurements/extra.json", "extra.txt", "deep/er/x.safetensors"])
def test_a_file_that_the_manifest_does_not_name_is_refused(pack: Path, name: str) -> None:
    (pack / name).parent.mkdir(parents=True, exist_ok=True)
    (pack / name).write_text("{}")
    refused(pack, name)


@pytest.mark.parametrize(
    "name",
    [
        "../escape.json",
        "measurements/../../escape.json",
        "/etc/passwd",
        "measurements\\x.json",
        "weights/x.pkl",
        "x.json",
    ],
)
def test_paths_that_leave_the_folder_are_refused(pack: Path, name: str) -> None:
    entry = {"sha256": "0" * 64, "bytes": 2}
    edit(pack, lambda data: data["files"].update({name: entry}))
    refused(pack, "a pack holds")


def test_links_are_refused_even_to_the_right_content(pack: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.safetensors"
    shutil.move(pack / WEIGHTS, outside)
    (pack / WEIGHTS).symlink_to(outside)
    refused(pack, WEIGHTS, "link")


def test_a_linked_folder_is_refused(pack: Path, tmp_path: Path) -> None:
    shutil.move(pack / "weights", tmp_path / "weights")
    (pack / "weights").symlink_to(tmp_path / "weights")
    refused(pack, "weights is a link")


def test_a_pipe_is_not_waited_for(pack: Path) -> None:
    (pack / WEIGHTS).unlink()
    os.mkfifo(pack / WEIGHTS)
    refused(pack, WEIGHTS, "no plain file")


def test_a_file_exchanged_after_the_check_is_not_used(pack: Path) -> None:
    read = read_pack(pack)
    content = bytearray((pack / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (pack / WEIGHTS).write_bytes(content)
    with pytest.raises(PackError, match="differs"):
        read.weights(PRETRAIN.id)


@pytest.mark.parametrize("number", [0, 2, "1", None, True])
def test_another_format_is_refused(pack: Path, number: object) -> None:
    edit(pack, lambda data: data.update(format=number))
    refused(pack, f"format {number!r}")


def test_a_huge_declared_size_costs_nothing(pack: Path) -> None:
    edit(pack, lambda data: data["files"][WEIGHTS].update(bytes=1 << 60))
    refused(pack, str(1 << 60))


@pytest.mark.parametrize("size", [-1, 1.5, "12", True, None])
def test_sizes_are_numbers_of_bytes(pack: Path, size: object) -> None:
    edit(pack, lambda data: data["files"][WEIGHTS].update(bytes=size))
    refused(pack, "no number of bytes")


def test_a_huge_header_in_a_weights_file_is_not_allocated(pack: Path) -> None:
    replaced(pack, WEIGHTS, struct.pack("<Q", 1 << 62) + b"{}")
    refused(pack, WEIGHTS, "no safetensors file")


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("unpickled",)


def test_a_pickle_is_never_loaded(pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    replaced(pack, WEIGHTS, pickle.dumps(Bomb()))
    refused(pack, WEIGHTS, "never loaded")
    assert not (tmp_path / "unpickled").exists()


def test_weights_that_are_no_numbers_are_refused(pack: Path) -> None:
    replaced(pack, WEIGHTS, packed({"a": np.array([np.nan], np.float32)}))
    refused(pack, "no finite number")


def test_weights_of_another_training_are_refused(pack: Path) -> None:
    replaced(pack, WEIGHTS, packed({"a": np.array([1.0], np.float32)}))
    with pytest.raises(PackError, match="started from"):
        read_pack(pack).weights(PRETRAIN.id)


def test_a_recipe_of_another_edition_is_refused(pack: Path) -> None:
    other = replace(PRETRAIN, schedule=replace(PRETRAIN.schedule, learning_rate=1e-4))
    weights = weights_digest(read_pack(pack).weights(PRETRAIN.id))
    base_replaced(pack, measurement(other, "base", weights).to_json())
    refused(pack, PRETRAIN.id, "another one", "record the pack again")
    assert read_pack(pack, check_recipes=False).measurements


def test_an_unknown_recipe_is_refused(pack: Path) -> None:
    data = json.loads(base_of(pack))
    base_replaced(pack, json.dumps({**data, "recipe": "gpt-9/pretrain"}))
    refused(pack, "gpt-9/pretrain is unknown")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"losses": []}, "no losses"),
        ({"losses": [1.0]}, "figures"),
        ({"seconds": ["fast"] * 40}, "no finite number"),
        ({"precision": "float8"}, "float8"),
        ({"error": "it broke"}, "it broke"),
        ({"items": [{"id": "0", "expected": [1.5], "answer": [], "figures": {}}]}, "no integer"),
        ({"digests": []}, "digests"),
        ({"surprise": 1}, "surprise"),
        ({"format": 9}, "another format"),
    ],
)
def test_the_schema_of_measurements(pack: Path, change: dict, word: str) -> None:
    data = json.loads(base_of(pack))
    base_replaced(pack, json.dumps({**data, **change}))
    refused(pack, word)


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"losses": NaN}'])
def test_what_is_no_measurement(pack: Path, content: bytes) -> None:
    replaced(pack, BASE, gzip.compress(content))
    refused(pack, "base.json")


def test_infinite_figures_are_refused(pack: Path) -> None:
    base_replaced(pack, base_of(pack).replace("5.0,", "Infinity,", 1))
    refused(pack, "no finite number")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', "[" * 100_000, '{"format": 1, "name": "x"}'])
def test_what_is_no_manifest(pack: Path, content: str) -> None:
    (pack / "pack.json").write_text(content)
    refused(pack, "pack.json")


def test_no_pack_at_all(tmp_path: Path) -> None:
    refused(tmp_path, "no reference pack")
    refused(tmp_path / "nowhere", "no reference pack")


def test_unknown_weights_name_what_there_is(pack: Path) -> None:
    with pytest.raises(PackError, match=PRETRAIN.id):
        read_pack(pack).weights("llama1-13b/lora")


def test_no_builtin_pack_for_a_scale_nobody_recorded() -> None:
    with pytest.raises(PackError, match="record --zipapp"):
        builtin("full")


def test_a_writer_goes_on_where_it_was_interrupted(pack: Path) -> None:
    before = read_pack(pack)
    (pack / "measurements" / "half.json.new").write_text("{")  # what a killed writer leaves
    writer = PackWriter.open(pack, manifest(), resume=True)
    assert writer.recorded() == {(PRETRAIN.id, "float32", "base"), (PRETRAIN.id, "float32", "rows")}
    writer.add(measurement(PRETRAIN, "sdpa", weights_digest(before.weights(PRETRAIN.id))))
    assert [one.variant for one in read_pack(pack).measurements] == ["base", "rows", "sdpa"]


def test_a_pack_is_recorded_under_one_set_of_conditions(pack: Path) -> None:
    with pytest.raises(ValueError, match="other conditions"):
        PackWriter.open(pack, manifest(versions={**VERSIONS, "torch": "2.11.0"}), resume=True)
    with pytest.raises(ValueError, match="not empty"):
        PackWriter.open(pack, manifest(), resume=False)


def test_a_damaged_pack_is_not_resumed(pack: Path) -> None:
    (pack / BASE).write_text("{}")
    with pytest.raises(ValueError, match="damaged"):
        PackWriter.open(pack, manifest(), resume=True)


def test_packs_recorded_a_model_at_a_time_become_one(pack: Path, tmp_path: Path) -> None:
    other = write_pack(tmp_path / "other", recipe=RECIPES["llama1-13b/pretrain"])
    whole = merge_packs([pack, other], tmp_path / "whole")
    assert {one.recipe for one in whole.measurements} == {PRETRAIN.id, "llama1-13b/pretrain"}
    for recipe in whole.manifest.weights:
        assert whole.weights(recipe)


def test_drawn_weights_that_are_not_stored_are_drawn_again_and_held_to_their_digest(tmp_path: Path) -> None:
    weights = storable(initial_weights(PRETRAIN))
    writer = PackWriter.open(tmp_path / "slim", manifest(), resume=False)
    writer.add(measurement(PRETRAIN, "base", weights_digest(weights)))
    drawn = read_pack(tmp_path / "slim").weights(PRETRAIN.id)
    assert weights_digest(drawn) == weights_digest(weights)
    with pytest.raises(PackError, match="no weights for llama1-13b/sft"):
        read_pack(tmp_path / "slim").weights("llama1-13b/sft")  # starts from what another recipe learned
    writer.add(measurement(PRETRAIN, "base", "0" * 64))
    with pytest.raises(PackError, match="what this machine draws is not"):
        read_pack(tmp_path / "slim").weights(PRETRAIN.id)


def test_neighbouring_weights_lie_one_number_apart() -> None:
    weights = initial_weights(PRETRAIN)
    moved = neighbouring(weights)
    for name, array in weights.items():
        steps = np.abs(moved[name].view(np.int32) - array.view(np.int32))[array != 0]
        assert (steps == 1).all()


def test_packs_of_different_conditions_or_content_are_not_merged(pack: Path, tmp_path: Path) -> None:
    other = write_pack(tmp_path / "other", versions={**VERSIONS, "torch": "2.11.0"})
    with pytest.raises(PackError, match="versions"):
        merge_packs([pack, other], tmp_path / "whole")
    again = write_pack(tmp_path / "again")
    writer = PackWriter.open(again, manifest(), resume=True)
    writer.add(measurement(PRETRAIN, "base", weights_digest(read_pack(pack).weights(PRETRAIN.id)), offset=1.0))
    with pytest.raises(PackError, match="they hold another"):
        merge_packs([pack, again], tmp_path / "whole")


def test_difference_of_two_packs_in_means_over_twenty_steps(tmp_path: Path, pack: Path) -> None:
    (row,) = compared(read_pack(pack), read_pack(pack))
    assert row.error == 0.0
    assert row.same_answers == 1.0
    assert row.spread == pytest.approx(1e-6 / 4.7, rel=0.1)
    assert error_of_means([1.0] * 40, [1.0] * 20 + [1.1] * 20) == pytest.approx(0.1)
    assert error_of_means([1.0] * 40, [1.0] * 39) == float("inf")


def test_entries_of_every_recipe_fit_the_rule_for_paths(tmp_path: Path) -> None:
    writer = PackWriter.open(tmp_path / "all", manifest(), resume=False)
    for recipe in RECIPES.values():
        made = measurement(recipe, "base", "0" * 64)
        if recipe.id == "sd/inference":
            made.arrays = {"noise": as_text(np.ones(2))}
        elif recipe.task == "inference":
            made.logits = {"model": logits(recipe, "float32", seed=0)}
        writer.add(made)
    read = read_pack(tmp_path / "all")
    assert {one.recipe for one in read.measurements} == set(RECIPES)
    assert all(isinstance(entry, Entry) for entry in read.manifest.files.values())
    assert read.provenance["device"] == DEVICE


def test_errors_of_operators_are_read_out_of_a_pack(pack: Path) -> None:
    with pytest.raises(ConformError, match="has no errors of operators"):
        OperatorPack.read(pack)
    figures = {"max_relative": 0.5, "mean_relative": 0.25, "rms": 0.125}
    text = json.dumps({"format": 1, "device": "a CPU", "entries": {"d": {"out0": figures}}})
    writer = PackWriter.open(pack, manifest(), resume=True)
    writer.copy(OPERATORS_FILE, text.encode())
    assert OperatorPack.read(pack).entries == {"d": {"out0": ErrorFigures(**figures)}}
    assert read_pack(pack).measurements
    (pack / OPERATORS_FILE).write_text(text.replace("0.25", "0.75"))
    with pytest.raises(ConformError, match="differs from what was recorded"):
        OperatorPack.read(pack)
