"""Whatever is changed in a bundle is found, and the finding says what: with a broken seal, and with a new one."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from _bundle import make_bundle, make_key, write_references
from adapter_conform.certification.bundle import seal, verify
from adapter_conform.certification.bundle.checking.seal import check_seal
from adapter_conform.certification.bundle.envelope import signed
from adapter_conform.certification.bundle.keys import read_private, read_public
from adapter_conform.certification.bundle.statement import make_statement

Tamper = Callable[[Path], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bundle``, ``pack``, ``key`` and the key of someone else."""
    root = tmp_path_factory.mktemp("made")
    write_references(root / "pack")
    make_key(root)
    make_key(root, "stranger")
    make_bundle(root / "bundle", root / "pack", key=root / "key")
    return root


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "bundle", tmp_path / "bundle"))


def findings(made: Path, bundle: Path, pack: Path | None = None) -> list[str]:
    return [f"{finding.kind}: {finding}" for finding in verify(bundle, made / "key.pub", pack)]


def sign_again(made: Path, bundle: Path) -> None:
    """What the vendor could do, who holds the key: a new statement and signature over what lies there now."""
    payload = json.dumps(make_statement(bundle)).encode()
    (bundle / "statement.json").write_bytes(payload)
    (bundle / "signature.json").write_text(json.dumps(signed(payload, read_private(made / "key"))))


def edit(path: str, change: Callable[[Any], None]) -> Tamper:
    def tamper(bundle: Path) -> None:
        data = json.loads((bundle / path).read_text())
        change(data)
        (bundle / path).write_text(json.dumps(data))

    return tamper


def edit_record(number: int, change: Callable[[dict[str, Any]], None]) -> Tamper:
    def tamper(bundle: Path) -> None:
        path = bundle / "results.jsonl"
        records = [json.loads(line) for line in path.read_text().splitlines()]
        change(records[number])
        path.write_text("".join(json.dumps(record) + "\n" for record in records))

    return tamper


def drop_record(bundle: Path) -> None:
    lines = (bundle / "results.jsonl").read_text().splitlines(keepends=True)
    (bundle / "results.jsonl").write_text("".join(lines[:-1]))


def drop_case(bundle: Path) -> None:
    """From the plan, too: as if it had never been planned."""
    drop_record(bundle)
    edit("plan.json", lambda plan: plan["cases"].pop())(bundle)


def swap(one: str, other: str) -> Tamper:
    def tamper(bundle: Path) -> None:
        texts = (bundle / one).read_bytes(), (bundle / other).read_bytes()
        (bundle / one).write_bytes(texts[1])
        (bundle / other).write_bytes(texts[0])

    return tamper


DEVICE = "measurements/llama1-13b.pretrain.float32.json"


def first_reference(change: Callable[[Any], None]) -> Tamper:
    def tamper(bundle: Path) -> None:
        path = sorted((bundle / "reference/measurements").glob("*pretrain*float32*"))[0]
        data = json.loads(gzip.decompress(path.read_bytes()))
        change(data)
        path.write_bytes(gzip.compress(json.dumps(data).encode()))

    return tamper


def lower(data: dict[str, Any]) -> None:
    data["losses"][20] -= 1e-3


def better_score(data: dict[str, Any]) -> None:
    wrong = next(item for item in data["items"] if item["answer"] != item["expected"])
    wrong["answer"] = wrong["expected"]


def conformant(data: dict[str, Any]) -> None:
    data["verdict"], data["title"] = "conformant", "level I: conformant"


def gpu(data: dict[str, Any]) -> None:
    data["is_gpu"], data["provenance"]["device"] = True, {"kind": "cuda", "name": "A100"}


def wider(record: dict[str, Any]) -> None:
    record["errors"][-1]["limit"] = 0.5


def half_done(record: dict[str, Any]) -> None:
    record["errors"] = record["errors"][:-1]


TAMPERS: dict[str, tuple[Tamper, str]] = {
    "a loss of the device": (edit(DEVICE, lower), "the raw data give"),
    "an answer made right": (edit(DEVICE, better_score), "the raw data give"),
    "a speed": (edit(DEVICE, lambda run: run.update(seconds=[s / 2 for s in run["seconds"]])), "tokens per second"),
    "a fallback hidden in the record": (
        edit(DEVICE, lambda run: run["executed"].update(fell_back=["softmax/float32"])),
        "kernels of another device",
    ),
    "the raw record removed": (lambda bundle: (bundle / DEVICE).unlink(), "is not there"),
    "two raw records swapped": (swap(DEVICE, DEVICE.replace("pretrain", "sft")), "holds llama1-13b/sft"),
    "a raw record without a case": (
        lambda bundle: shutil.copy(bundle / DEVICE, bundle / "measurements/llama1-13b.lora.float32.json"),
        "it holds llama1-13b/pretrain",
    ),
    "a limit of a record": (edit_record(0, wider), "the record says"),
    "a figure of a record removed": (edit_record(0, half_done), "its gates are not those of the rules"),
    "a state": (edit_record(0, lambda record: record.update(state="failed")), "its figures make it passed"),
    "a waiver made up": (edit_record(0, lambda record: record.update(state="waived")), "no waiver of the plan"),
    "a record removed": (drop_record, "planned, and results.jsonl has no record of it"),
    "a case removed from plan and records": (drop_case, "no record of results.jsonl belongs to it"),
    "a count of the summary": (edit("results.json", lambda data: data["counts"].update(passed=99)), "'counts' does"),
    "the verdict": (edit("certificate.json", conformant), "verdict: "),
    "a reason removed": (
        edit("certificate.json", lambda data: [task.update(reasons=[]) for task in data["tasks"]]),
        "its reasons were changed",
    ),
    "a task's verdict": (
        edit("certificate.json", lambda data: data["tasks"][0].update(verdict="not conformant")),
        "'not conformant' is written",
    ),
    "what is missing": (edit("certificate.json", lambda data: data.update(missing=[])), "missing: []"),
    "another level claimed": (edit("certificate.json", lambda data: data["request"].update(level="III")), "it was"),
    "a peak that nobody measured": (
        edit("extras.json", lambda data: data["peaks"].append(
            {"dtype": "float32", "declared_tflops": 1.0, "measured_tflops": 0.9}
        )),
        "not those of the records",
    ),
    "a reference run": (first_reference(lower), "it is not the run of the pack"),
    "a reference run removed": (
        lambda bundle: sorted((bundle / "reference/measurements").glob("*"))[0].unlink(),
        "a run of the reference pack is not there",
    ),
    "a CPU reference called a GPU": (edit("reference.json", gpu), "name or provenance"),
    "another pack's digest": (edit("reference.json", lambda data: data.update(digest="0" * 64)), "not the manifest"),
    "the page": (
        lambda bundle: (bundle / "report.html").write_text(
            (bundle / "report.html").read_text().replace("sample of level I", "certificate of level I")
        ),
        "the page does not show",
    ),
    "a plan that cannot be read": (lambda bundle: (bundle / "plan.json").write_text("{"), "cannot be"),
}  # fmt: skip


def test_a_good_bundle_holds(made: Path, bundle: Path) -> None:
    assert findings(made, bundle) == []
    assert findings(made, bundle, made / "pack") == []


@pytest.mark.parametrize("name", TAMPERS)
def test_a_change_breaks_the_seal(made: Path, bundle: Path, name: str) -> None:
    TAMPERS[name][0](bundle)
    assert {finding.kind for finding in check_seal(bundle, read_public(made / "key.pub"))} & {
        "digest",
        "missing",
        "stray",
    }


@pytest.mark.parametrize("name", [name for name in TAMPERS if name != "a plan that cannot be read"])
def test_a_change_is_found_though_the_vendor_signs_again(made: Path, bundle: Path, name: str) -> None:
    tamper, expected = TAMPERS[name]
    tamper(bundle)
    sign_again(made, bundle)
    assert [line for line in findings(made, bundle) if expected in line]


def test_swapped_pack(made: Path, bundle: Path, tmp_path: Path) -> None:
    """Another pack and everything that follows from it, sealed again: only who knows the true pack finds out."""
    write_references(tmp_path / "pack")
    shutil.rmtree(bundle)
    make_bundle(bundle, tmp_path / "pack", key=made / "key")
    assert findings(made, bundle) == []
    other = json.loads((tmp_path / "pack/pack.json").read_text())
    other["name"] = "cpu-sample-other"
    (tmp_path / "pack/pack.json").write_text(json.dumps(other))
    (found,) = findings(made, bundle, tmp_path / "pack")
    assert "held against another pack" in found


def test_signature(made: Path, bundle: Path) -> None:
    assert "not signed by the given key" in str(verify(bundle, made / "stranger.pub")[0])
    edit("statement.json", lambda data: data["predicate"].update(verdict="conformant"))(bundle)
    assert findings(made, bundle) == ["signature: statement.json: it is not the statement that was signed"]
    payload = json.loads((bundle / "signature.json").read_text())
    payload["signatures"][0]["sig"] = base64.b64encode(bytes(64)).decode()
    (bundle / "signature.json").write_text(json.dumps(payload))
    assert any("does not hold" in line for line in findings(made, bundle))
    (bundle / "signature.json").unlink()
    assert any("not signed" in line for line in findings(made, bundle))


def test_a_file_that_leaves_the_bundle(made: Path, bundle: Path) -> None:
    (bundle / "attachments").mkdir()
    (bundle / "attachments/human-evaluation-tuning.txt").symlink_to(made / "key")
    assert any("stray: attachments/human" in line for line in findings(made, bundle))


def test_unsigned(made: Path, bundle: Path) -> None:
    seal(bundle, None)
    assert findings(made, bundle) == ["signature: signature.json: the bundle is not signed"]


def command(*words: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "adapter_conform", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)


def test_commands(made: Path, bundle: Path, tmp_path: Path) -> None:
    good = command("verify", bundle, "--public-key", made / "key.pub")
    assert good.returncode == 0, good.stderr
    assert "sample of level I" in good.stdout
    compared = command("compare", made / "bundle", bundle, "--html", tmp_path / "compared.html")
    assert compared.returncode == 0, compared.stderr
    assert "tokens per second" in compared.stdout
    assert "llama1-13b/sft" in (tmp_path / "compared.html").read_text()
    edit(DEVICE, lower)(bundle)
    bad = command("verify", bundle, "--public-key", made / "key.pub")
    assert bad.returncode == 1
    assert "the bundle is not what it says" in bad.stdout
    assert command("verify", tmp_path, "--public-key", made / "key.pub").returncode == 2
    assert command("verify", bundle, "--public-key", made / "key").returncode == 2
    assert command("compare", bundle, tmp_path).returncode == 2


def test_keygen(tmp_path: Path) -> None:
    done = command("keygen", "--out", tmp_path / "my.key")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "my.key").stat().st_mode & 0o777 == 0o600
    before = (tmp_path / "my.key").read_bytes()
    again = command("keygen", "--out", tmp_path / "my.key")
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert (tmp_path / "my.key").read_bytes() == before


def test_the_page_stands_alone_and_says_what_it_is_not(bundle: Path) -> None:
    for name in ("report.html", "cases.html"):
        page = (bundle / name).read_text()
        assert "no certificate of the level" in page
        assert "http://" not in page
        assert "https://" not in page
    assert "PyTorch on CPU" in (bundle / "report.html").read_text()
