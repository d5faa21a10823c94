"""Tiny made-up files of every benchmark, as their authors lay them out, and a small model with a tokenizer."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

LETTERS = "ABCD"


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")


def sums(subject: str, split: str, count: int) -> list[list[str]]:
    """Questions with four answers, of which one is right, and its letter."""
    salt = {"dev": 100, "val": 200, "test": 200}[split] + len(subject)
    rows = []
    for i in range(count):
        right, total = (7 * i + salt) % 4, salt + 3 * i
        answers = [str(total + 10 * (place - right)) for place in range(4)]
        rows.append([f"What is {salt} plus {3 * i}?", *answers, LETTERS[right]])
    return rows


def mmlu(folder: Path, count: int = 6) -> Path:
    for subject in ("high_school_sums", "logic"):
        write_csv(folder / "dev" / f"{subject}_dev.csv", sums(subject, "dev", 5))
        write_csv(folder / "test" / f"{subject}_test.csv", sums(subject, "test", count))
    return folder


def ceval(folder: Path) -> Path:
    names = ["id", "question", "A", "B", "C", "D", "answer"]
    for subject in ("law", "physics"):
        shown = [[i, *row, "因为加法"] for i, row in enumerate(sums(subject, "dev", 5))]
        asked = [[i, *row] for i, row in enumerate(sums(subject, "val", 4))]
        write_csv(folder / "dev" / f"{subject}_dev.csv", [[*names, "explanation"], *shown])
        write_csv(folder / "val" / f"{subject}_val.csv", [names, *asked])
    (folder / "subject_mapping.json").write_text(json.dumps({"law": ["Law", "法学", "Humanities"]}), encoding="utf-8")
    return folder


def boolq(folder: Path) -> Path:
    def rows(start: int, count: int) -> Iterable[dict[str, Any]]:
        for i in range(start, start + count):
            yield {"question": f"is {i} even", "title": "N", "answer": i % 2 == 0, "passage": f"{i} is a number."}

    write_lines(folder / "dev.jsonl", rows(0, 5))
    write_lines(folder / "train.jsonl", rows(50, 3))
    return folder


def bbh(folder: Path) -> Path:
    (folder / "bbh").mkdir(parents=True)
    (folder / "cot-prompts").mkdir()
    examples = [
        {"input": f"Is {i} above 3?\nOptions:\n- Yes\n- No", "target": "Yes" if i > 3 else "No"} for i in range(5)
    ]
    (folder / "bbh" / "above.json").write_text(json.dumps({"canary": "no training", "examples": examples}))
    shots = [
        f"Q: Is {i} above 3?\nOptions:\n- Yes\n- No\nA: Let's think step by step.\nWe look at {i}. "
        f"So the answer is {'Yes' if i > 3 else 'No'}."
        for i in (9, -2, 8)
    ]
    (folder / "cot-prompts" / "above.txt").write_text(
        "NO TRAINING. canary\n-----\nCompare numbers.\n\n" + "\n\n".join(shots)
    )
    return folder


def agieval(folder: Path) -> Path:
    def row(question: str, options: list[str] | None, label: Any, answer: str | None = None) -> dict[str, Any]:
        return {
            "passage": None,
            "question": question,
            "options": options,
            "label": label,
            "answer": answer,
            "other": None,
        }

    marked = ["(A)one", "(B)two hundred", "(C)three", "(D)four"]
    write_lines(folder / "v1" / "sat-math.jsonl", [row(f"Which is it, {i}?", marked, LETTERS[i]) for i in range(3)])
    write_lines(
        folder / "v1" / "jec-qa-kd.jsonl", [row("哪些是对的", ["(A)甲", "(B)乙", "(C)丙", "(D)丁"], ["A", "C", "。"])]
    )
    write_lines(folder / "v1" / "math.jsonl", [row("What is $1+1$?", None, None, "$2$")])
    names = ["", "sat-math", "math"]
    example = [repr(row(f"Which was it, {i}?", marked, "B")) for i in range(2)]
    cloze = [repr(row(f"What is $2+{i}$?", None, None, str(2 + i))) for i in range(2)]
    rows = [names]
    for i in range(2):
        rows += [[f"sample {i + 1}", example[i], cloze[i]], [f"explanation {i + 1}", "It says so.", "We count."]]
    write_csv(folder / "few_shot_prompts.csv", rows)
    return folder


def humaneval(folder: Path, packed: bool = True) -> Path:
    tasks = [
        {
            "task_id": f"HumanEval/{i}",
            "prompt": f'def add{i}(x):\n    """Adds {i}."""\n',
            "entry_point": f"add{i}",
            "canonical_solution": f"    return x + {i}\n",
            "test": f"def check(candidate):\n    assert candidate(4) == {4 + i}\n",
        }
        for i in range(3)
    ]
    write_lines(folder / ("HumanEval.jsonl.gz" if packed else "HumanEval.jsonl"), tasks)
    return folder


WRITERS: dict[str, Callable[[Path], Path]] = {
    "mmlu": mmlu,
    "ceval": ceval,
    "boolq": boolq,
    "bbh": bbh,
    "agieval": agieval,
    "humaneval": humaneval,
}


def small_model(folder: Path, positions: int = 512) -> Path:
    """A LLaMA with drawn weights, large enough that its answers differ, and a tokenizer of bytes and pairs."""
    from adapter_conform.models.weights import write_weights
    from adapter_conform.serving.shape import DecoderShape, drawn_weights
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    folder.mkdir(parents=True)
    shape = DecoderShape(vocabulary=300, hidden=64, intermediate=112, positions=positions)
    weights = drawn_weights(shape, 1)
    weights = {name: array * (1.0 if "norm" in name else 6.0) for name, array in weights.items()}
    write_weights(folder / "model.safetensors", {name: array.astype("float32") for name, array in weights.items()})
    settings = {**shape.settings(), "model_type": "llama", "bos_token_id": 1, "eos_token_id": 2}
    (folder / "config.json").write_text(json.dumps(settings))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["What is the answer: A B C D", "Question: is it yes or no? Answer:"] * 4, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
