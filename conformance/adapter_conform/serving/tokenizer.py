"""Text to tokens and back without a vocabulary file, for models that were never trained on words."""

from __future__ import annotations

import codecs

__all__ = ["BEGIN", "END", "ByteTokenizer", "CharacterTokenizer", "Tokenizer", "tokenizer_for"]

BEGIN, END, FIRST = 1, 2, 3
"""Smaller ids than FIRST are padding, beginning and end."""

_REPLACEMENT = "\ufffd"


class Decoding:
    """Text of tokens that come one by one."""

    def __init__(self, vocabulary_bytes: bool, alphabet: str = "") -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace") if vocabulary_bytes else None
        self._alphabet = alphabet

    def feed(self, token: int, final: bool = False) -> str:
        """What became readable with ``token``; special tokens are silent."""
        place = token - FIRST
        if self._utf8 is not None:
            if not 0 <= place < 256:
                return self._utf8.decode(b"", final) + (_REPLACEMENT if place >= 256 else "")
            return self._utf8.decode(bytes([place]), final)
        if place < 0:
            return ""
        return self._alphabet[place] if place < len(self._alphabet) else _REPLACEMENT


class ByteTokenizer:
    """Token ``3 + b`` is byte ``b`` of the text in UTF-8, as in ByT5 (Xue et al., 2022)."""

    def encode(self, text: str) -> list[int]:
        return [FIRST + byte for byte in text.encode()]

    def decoding(self) -> Decoding:
        return Decoding(True)


class CharacterTokenizer:
    """A token is a character: printable ASCII, then what follows from U+00A1 on."""

    def __init__(self, vocabulary: int) -> None:
        count = max(0, vocabulary - FIRST)
        ascii_part = [chr(code) for code in range(0x20, 0x7F)]
        rest = [chr(code) for code in range(0xA1, 0xA1 + max(0, count - len(ascii_part)))]
        self._alphabet = "".join((ascii_part + rest)[:count])
        self._places = {character: FIRST + i for i, character in enumerate(self._alphabet)}

    def encode(self, text: str) -> list[int]:
        """Raises ValueError for a character that has no token."""
        for character in text:
            if character not in self._places:
                raise ValueError(f"the model has no token for {character!r}; give the prompt as a list of tokens")
        return [self._places[character] for character in text]

    def decoding(self) -> Decoding:
        return Decoding(False, self._alphabet)


Tokenizer = ByteTokenizer | CharacterTokenizer


def tokenizer_for(vocabulary: int) -> Tokenizer:
    """Bytes where the vocabulary has room for them, else characters."""
    return ByteTokenizer() if vocabulary >= FIRST + 256 else CharacterTokenizer(vocabulary)
