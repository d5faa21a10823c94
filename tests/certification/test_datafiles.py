"""Data files survive the round trip, PaddleNLP reads what is written, and malformed ones are refused by line."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from adapter_conform.certification.datafiles import (
    DataError,
    Instruction,
    Preference,
    TokenFile,
    read_instructions,
    read_preferences,
    write_instructions,
    write_preferences,
    write_tokens,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DOCUMENTS = [[[1, 2, 3], [4]], [[5, 6]], [[7, 8, 9, 10]]]
texts = st.text(min_size=1).filter(str.strip)
again = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def name(tmp_path: Path) -> Path:
    write_tokens(tmp_path / "corpus", DOCUMENTS)
    return tmp_path / "corpus"


@again
@given(st.lists(st.lists(st.lists(st.integers(0, 65535), max_size=9), max_size=4), max_size=5),
       st.sampled_from(["uint16", "int32", "int64"]))  # fmt: skip
def test_tokens_round_trip(tmp_path: Path, documents: list[list[list[int]]], dtype: str) -> None:
    write_tokens(tmp_path / "corpus", documents, dtype)
    data = TokenFile(tmp_path / "corpus")
    flat = [sequence for document in documents for sequence in document]
    assert [data[number].tolist() for number in range(len(data))] == flat
    assert data.tokens == sum(map(len, flat))
    assert np.diff(data.documents).tolist() == [len(document) for document in documents]
    assert data.dtype == dtype


@pytest.mark.paddle
def test_paddlenlp_reads_the_same(name: Path) -> None:
    indexed = pytest.importorskip("paddlenlp.data.indexed_dataset")
    theirs = indexed.MMapIndexedDataset(str(name))
    mine = TokenFile(name)
    assert [theirs[number].tolist() for number in range(len(theirs))] == [mine[n].tolist() for n in range(len(mine))]
    assert theirs.doc_idx.tolist() == mine.documents.tolist()


@pytest.mark.paddle
def test_what_paddlenlp_writes_is_read(tmp_path: Path) -> None:
    indexed = pytest.importorskip("paddlenlp.data.indexed_dataset")
    builder = indexed.MMapIndexedDatasetBuilder(str(tmp_path / "corpus.bin"), np.uint16)
    for document in DOCUMENTS:
        for sequence in document:
            builder.add_item(sequence)
        builder.end_document()
    builder.finalize(str(tmp_path / "corpus.idx"))
    data = TokenFile(tmp_path / "corpus")
    assert [data[number].tolist() for number in range(len(data))] == [s for document in DOCUMENTS for s in document]
    assert data.documents.tolist() == [0, 2, 3, 4]


def overwrite(path: Path, place: int, data: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[place : place + len(data)] = data
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("suffix", "place", "data", "expected"),
    [
        (".idx", 0, b"TNTIDX", "does not begin as an index"),
        (".idx", 9, struct.pack("<Q", 2), "version 2"),
        (".idx", 17, b"\x63", "dtype code 99"),
        (".idx", 18, struct.pack("<Q", 5), "cut short or damaged"),
        (".idx", 34, struct.pack("<i", -1), "has -1 tokens"),
        (".idx", 34, struct.pack("<i", 2), "does not begin where"),
        (".idx", 34 + 12 * 4, struct.pack("<q", 1), "document index"),
        (".bin", 40, b"\0", "belongs to another index"),
    ],
)
def test_damaged_tokens(name: Path, suffix: str, place: int, data: bytes, expected: str) -> None:
    overwrite(Path(f"{name}{suffix}"), place, data)
    with pytest.raises(DataError, match=expected):
        TokenFile(name)


def test_missing_tokens_and_tokens_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not there"):
        TokenFile(tmp_path / "nothing")
    with pytest.raises(DataError, match="outside of uint16"):
        write_tokens(tmp_path / "corpus", [[[70000]]], "uint16")
    with pytest.raises(DataError, match="integers"):
        write_tokens(tmp_path / "corpus", [[[1]]], "float32")


@again
@given(st.lists(st.lists(st.tuples(texts, texts), min_size=1, max_size=3), min_size=1, max_size=4))
def test_instructions_round_trip(tmp_path: Path, turns: list[list[tuple[str, str]]]) -> None:
    items = [Instruction(tuple(q for q, _ in one), tuple(a for _, a in one)) for one in turns]
    write_instructions(tmp_path / "sft.jsonl", items)
    assert read_instructions(tmp_path / "sft.jsonl") == items


@again
@given(texts, texts, texts, texts)
def test_preferences_round_trip(tmp_path: Path, question: str, answer: str, chosen: str, rejected: str) -> None:
    items = [Preference((question,), (), chosen, rejected), Preference((question, answer), (answer,), rejected, chosen)]
    write_preferences(tmp_path / "dpo.jsonl", items)
    assert read_preferences(tmp_path / "dpo.jsonl") == items


def test_the_larger_sort_is_the_chosen(tmp_path: Path) -> None:
    line = {"src": "q", "tgt": [], "response": [["bad"], ["good"]], "sort": [0, 1]}
    (tmp_path / "dpo.jsonl").write_text(json.dumps(line))
    assert read_preferences(tmp_path / "dpo.jsonl") == [Preference(("q",), (), "good", "bad")]


SFT = '{"src": ["q"], "tgt": ["a"]}'


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"src": ["q"]', "line 2 is no JSON"),
        ('["q", "a"]', "line 2 is no JSON object, but list"),
        ('{"src": ["q"]}', "line 2 lacks tgt"),
        ('{"src": ["q", "r"], "tgt": ["a"]}', "line 2: 2 texts in src, 1 in tgt"),
        ('{"src": [], "tgt": []}', "line 2: 0 texts"),
        ('{"src": [1], "tgt": ["a"]}', "line 2: src is to be a text"),
        ('{"src": [" "], "tgt": ["a"]}', "line 2: src holds an empty text"),
    ],
)
def test_malformed_instructions(tmp_path: Path, line: str, expected: str) -> None:
    (tmp_path / "sft.jsonl").write_text(f"{SFT}\n{line}\n{SFT}\n")
    with pytest.raises(DataError, match=expected):
        read_instructions(tmp_path / "sft.jsonl")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"response": [["a"]]}, "two answers"),
        ({"response": [["a"], ["b", "c"]]}, "each response is one text"),
        ({"sort": [1, 1]}, "ranks both responses alike"),
        ({"sort": ["1", "0"]}, "two numbers"),
        ({"tgt": ["a"]}, "1 texts in src need 0 in tgt, not 1"),
    ],
)
def test_malformed_preferences(tmp_path: Path, change: dict[str, object], expected: str) -> None:
    line = {"src": ["q"], "tgt": [], "response": [["a"], ["b"]], "sort": [1, 0], **change}
    (tmp_path / "dpo.jsonl").write_text(json.dumps(line))
    with pytest.raises(DataError, match=f"line 1: .*{expected}"):
        read_preferences(tmp_path / "dpo.jsonl")


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n\n")
    with pytest.raises(DataError, match="holds no line"):
        read_instructions(tmp_path / "empty")
    (tmp_path / "bytes").write_bytes(SFT.encode() + b"\n\xff\xfe\n")
    with pytest.raises(Exception, match="line 2, byte 1"):
        read_instructions(tmp_path / "bytes")
