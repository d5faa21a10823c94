"""Text to tokens and back, by the tokenizer in a model's folder; bytes or characters for a model without one."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from adapter_conform.errors import UsageProblem
from adapter_conform.evaluation.model.folder import ModelFolder
from adapter_conform.serving import tokenizer as plain

__all__ = ["TextTokenizer", "end_tokens", "tokenizer_in", "tokenizer_without_file"]


class TextTokenizer(Protocol):
    prefix: tuple[int, ...]
    """What stands before every text: the token of a beginning, or nothing."""

    def encode(self, text: str) -> list[int]:
        """Without ``prefix``."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Without special tokens."""


class _Fast:
    """tokenizer.json, by the library of the same name."""

    def __init__(self, path: Path, ends: frozenset[int]) -> None:
        library = _library("tokenizers")
        try:
            self._tokenizer = library.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise UsageProblem(f"{path}: no tokenizer: {error}\nFetch the model again.") from error
        self._tokenizer.no_truncation()
        self.prefix: tuple[int, ...] = tuple(token for token in self._tokenizer.encode("").ids if token not in ends)

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))


class _SentencePiece:
    """tokenizer.model, by the library of the same name."""

    def __init__(self, path: Path, begins: bool) -> None:
        library = _library("sentencepiece")
        try:
            self._model = library.SentencePieceProcessor(model_file=str(path))
        except (OSError, RuntimeError) as error:
            raise UsageProblem(f"{path}: no model of SentencePiece: {error}\nFetch the model again.") from error
        begin = int(self._model.bos_id())
        self.prefix: tuple[int, ...] = (begin,) if begins and begin >= 0 else ()

    def encode(self, text: str) -> list[int]:
        return list(self._model.encode(text))

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._model.decode(list(tokens)))


class _Plain:
    """Bytes, or characters."""

    prefix: tuple[int, ...] = (plain.BEGIN,)

    def __init__(self, vocabulary: int) -> None:
        self._tokenizer = plain.tokenizer_for(vocabulary)

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text)

    def decode(self, tokens: Sequence[int]) -> str:
        decoding = self._tokenizer.decoding()
        last = len(tokens) - 1
        return "".join(decoding.feed(token, place == last) for place, token in enumerate(tokens))


def tokenizer_in(folder: ModelFolder) -> TextTokenizer:
    """Raises UsageProblem where the file is none, or the library that reads it is not installed."""
    path = folder.tokenizer
    if path is None:
        return tokenizer_without_file(int(folder.settings["vocab_size"]))
    if path.suffix == ".json":
        return _Fast(path, end_tokens(folder))
    return _SentencePiece(path, bool(_settings(folder, "tokenizer_config.json").get("add_bos_token", True)))


def tokenizer_without_file(vocabulary: int) -> TextTokenizer:
    """A byte is a token where the vocabulary has room for them, else a character."""
    return _Plain(vocabulary)


def end_tokens(folder: ModelFolder) -> frozenset[int]:
    """The tokens that end an answer."""
    for settings in (_settings(folder, "generation_config.json"), folder.settings):
        end = settings.get("eos_token_id")
        if end is not None:
            return frozenset(end) if isinstance(end, list) else frozenset({int(end)})
    return frozenset({plain.END}) if folder.tokenizer is None else frozenset()


def _settings(folder: ModelFolder, name: str) -> Mapping[str, Any]:
    path = folder.path / name
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageProblem(f"{path}: no JSON: {error}") from error
    return data if isinstance(data, dict) else {}


def _library(name: str) -> Any:
    if importlib.util.find_spec(name) is None:
        raise UsageProblem(
            f"{name} is not installed; install adapter-sdk[evaluate]: pip install 'adapter-sdk[evaluate]'"
        )
    return importlib.import_module(name)
