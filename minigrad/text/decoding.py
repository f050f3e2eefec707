"""From tokens back to text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from .bpe import character_bytes
from .definition import Definition
from .splitting import prepend_scheme

Decoder = Callable[[Sequence[str]], list[str]]

# What BERT's decoding takes back: spaces before marks, English contractions.
_TIDY = [(" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m")]
_TIDY += [(" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re")]


def tidied(text: str) -> str:
    """``it 's here .`` → ``it's here.``"""
    for before, after in _TIDY:
        text = text.replace(before, after)
    return text


def _wordpiece(prefix: str, cleanup: bool, tokens: Sequence[str]) -> list[str]:
    out = []
    for k, token in enumerate(tokens):
        if k:
            token = token.removeprefix(prefix) if token.startswith(prefix) else " " + token
        out.append(tidied(token) if cleanup else token)
    return out


def _byte_level(tokens: Sequence[str]) -> list[str]:
    """Bytes that aren't UTF-8, as in half a character, become U+FFFD; a token that isn't bytes is itself."""
    known, data = character_bytes(), b""
    for token in tokens:
        data += bytes(known[c] for c in token) if all(c in known for c in token) else token.encode("utf-8")
    return [data.decode("utf-8", "replace")]


def _byte_fallback(tokens: Sequence[str]) -> list[str]:
    """Runs of ``<0x41>`` become the text that they are, or U+FFFD each."""
    out, held = list[str](), bytearray()

    def release() -> None:
        try:
            out.extend([held.decode("utf-8")] if held else [])
        except UnicodeDecodeError:
            out.extend("\ufffd" * len(held))
        held.clear()

    for token in tokens:
        try:
            if len(token) != 6 or not token.startswith("<0x") or token[-1] != ">":
                raise ValueError
            held.append(int(token[3:5], 16))
        except ValueError:
            release()
            out.append(token)
    release()
    return out


def _metaspace(mark: str, prefixed: bool, tokens: Sequence[str]) -> list[str]:
    """A space for each mark; of the first token they were put in front."""
    return [token.replace(mark, "" if prefixed and not k else " ") for k, token in enumerate(tokens)]


def _bpe(suffix: str, tokens: Sequence[str]) -> list[str]:
    last = len(tokens) - 1
    return [token.replace(suffix, "" if k == last else " ") for k, token in enumerate(tokens)]


def _strip(content: str, left: int, right: int, tokens: Sequence[str]) -> list[str]:
    out = []
    for token in tokens:
        for _ in range(left):
            token = token.removeprefix(content)
        for _ in range(right):
            token = token.removesuffix(content)
        out.append(token)
    return out


def _replace(d: Definition) -> Decoder:
    pattern, content = d.pattern("pattern"), d.text("content")
    return lambda tokens: [pattern.sub(lambda m: content, token) for token in tokens]


def _in_turn(steps: Sequence[Decoder], tokens: Sequence[str]) -> list[str]:
    for step in steps:
        tokens = step(tokens)
    return list(tokens)


DECODERS: dict[str, Callable[[Definition], Decoder]] = {
    "WordPiece": lambda d: partial(_wordpiece, d.text("prefix"), d.flag("cleanup", True)),
    "ByteLevel": lambda d: _byte_level,
    "ByteFallback": lambda d: _byte_fallback,
    "Metaspace": lambda d: partial(_metaspace, d.text("replacement"), prepend_scheme(d) != "never"),
    "BPEDecoder": lambda d: partial(_bpe, d.text("suffix")),
    "Fuse": lambda d: lambda tokens: ["".join(tokens)],
    "Strip": lambda d: partial(_strip, d.text("content"), d.number("start", 0), d.number("stop", 0)),
    "Replace": _replace,
    "Sequence": lambda d: partial(_in_turn, [decoder(part) for part in d.parts("decoders")]),
}


def decoder(definition: Definition | None) -> Decoder:
    """What a tokenizer.json's "decoder" describes; without one tokens are joined by spaces."""
    return (lambda tokens: [" ".join(tokens)]) if definition is None else definition.chosen(DECODERS)
