"""Files of every benchmark: read as their authors lay them out, refused with file, line and a way out."""

from __future__ import annotations

import ast
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from _samples import WRITERS, mmlu, write_csv, write_lines
from adapter_conform.certification.datafiles.errors import DataError
from adapter_conform.errors import UsageProblem
from adapter_conform.evaluation.benchmarks import BENCHMARKS
from adapter_conform.evaluation.items import Item, Subject
from adapter_conform.evaluation.readers import agieval, bbh, boolq, ceval, humaneval
from adapter_conform.evaluation.readers import mmlu as mmlu_reader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Read = Callable[[Path], list[Subject]]
FAST = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def samples(tmp_path: Path) -> dict[str, list[Subject]]:
    return {name: BENCHMARKS[name].read(write(tmp_path / name)) for name, write in WRITERS.items()}


def test_subjects_items_and_examples(samples: dict[str, list[Subject]]) -> None:
    counts = {name: [(one.name, len(one.items), len(one.shots)) for one in found] for name, found in samples.items()}
    assert counts == {
        "mmlu": [("high_school_sums", 6, 5), ("logic", 6, 5)],
        "ceval": [("law", 4, 5), ("physics", 4, 5)],
        "boolq": [("boolq", 5, 3)],
        "bbh": [("above", 5, 3)],
        "agieval": [("jec-qa-kd", 1, 0), ("math", 1, 2), ("sat-math", 3, 2)],
        "humaneval": [("humaneval", 3, 0)],
    }


def test_what_an_item_holds(samples: dict[str, list[Subject]]) -> None:
    first = samples["mmlu"][0].items[0]
    assert (first.id, first.answer, first.choices[first.right[0]]) == ("high_school_sums/0", "A", "216")
    law = samples["ceval"][0]
    assert (law.title, law.shots[0].explanation, samples["ceval"][1].title) == ("法学", "因为加法", "physics")
    assert [item.answer for item in samples["boolq"][0].items] == ["yes", "no", "yes", "no", "yes"]
    above = samples["bbh"][0]
    assert above.title == "Compare numbers."
    assert [shot.answer for shot in above.shots] == ["Yes", "No", "Yes"]
    assert above.shots[0].explanation == "We look at 9. So the answer is Yes."
    several, cloze, single = (subject.items[0] for subject in samples["agieval"])
    assert (several.answer, several.right) == ("AC", (0, 2))
    assert (cloze.choices, cloze.answer) == ((), "$2$")
    assert single.choices[1] == "(B)two hundred"
    task = samples["humaneval"][0].items[1]
    assert (task.id, task.entry_point) == ("HumanEval/1", "add1")


def test_unpacked_and_with_byte_order_mark(tmp_path: Path) -> None:
    folder = WRITERS["humaneval"](tmp_path)
    packed = humaneval.read(folder)
    write_lines(folder / "HumanEval.jsonl", [])
    (folder / "HumanEval.jsonl.gz").rename(folder / "kept.gz")
    import gzip

    (folder / "HumanEval.jsonl").write_bytes(b"\xef\xbb\xbf" + gzip.decompress((folder / "kept.gz").read_bytes()))
    assert humaneval.read(folder) == packed


def test_options_that_stand_in_one_text(tmp_path: Path) -> None:
    row = {"passage": None, "question": "q", "options": ["A. 甲\tB. 乙\tC. 丙\tD. 丁"], "label": "C", "answer": None}
    write_lines(tmp_path / "gaokao-geography.jsonl", [row])
    assert agieval.read(tmp_path)[0].items[0].choices == ("A. 甲", "B. 乙", "C. 丙", "D. 丁")


@pytest.mark.parametrize(("label", "letters"), [("A", "A"), ("A C", "AC"), ("DB", "BD"), (["C", "A"], "AC"), ([], "")])
def test_labels_of_agieval(tmp_path: Path, label: object, letters: str) -> None:
    write_lines(tmp_path / "t.jsonl", [{"question": "q", "options": ["a", "b", "c", "d"], "label": label}])
    assert agieval.read(tmp_path)[0].items[0].answer == letters


GOOD_ROW = ["q", "1", "2", "3", "4", "A"]


@pytest.mark.parametrize(
    ("read", "name", "text", "says"),
    [
        (mmlu_reader.read, "test/x_test.csv", "q,1,2,3,A\n", "line 1: 5 fields"),
        (mmlu_reader.read, "test/x_test.csv", "q,1,2,3,4,A\nq,1,2,3,4,E\n", "line 2: the answer is 'E'"),
        (mmlu_reader.read, "test/x_test.csv", " ,1,2,3,4,A\n", "line 1: the question is empty"),
        (mmlu_reader.read, "test/x_test.csv", 'q,"1,2,3,4,A\n', "line 1: no row of CSV"),
        (mmlu_reader.read, "test/x_test.csv", '"a\nb",1,2,3,4,A\nq,1,2\n', "line 3: 3 fields"),
        (mmlu_reader.read, "test/x_test.csv", "\n\n", "holds no question"),
        (mmlu_reader.read, "test/x_test.csv", "q,1,2,3,4,\udcff\n", "line 1, byte 11 (0xff) is not UTF-8"),
        (ceval.read, "val/x_val.csv", "question,A,B,C,D,answer\n", "the first row is"),
        (ceval.read, "val/x_val.csv", "id,question,A,B,C,D,answer\n0,q,1,2,3,4\n", "line 2: 6 fields"),
        (ceval.read, "val/x_val.csv", "id,question,A,B,C,D,answer\n0,q,1,2,3,4,\n", "there is no answer"),
        (ceval.read, "val/x_val.csv", "id,question,A,B,C,D,answer\n", "holds no question"),
        (boolq.read, "dev.jsonl", '{"question": "q", "passage": "p"}\n', "line 1: answer is 'None'"),
        (boolq.read, "dev.jsonl", '{"question": "q", "answer": true}\n', "line 1: passage is missing"),
        (boolq.read, "dev.jsonl", "\n{\n", "line 2 is no JSON"),
        (boolq.read, "dev.jsonl", "[1]\n", "line 1 is no JSON object"),
        (bbh.read, "bbh/x.json", '{"examples": [{"input": "q"}]}', "example 1: target is missing"),
        (bbh.read, "bbh/x.json", '{"examples": []}', 'no list "examples"'),
        (bbh.read, "bbh/x.json", '{\n"examples": [}', "line 2, column"),
        (agieval.read, "x.jsonl", '{"question": "q", "options": ["a", "b"], "label": "C"}', "label is 'C'"),
        (agieval.read, "x.jsonl", '{"question": "q", "options": ["a"], "label": "A"}', "1 options"),
        (agieval.read, "x.jsonl", '{"question": "q", "options": "ab", "label": "A"}', "options are ab"),
        (agieval.read, "x.jsonl", '{"question": "q", "options": null, "answer": null}', "answer is null"),
        (humaneval.read, "HumanEval.jsonl", '{"task_id": "1", "entry_point": "a b"}', "entry_point is 'a b'"),
        (humaneval.read, "HumanEval.jsonl.gz", "not packed", "it cannot be unpacked"),
    ],
)
def test_what_is_wrong_and_where(tmp_path: Path, read: Read, name: str, text: str, says: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UsageProblem) as raised:
        read(tmp_path)
    message = str(raised.value)
    assert says in message
    assert str(path) in message
    assert "\n" in message, "it does not say what to do"


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_an_empty_folder_says_what_is_expected(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="Give the folder"):
        BENCHMARKS[name].read(tmp_path)


@pytest.mark.parametrize("text", ["no dashes", "canary\n-----\nAbout.\n\nQ: q\nA: 4."])
def test_prompts_of_bbh_that_are_none(tmp_path: Path, text: str) -> None:
    folder = WRITERS["bbh"](tmp_path)
    (folder / "cot-prompts" / "above.txt").write_text(text)
    with pytest.raises(DataError, match=r"above\.txt"):
        bbh.read(folder)


def test_examples_of_agieval_are_read_as_literals_only(tmp_path: Path) -> None:
    folder = WRITERS["agieval"](tmp_path)
    write_csv(folder / "few_shot_prompts.csv", [["", "math"], ["s", "__import__('os').getpid()"], ["e", "x"]])
    with pytest.raises(DataError, match="line 3, math: no literal of Python"):
        agieval.read(folder)


# ---- whatever a file holds ------------------------------------------------------------------------------------------

# Few characters, so that those that mean something in a file are frequent.
TEXT = st.text("ab ,;\"'\n\t\\{}[]é中\u2028", min_size=1, max_size=12).filter(str.strip)


@FAST
@given(rows=st.lists(st.tuples(TEXT, TEXT, TEXT, TEXT, TEXT, st.sampled_from("ABCD")), min_size=1, max_size=4))
def test_rows_of_csv_survive(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    write_csv(tmp_path / "test" / "x_test.csv", rows)
    (subject,) = mmlu_reader.read(tmp_path)
    assert [(item.question, *item.choices, item.answer) for item in subject.items] == rows


@FAST
@given(rows=st.lists(st.tuples(TEXT, TEXT, st.booleans()), min_size=1, max_size=4))
def test_lines_of_json_survive(tmp_path: Path, rows: list[tuple[str, str, bool]]) -> None:
    write_lines(tmp_path / "dev.jsonl", [{"question": q, "passage": p, "answer": a} for q, p, a in rows])
    (subject,) = boolq.read(tmp_path)
    assert [(item.question, item.passage, item.answer == "yes") for item in subject.items] == rows


PLACES: dict[str, tuple[str, ...]] = {
    "mmlu": ("test/x_test.csv",),
    "ceval": ("val/x_val.csv", "subject_mapping.json"),
    "boolq": ("dev.jsonl",),
    "bbh": ("bbh/x.json", "cot-prompts/x.txt"),
    "agieval": ("x.jsonl", "few_shot_prompts.csv"),
    "humaneval": ("HumanEval.jsonl",),
}
SHARDS = st.sampled_from(
    ['{"question": "q", ', '"answer": true', "}", "[", "\n", ",", '"', "q,1,2,3,4,A", "id", "-----", "Q: "]
)


@pytest.mark.parametrize("name", sorted(PLACES))
@FAST
@given(
    texts=st.lists(
        st.one_of(st.binary(max_size=40), st.lists(SHARDS).map(lambda x: "".join(x).encode())), min_size=2, max_size=2
    )
)
def test_rubbish_is_read_or_refused(tmp_path: Path, name: str, texts: list[bytes]) -> None:
    """Never a traceback, never an item without an answer that its scoring can use."""
    for place, text in zip(PLACES[name], texts, strict=False):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(text)
    try:
        subjects = BENCHMARKS[name].read(tmp_path)
    except UsageProblem as problem:
        said = str(problem)
    else:
        assert all(_usable(item) for subject in subjects for item in subject.items)
        return
    assert str(tmp_path) in said


def _usable(item: Item) -> bool:
    return bool(item.question.strip()) and all(0 <= place < len(item.choices) for place in item.right if item.choices)


def test_the_samples_are_as_the_formats_say(tmp_path: Path) -> None:
    """The writers of this folder against the standard library's own readers, so that both are not wrong alike."""
    rows = list(csv.reader(io.StringIO((mmlu(tmp_path) / "test" / "logic_test.csv").read_text())))
    assert {len(row) for row in rows} == {6}
    table = list(csv.reader((WRITERS["agieval"](tmp_path / "a") / "few_shot_prompts.csv").open()))
    assert set(ast.literal_eval(table[1][1])) >= {"passage", "question", "options", "label"}
    assert set(json.loads((WRITERS["bbh"](tmp_path / "b") / "bbh" / "above.json").read_text())) == {
        "canary",
        "examples",
    }
