"""Our tokenizers beside Hugging Face's ``tokenizers``: the same ids, type ids, offsets and text; the same calls."""

import functools
import itertools
import os

import pytest
import text_kinds
import text_lines
from hypothesis import given
from hypothesis import strategies as st
from text_check import differences, gathered

from minigrad.text import LibraryTokenizer, Pipeline, Tokenizer, train_bpe

tokenizers = pytest.importorskip("tokenizers")
NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
LINES = gathered(100_000 if NIGHTLY else 600, [])
KINDS = text_kinds.definitions(LINES[:400:2] + LINES[-200:], 800)


@functools.cache
def both(name):
    """Ours and the library's, made once."""
    config = {"pad_token": "[PAD]" if name.startswith("bert") else "<pad>"}
    return Pipeline(KINDS[name], config), LibraryTokenizer(KINDS[name], config)


@pytest.mark.parametrize("name", KINDS)
def test_every_line_gives_the_librarys_tokens_offsets_and_text(name):
    different, tokens, _ = differences(KINDS[name], LINES)
    assert not different, [ascii(line) for line in different[:5]]
    assert tokens > 10 * len(LINES)


@pytest.mark.skipif(not NIGHTLY, reason="HYPOTHESIS_PROFILE=nightly takes a line for every character")
@pytest.mark.parametrize("name", KINDS)
def test_every_character_gives_the_librarys_tokens(name):
    different, _, _ = differences(KINDS[name], list(text_lines.every()))
    assert not different, [ascii(line) for line in different[:5]]


text = st.one_of(
    st.sampled_from(text_lines.written()),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cn", "Co")), max_size=20),
    st.sampled_from(list(itertools.islice(text_lines.drawn(2), 100))),
)
batches = st.one_of(text, st.lists(text, max_size=3), st.lists(st.tuples(text, text), min_size=1, max_size=3))
options = st.fixed_dictionaries(
    {
        "padding": st.sampled_from([False, True, "longest", "max_length"]),
        "truncation": st.sampled_from([False, True, "longest_first", "only_first", "only_second"]),
        "max_length": st.integers(1, 30),
        "add_special_tokens": st.booleans(),
        "pad_to_multiple_of": st.sampled_from([None, 8]),
    }
)
sides = st.sampled_from(["left", "right"])


@given(st.sampled_from(sorted(KINDS)), batches, options, sides, sides)
def test_pairs_truncation_and_padding_are_the_librarys(name, batch, options, padding_side, truncation_side):
    results = []
    for tok in both(name):
        tok.padding_side, tok.truncation_side = padding_side, truncation_side
        try:
            results.append(
                tok(batch, return_offsets_mapping=True, return_special_tokens_mask=True, **options)
            )
        except ValueError as e:
            results.append(str(e))
    assert results[0] == results[1]


@given(st.sampled_from(sorted(KINDS)), st.lists(st.integers(0, 250), max_size=12), st.booleans())
def test_any_ids_decode_as_the_librarys(name, ids, skip):
    ours, library = both(name)
    assert ours.decode(ids, skip) == library.decode(ids, skip)


@pytest.mark.parametrize("least", [1, 2, 5])
def test_training_gives_the_vocabulary_and_the_merges_of_the_librarys_trainer(least):
    special = ["<s>", "</s>"]
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=700,
        min_frequency=least,
        special_tokens=special,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    theirs.train_from_iterator(LINES[:400], trainer)
    ours = train_bpe(LINES[:400], 700, special=special, min_frequency=least)
    assert ours.get_vocab() == theirs.get_vocab()
    assert [ours.encode(line) for line in LINES[:400]] == [theirs.encode(line).ids for line in LINES[:400]]


def test_what_is_saved_the_library_opens(tmp_path):
    train_bpe(LINES[:200], 400, special=["<s>"], pad_token="<s>").save_pretrained(tmp_path)
    own, library = (Tokenizer.from_pretrained(tmp_path, backend=b) for b in ("own", "auto"))
    assert (type(own), type(library)) == (Pipeline, LibraryTokenizer)
    assert own(LINES[:50], padding=True) == library(LINES[:50], padding=True)
    direct = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert [own.encode(line) for line in LINES[:50]] == [direct.encode(line).ids for line in LINES[:50]]


@pytest.mark.parametrize("flags", list(itertools.product([False, True], repeat=3)))
def test_added_tokens_are_found_as_the_library_finds_them(flags):
    no = {"special": False, "normalized": True, "single_word": False, "lstrip": False, "rstrip": False}
    single, left, right = flags
    more = [
        {**no, "content": "FoO", "single_word": single, "lstrip": left, "rstrip": right},
        {**no, "content": "foobar", "normalized": False, "single_word": single},
        {**no, "content": "<x>", "special": True, "normalized": False, "lstrip": left, "rstrip": right},
    ]
    for name in ("bert", "gpt2", "llama2"):
        size = max(KINDS[name]["model"]["vocab"].values()) + 1
        added = KINDS[name]["added_tokens"] + [{"id": size + k, **token} for k, token in enumerate(more)]
        definition = {**KINDS[name], "added_tokens": added}
        lines = [
            "a foo b",
            "a  FoO  b",
            "foofoo foo_ foo. foo",
            "foobar foobarfoo",
            "<x> a  <x>b <x><x>",
            "é<x>É FOO",
            "",
        ]
        assert (Pipeline(definition).vocab_size, len(Pipeline(definition))) == (size, size + 3)
        assert LibraryTokenizer(definition).vocab_size == size
        different, _, _ = differences(definition, [*lines, *(line.upper() for line in lines)])
        assert not different, (name, different)


SPLITS = [
    ["Whitespace"],
    ["WhitespaceSplit"],
    ["Digits", {"individual_digits": True}],
    ["Digits", {"individual_digits": False}],
    ["Punctuation", {"behavior": "Isolated"}],
    *(
        ["Split", {"pattern": {"Regex": r"[\-\s]"}, "behavior": b, "invert": i}]
        for b in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
        for i in (False, True)
    ),
]


@pytest.mark.parametrize("kind", SPLITS, ids=str)
def test_other_ways_to_split_are_the_librarys(kind):
    part = {"type": kind[0], **(kind[1] if len(kind) > 1 else {})}
    definition = {**KINDS["llama2"], "normalizer": None, "pre_tokenizer": part}
    lines = [*LINES[:100], "the-final--countdown-", "-a", "ab12 ³Ⅳ٣", "Hey friend_1! how're ²", "a\x1cb"]
    different, _, _ = differences(definition, lines)
    assert not different, [ascii(line) for line in different[:5]]


NORMALS = ["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Strip"]


@pytest.mark.parametrize("name", NORMALS)
def test_other_normal_forms_are_the_librarys(name):
    part = {"type": name, **({"strip_left": True, "strip_right": True} if name == "Strip" else {})}
    bpe = {**KINDS["gpt2"], "normalizer": part}
    lines = [
        *LINES[:300],
        "  a b ",
        "ế각 각",
        "a\u0301\u0327\u0323b",
        "x\u0344y",
        "éé\u0323",
        "\u1100\u1161\u11a8x",
        "ｶﾞ ﷺ",
    ]
    different, _, _ = differences(bpe, lines)
    assert not different, [ascii(line) for line in different[:5]]


@pytest.mark.parametrize("pattern, content", [("ab", "xyz"), ("b", ""), ("a", "é"), ("bc", "d")])
def test_replacing_is_the_librarys(pattern, content):
    part = {"type": "Replace", "pattern": {"String": pattern}, "content": content}
    different, _, _ = differences(
        {**KINDS["gpt2"], "normalizer": part}, ["abab", "xabcy", "cab d", "bbb", "aab bc", ""]
    )
    assert not different, different
