"""The heartbeat log of a soak as part of a bundle: attached, judged, and judged again by whoever verifies."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from _bundle import make_bundle, make_key, write_references
from adapter_conform.certification.bundle import seal, verify
from adapter_conform.certification.certifying import attach_soak, conclude
from adapter_conform.errors import UsageProblem
from adapter_conform.soak import heartbeat
from adapter_conform.soak.heartbeat import Beat

DAY = 86_400.0
BEAT = 300.0


def write_soak(folder: Path, days: float, plugin: str = "simulated") -> Path:
    folder.mkdir()
    (folder / "training.json").write_text(json.dumps({"plugin": plugin, "strategy": "dp2"}))
    beats = [Beat(BEAT * n, BEAT * n, n + 1, 2.0, 0.1, 0, 0, 0, 1, 0) for n in range(int(days * DAY / BEAT) + 1)]
    write_log(folder / "heartbeat.jsonl", beats)
    return folder


def write_log(path: Path, beats: list[Beat]) -> None:
    path.write_text("".join(json.dumps(vars(beat)) + "\n" for beat in beats))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("soak-evidence")
    write_references(folder / "pack")
    key = make_key(folder)
    make_bundle(folder / "bundle", folder / "pack", key=key)
    return folder


def attached(made: Path, soak: Path) -> list[str]:
    """What is missing once the log of ``soak`` is in the bundle; seals it."""
    attach_soak(made / "bundle", soak, "simulated")
    verdict = conclude(made / "bundle")
    seal(made / "bundle", made / "key")
    return [words for words in verdict.missing if words.startswith("soak")]


def test_days_that_are_short_are_missing_and_full_ones_can_be_verified(made: Path, tmp_path: Path) -> None:
    (words,) = attached(made, write_soak(tmp_path / "short", 3.5))
    assert "longest stretch 3.5 days" in words
    assert attached(made, write_soak(tmp_path / "full", 14.2)) == []
    assert "days short of 14" in (made / "bundle" / "certificate.json").read_text()
    assert verify(made / "bundle", made / "key.pub") == []


def test_a_log_that_was_stretched_is_found_though_the_vendor_signs_again(made: Path, tmp_path: Path) -> None:
    attached(made, write_soak(tmp_path / "short", 3.5))
    log = made / "bundle" / "soak" / "heartbeat.jsonl"
    write_log(log, [replace(beat, time=beat.time * 1.9) for beat in heartbeat.read(log)])
    seal(made / "bundle", made / "key")
    words = " ".join(finding.what for finding in verify(made / "bundle", made / "key.pub"))
    assert "are not those of the records" in words


def test_what_is_no_soak_of_the_plugin_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="trained on plugin 'other'"):
        attach_soak(made / "bundle", write_soak(tmp_path / "other", 1.0, "other"), "simulated")
    with pytest.raises(UsageProblem, match=r"heartbeat\.jsonl and training\.json"):
        attach_soak(made / "bundle", tmp_path, "simulated")
