"""``adapter-conform evaluate``: a public benchmark, from local files, on a plugin's device."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console

from adapter_conform.errors import UsageProblem
from adapter_conform.evaluation.benchmarks import BENCHMARKS
from adapter_conform.evaluation.model.request import BACKENDS, PRECISIONS

__all__ = ["command"]

_EPILOG = """\b
Examples:
  adapter-conform evaluate --plugin refchip --benchmark mmlu --data mmlu --model Qwen2-0.5B --out mmlu-refchip
  adapter-conform evaluate --plugin refchip --benchmark mmlu --data mmlu --model Qwen2-0.5B --out mmlu-refchip --resume
  adapter-conform evaluate --plugin refchip --benchmark bbh --data BIG-Bench-Hard --model Qwen2-0.5B --limit 10
  adapter-conform evaluate --plugin acme --benchmark ceval --data ceval --model Qwen2-14B --precision bfloat16 \\
      --scheme int8 --reference ceval-gpu/outcomes.jsonl
  adapter-conform evaluate --plugin acme --benchmark humaneval --data human-eval/data --model Qwen2-14B \\
      --allow-code-execution

\b
Files, as their authors distribute them (nothing is downloaded):
  mmlu       test/SUBJECT_test.csv, dev/SUBJECT_dev.csv             5 shots, likelihood of the letter
  ceval      val/SUBJECT_val.csv, dev/SUBJECT_dev.csv,              5 shots, likelihood of the letter, mean of subjects
             subject_mapping.json for Chinese names
  boolq      dev.jsonl, train.jsonl                                 0 shots, likelihood of yes and no
  bbh        bbh/TASK.json, cot-prompts/TASK.txt                    3 shots with reasoning, exact match, mean of tasks
  agieval    v1/TASK.jsonl or v1_1/TASK.jsonl, few_shot_prompts.csv 0 shots, likelihood of the option by its length;
                                                                    written where several are right; mean of tasks
  humaneval  HumanEval.jsonl.gz or HumanEval.jsonl                  pass@1, greedy

\b
A model is a folder with config.json, safetensors and tokenizer (Hugging Face's names; llama, qwen2), or a model of the
standard by name, as a proxy with drawn weights, which talks nonsense. docs/evaluating.md shows prompts and formulas.
HumanEval runs code that the model wrote, in a process without files, network, children and environment.

\b
Exit codes:
  0  measured; with --reference: equivalent to it within --margin
  1  shown to differ from the reference by more
  2  usage error, or a file that is not of its format: nothing has run
  3  inconclusive: not every question is answered, too few items to show equivalence, or no proof that the device did
     the work
"""


@click.command(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("--plugin", metavar="NAME", required=True, help="The device plugin, see `adapter-sdk devices`.")
@click.option("--benchmark", "name", type=click.Choice(tuple(BENCHMARKS)), required=True, help="Which.")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, readable=True, path_type=Path),
    required=True,
    metavar="FOLDER",
    help="The benchmark's files.",
)
@click.option("--model", required=True, metavar="FOLDER|NAME", help="What is evaluated.")
@click.option("--shots", type=click.IntRange(min=0), metavar="N", help="Examples.  [default: by benchmark]")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N questions of each subject.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("evaluation"), show_default=True, metavar="DIR")
@click.option("--resume", is_flag=True, help="Go on with the evaluation in --out.")
@click.option("--precision", type=click.Choice(PRECISIONS), default="float32", show_default=True)
@click.option("--scheme", default="none", show_default=True, metavar="NAME", help="Quantization, see docs/serving.md.")
@click.option(
    "--backend", type=click.Choice(BACKENDS), default="engine", show_default=True, help="What runs the model."
)
@click.option("--reference", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="OUTCOMES",
              help="Outcomes of the same questions elsewhere, to be compared with item by item.")  # fmt: skip
@click.option("--margin", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.01, show_default=True,
              help="Largest difference of scores that counts as none.")  # fmt: skip
@click.option("--batch", type=click.IntRange(1, 256), default=8, show_default=True, help="Questions asked together.")
@click.option(
    "--context-length", type=click.IntRange(8), default=4096, show_default=True, help="Longest sequence, in tokens."
)
@click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="The model may write.  [default: by benchmark]")
@click.option("--timeout", type=click.FloatRange(1), default=1800.0, show_default=True, help="Seconds of a batch.")
@click.option("--allow-code-execution", is_flag=True, help="Run code that the model writes (humaneval).")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of weights that are drawn.")
@click.pass_context
def command(context: click.Context, /, name: str, data: Path, out: Path, resume: bool, **options: Any) -> None:
    """Asks a model the questions of a public benchmark, on a plugin's device, and scores the answers."""
    from adapter_conform.evaluation.benchmarks import questions_of
    from adapter_conform.evaluation.checks import check_questions
    from adapter_conform.evaluation.conduct import Conduct, opened
    from adapter_conform.evaluation.items import limited
    from adapter_conform.evaluation.model.client import ModelClient
    from adapter_conform.evaluation.model.request import requested_model
    from adapter_conform.evaluation.report import report_of, write_report
    from adapter_conform.evaluation.request import EvaluationRequest, digest_of
    from adapter_conform.supervisor.preload import named_preload

    console = Console(highlight=False, soft_wrap=True)
    benchmark = BENCHMARKS[name]
    facts: dict[str, Any] = {}
    if benchmark.runs_code:
        facts["isolation"] = _isolation(options["allow_code_execution"], console)
    shots = benchmark.shots if options["shots"] is None else options["shots"]
    subjects = limited(benchmark.read(data), options["limit"])
    questions = questions_of(benchmark, subjects, shots, options["max_tokens"] or 0)
    check_questions(questions, subjects, shots)
    _require(options["plugin"])
    names = ("plugin", "model", "backend", "precision", "scheme", "seed", "batch")
    model = requested_model(**{one: options[one] for one in names}, context=options["context_length"])
    request = EvaluationRequest(name, shots, options["limit"], options["max_tokens"] or 0, digest_of(questions), model)
    reference = None
    if options["reference"] is not None:
        reference = _reference(options["reference"], name, {question.item.id for question in questions})
    done = opened(out, request, resume)
    console.print(f"{len(questions)} questions of {len(subjects)} subjects, {len(done)} of them answered already")
    with _terminable(), ModelClient(model, out / "worker.log", options["timeout"]) as client:
        asked = Conduct(benchmark, request, client, out, console.print).run(questions, done)
        facts |= {"kernels": dict(client.kernels), **client.facts}
    report = report_of(benchmark, questions, asked, reference, options["margin"], named_preload(os.environ))
    for line in write_report(out, request, report, facts):
        console.print(line, markup=False)
    context.exit(int(report.code))


def _isolation(allowed: bool, console: Console) -> str:
    """What confines the code, as words. Raises where it may not run, or cannot be confined."""
    from adapter_conform.evaluation.sandbox import isolation

    if not allowed:
        raise UsageProblem(
            "this benchmark runs code that the model wrote\nGive --allow-code-execution if that is what you want; "
            "docs/evaluating.md says what confines it."
        )
    words = isolation().words()
    console.print(f"code that the model writes is confined: {words}", markup=False)
    return words


def _require(plugin: str) -> None:
    import adapter_sdk
    from adapter_sdk.errors import AdapterError

    try:
        adapter_sdk.load(plugin)
    except AdapterError as error:
        raise UsageProblem(str(error)) from error


def _reference(path: Path, benchmark: str, asked: set[str]) -> Any:
    """Outcomes by id. Raises UsageProblem where they cannot be those of the same questions."""
    from adapter_conform.evaluation.outcomes import read_outcomes

    header, outcomes = read_outcomes(path)
    if header["benchmark"] != benchmark:
        raise UsageProblem(f"--reference {path} is of {header['benchmark']}, not of {benchmark}")
    missing, odd = len(outcomes.keys() - asked), len(asked - outcomes.keys())
    if missing or odd:
        raise UsageProblem(
            f"--reference {path}: {odd} questions of --data are not in it, {missing} of its own are not in --data\n"
            "Give both the same files and the same --limit."
        )
    return outcomes


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does: with everything written down."""

    def interrupt(_signal: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
