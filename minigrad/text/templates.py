"""Where special tokens go: ``[CLS] A [SEP] B [SEP]``, and which text each token counts to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .definition import Definition
from .encoding import Encoding


class Part(NamedTuple):
    """A text, "A" or "B", or a special token with its ids; and its type id."""

    name: str
    type_id: int
    ids: tuple[int, ...] = ()
    tokens: tuple[str, ...] = ()


class Template(NamedTuple):
    """The parts for one text and for two; ``trim`` drops spaces from the offsets of byte-level tokens."""

    single: tuple[Part, ...] = (Part("A", 0),)
    pair: tuple[Part, ...] = (Part("A", 0), Part("B", 1))
    trim: bool = False
    keep_first: bool = False  # a space put in front is in no offset

    def added(self, pair: bool) -> int:
        """How many special tokens are put in."""
        return sum(len(part.ids) for part in (self.pair if pair else self.single))

    def filled(self, first: Encoding, second: Encoding | None, special: bool) -> Encoding:
        """The texts in their places, with the special tokens or without."""
        if self.trim:
            first, second = self._trimmed(first), self._trimmed(second) if second else None
        whole = Encoding([], [], [], [], [])
        for part in self.single if second is None else self.pair:
            if part.name in ("A", "B"):
                text = first if part.name == "A" else second
                whole += (text or whole.shortened(0, "right")).typed(part.type_id)
            elif special:
                n = len(part.ids)
                whole += Encoding(
                    list(part.ids), [part.type_id] * n, [(0, 0)] * n, [1] * n, list(part.tokens)
                )
        return whole

    def _trimmed(self, encoding: Encoding) -> Encoding:
        offsets = []
        for k, (token, (a, b)) in enumerate(zip(encoding.tokens, encoding.offsets, strict=True)):
            bare = token.lstrip("Ġ" + _SPACES)
            before, after = len(token) - len(bare), len(token) - len(token.rstrip("Ġ" + _SPACES))
            if self.keep_first and (k == 0 or a == 0):
                before = 0
            a = min(a + before, b)
            offsets.append((a, max(b - after, a) if after else b))
        return encoding._replace(offsets=offsets)


_SPACES = "".join(c for c in map(chr, range(0x3001)) if c.isspace() and c not in "\x1c\x1d\x1e\x1f")


def _parts(d: Definition, name: str) -> tuple[Part, ...]:
    special = d.part("special_tokens") or Definition({}, d.place)
    found = []
    for item in d.parts(name):
        if (text := item.part("Sequence")) is not None:
            if text.text("id") not in ("A", "B"):
                raise text.wrong("id", '"A" or "B"')
            found.append(Part(text.text("id"), text.number("type_id", 0)))
            continue
        if (token := item.part("SpecialToken")) is None:
            raise item.wrong("SpecialToken", 'there, or "Sequence"')
        if (known := special.part(token.text("id"))) is None:
            raise special.wrong(token.text("id"), "among the special tokens, as the template uses it")
        ids, tokens = known.get("ids"), known.get("tokens")
        if not isinstance(ids, list) or not all(type(i) is int for i in ids) or not isinstance(tokens, list):
            raise known.wrong("ids", "a list of ids")
        found.append(Part("special", token.number("type_id", 0), tuple(ids), tuple(map(str, tokens))))
    return tuple(found)


def _special(d: Definition, name: str) -> Callable[[int], Part]:
    value: Any = d.get(name)
    if not isinstance(value, list) or [type(v) for v in value] != [str, int]:
        raise d.wrong(name, "a token and its id")
    return lambda type_id: Part("special", type_id, (value[1],), (value[0],))


def _bert(d: Definition) -> Template:
    cls, sep, a, b = _special(d, "cls"), _special(d, "sep"), Part("A", 0), Part("B", 1)
    return Template((cls(0), a, sep(0)), (cls(0), a, sep(0), b, sep(1)))


def _roberta(d: Definition) -> Template:
    cls, sep, a, b = _special(d, "cls")(0), _special(d, "sep")(0), Part("A", 0), Part("B", 0)
    trim, keep = d.flag("trim_offsets", True), d.flag("add_prefix_space", True)
    return Template((cls, a, sep), (cls, a, sep, sep, b, sep), trim, keep)


def _byte_level(d: Definition) -> Template:
    return Template(trim=d.flag("trim_offsets", True), keep_first=d.flag("add_prefix_space", True))


def _sequence(d: Definition) -> Template:
    whole = Template()
    for part in map(template, d.parts("processors")):
        if part.added(False) and whole.added(False):
            raise d.wrong("processors", "such that one of them puts special tokens in")
        trim, keep = (part.trim, part.keep_first) if part.trim else (whole.trim, whole.keep_first)
        chosen = part if part.added(False) or part.added(True) else whole
        whole = Template(chosen.single, chosen.pair, trim, keep)
    return whole


PROCESSORS: dict[str, Callable[[Definition], Template]] = {
    "TemplateProcessing": lambda d: Template(_parts(d, "single"), _parts(d, "pair")),
    "BertProcessing": _bert,
    "RobertaProcessing": _roberta,
    "ByteLevel": _byte_level,
    "Sequence": _sequence,
}


def template(definition: Definition | None) -> Template:
    """The template that a tokenizer.json's "post_processor" describes; without one nothing is put in."""
    return Template() if definition is None else definition.chosen(PROCESSORS)
