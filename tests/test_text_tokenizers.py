"""Tokenizers from their definitions and from stored answers: no library is needed, no vocabulary is downloaded."""

import itertools
import json
import random
from collections import Counter

import numpy as np
import pytest
import text_kinds
import text_lines
from hypothesis import given
from hypothesis import strategies as st
from text_answers import KEPT, answers

import minigrad
from minigrad.text import (
    BytePairEncoding,
    BytePairTokenizer,
    CharacterTokenizer,
    LibraryTokenizer,
    Pipeline,
    Tokenizer,
    WordPiece,
    WordPieceTokenizer,
    train_bpe,
)
from minigrad.text.definition import Definition
from minigrad.text.library import installed
from minigrad.text.normalization import Normalized, lowercase, normalizer, unicode_form
from minigrad.text.patterns import GPT2, translated
from minigrad.text.unicode import is_accent, is_control, is_punctuation
from minigrad.text.unigram import Unigram

STORED = json.loads(KEPT.read_text(encoding="utf-8"))
KINDS = text_kinds.definitions(STORED["lines"], 500)
TEXT = "the cat sat on the mat, the rat sat on the cat; that is that: the end"
SMALL = train_bpe(TEXT, 300, special=["<s>", "<pad>"], pad_token="<pad>", bos_token="<s>")
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "un",
    "##aff",
    "##able",
    "the",
    "cat",
    "##s",
    ",",
    "c",
    "##a",
    "中",
]
BERT = WordPieceTokenizer(WORDS, model_max_length=8)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


@pytest.mark.parametrize("name", KINDS)
def test_the_stored_answers_of_the_library_are_ours(name):
    found, expected = (
        json.loads(json.dumps(answers(Pipeline(KINDS[name]), STORED["lines"]))),
        STORED["answers"][name],
    )
    for what, rows in expected.items():
        for line, a, b in zip(STORED["lines"], found[what], rows, strict=False):
            assert a == b, (what, ascii(line))
        assert len(found[what]) == len(rows)


# WordPiece


def test_a_word_is_cut_into_the_longest_pieces_from_the_left():
    assert BERT.tokenize("unaffable cats") == ["un", "##aff", "##able", "cat", "##s"]
    assert BERT.tokenize("Uñafféble, CATS中x") == ["[UNK]", ",", "cat", "##s", "中", "[UNK]"]


def test_a_word_of_more_than_a_hundred_characters_is_unknown():
    model = WordPiece({"[UNK]": 0, "a": 1, "##a": 2})
    assert [len(model("a" * n).ids) for n in (99, 100, 101)] == [99, 100, 1]


@given(st.text("abc", min_size=1, max_size=8), st.sets(st.text("abc", min_size=1, max_size=3)))
def test_greedy_matching_is_the_textbooks(word, pieces):
    vocabulary = {"[UNK]": 0}
    for piece in sorted(pieces):
        vocabulary[piece], vocabulary["##" + piece] = len(vocabulary), len(vocabulary) + 1

    def cut(rest, prefix):
        if not rest:
            return []
        for n in range(len(rest), 0, -1):
            if prefix + rest[:n] in vocabulary:
                after = cut(rest[n:], "##")
                return None if after is None else [vocabulary[prefix + rest[:n]], *after]
        return None

    assert list(WordPiece(vocabulary)(word).ids) == (cut(word, "") or [0])


# Byte-pair encoding


def naive_bpe(word, merges):
    """Sennrich et al. 2016: each merge in its turn, over the whole word."""
    symbols = list(word)
    for a, b in merges:
        k = 0
        while k + 1 < len(symbols):
            if symbols[k] == a and symbols[k + 1] == b:
                symbols[k : k + 2] = [a + b]
            k += 1
    return symbols


def naive_training(words, steps, order):
    """Counts all pairs anew before each merge; of the most frequent, the first by ``order``."""
    split, merges = {w: list(w) for w in words}, []
    order = {c: k for k, c in enumerate(order)}
    for _ in range(steps):
        pairs = Counter()
        for w, n in words.items():
            for pair in zip(split[w], split[w][1:], strict=False):
                pairs[pair] += n
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], order[p[0]], order[p[1]]))
        merges.append(best)
        order.setdefault("".join(best), len(order))
        split = {w: naive_bpe(w, merges) for w in words}
    return merges


@given(st.lists(st.text("abc", min_size=1, max_size=7), min_size=1, max_size=8), st.text("abcd", max_size=9))
def test_training_and_merging_are_the_textbooks(words, other):
    tok = train_bpe(" ".join(words), 258 + 8, min_frequency=1, special=["<s>", "</s>"])
    spelled = [w if k == 0 else "Ġ" + w for k, w in enumerate(words)]
    alphabet = [t for t, id in sorted(tok.get_vocab().items(), key=lambda item: item[1]) if id < 258]
    merges = naive_training(Counter(spelled), 8, alphabet)
    assert [tuple(m) for m in tok.definition["model"]["merges"]] == merges
    for word in [*words, other]:
        assert tok.tokenize(word) == naive_bpe(word, merges)


def test_training_does_not_depend_on_the_order_of_the_texts():
    lines = text_lines.written()
    shuffled = random.Random(0).sample(lines, len(lines))
    assert train_bpe(lines, 400).definition == train_bpe(shuffled, 400).definition


def test_merges_that_overlap_are_taken_from_the_left():
    model = BytePairEncoding({"a": 0, "aa": 1, "aaaa": 2}, [("a", "a"), ("aa", "aa")])
    assert [model("a" * n).ids for n in (2, 3, 5, 7)] == [(1,), (1, 0), (2, 0), (2, 1, 0)]


def test_gpt2s_pattern_cuts_as_published():
    assert translated(GPT2).findall("Hello world's  3½ x²!?\n\n a") == [
        *["Hello", " world", "'s", " ", " 3½", " x", "²", "!?", "\n\n", " a"]
    ]


def test_unicode_categories_stand_for_their_ranges():
    assert translated(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}").findall("Ärger 12345 naïve") == [
        "Ärger",
        "123",
        "45",
        " naïve",
    ]
    assert translated(r"(?i:'s)|\S").findall("a'S") == ["a", "'S"]


@pytest.mark.parametrize(
    "pattern, part",
    [
        (r"\G a", r"\\G"),
        (r"[\S]", r"\\S within a class"),
        ("(?P<x>a)", r"\(\?P"),
        ("a$", r"\$"),
        ("[a&&b]", "&&"),
    ],
)
def test_what_a_pattern_has_that_is_not_known_is_named(pattern, part):
    with pytest.raises(ValueError, match=part):
        translated(pattern)


# Normalisation


def test_lower_case_goes_character_by_character():
    assert lowercase(Normalized("ΟΔΟΣ")).text == "οδοσ"
    assert lowercase(Normalized("aİ")) == Normalized("ai\u0307", [0, 1, 1])


def test_characters_younger_than_berts_tables_are_letters_to_it():
    assert [is_punctuation(c) for c in "!$–\u2e42\u2e44"] == [True, True, True, True, False]
    assert [is_accent(c) for c in "\u0301\u0901\u09fe"] == [True, True, False]
    assert [is_control(c) for c in "\0\u200d\ufffd\t\u0890"] == [True, True, True, False, False]


def test_normal_forms_know_where_each_character_came_from():
    assert unicode_form("NFD", Normalized("aéb")) == Normalized("ae\u0301b", [0, 1, 1, 2])
    assert unicode_form("NFC", Normalized("ae\u0301b")) == Normalized("aéb", [0, 1, 3])
    assert unicode_form("NFC", Normalized("a\u0301\u0323b")) == Normalized("ạ\u0301b", [0, 2, 3])
    assert unicode_form("NFC", Normalized("e\u0301a\u0310\u0301")).text == "éa\u0310\u0301"
    assert unicode_form("NFKC", Normalized("ﬁx")) == Normalized("fix", [0, 0, 1])


def test_a_space_is_put_in_front_of_all_but_a_space():
    tok = BytePairTokenizer(SMALL.get_vocab(), [], prefix_space=True)
    assert [tok.tokenize(text) for text in ("a", " a", "\ta", "")] == [
        ["Ġ", "a"],
        ["Ġ", "a"],
        ["Ġ", "ĉ", "a"],
        [],
    ]
    assert tok("\ta", return_offsets_mapping=True).offset_mapping == [(0, 1), (0, 1), (1, 2)]


def with_added(*tokens):
    """BERT's tokenizer with more tokens, each with its options."""
    added = [{"id": 15 + k, "content": content, **options} for k, (content, options) in enumerate(tokens)]
    return Pipeline({**BERT.definition, "added_tokens": BERT.definition["added_tokens"] + added})


def test_of_added_tokens_the_leftmost_and_then_the_longest_is_found():
    tok = with_added(("<c", {}), ("<cat>", {}), ("cat>", {}), ("<s>", {"special": True}))
    assert tok.tokenize("the<cat>the<c cat>") == ["the", "<cat>", "the", "<c", "cat>"]
    assert tok.decode(tok.encode("the<s>the"), skip_special_tokens=True) == "the the"


def test_added_tokens_stand_alone_and_take_the_spaces_beside_them_where_they_say_so():
    tok = with_added(("X1", {"single_word": True}), ("<l>", {"lstrip": True}), ("<r>", {"rstrip": True}))
    found = tok("x1, the  <l> <r>  X1", add_special_tokens=False, return_offsets_mapping=True)
    assert tok.convert_ids_to_tokens(found.input_ids) == ["X1", ",", "the", "<l>", "<r>", "X1"]
    assert found.offset_mapping == [(0, 2), (2, 3), (4, 7), (7, 12), (13, 18), (18, 20)]
    assert "X1" not in tok.tokenize("ax1 x1_ x12")


# Round trips


@given(texts)
def test_bytes_bring_back_any_text(text):
    ids = SMALL.encode(text, add_special_tokens=False)
    assert SMALL.decode(ids) == text
    assert all(0 <= id < SMALL.vocab_size for id in ids)


def test_half_a_character_decodes_to_the_replacement_character():
    assert SMALL.decode(SMALL.encode("aé")[:-1]) == "a\ufffd"


@given(st.text(st.characters(codec="ascii"), max_size=40))
def test_offsets_cover_the_text(text):
    found = SMALL(text, return_offsets_mapping=True)
    assert "".join(text[a:b] for a, b in found.offset_mapping) == text
    assert SMALL.convert_ids_to_tokens(found.input_ids) == SMALL.tokenize(text)


@given(texts)
def test_offsets_of_characters_in_several_tokens_are_the_characters(text):
    offsets = SMALL(text, return_offsets_mapping=True).offset_mapping
    assert {k for a, b in offsets for k in range(a, b)} == set(range(len(text)))
    assert offsets == sorted(offsets)


@given(st.lists(st.sampled_from(["cat", "cats", "the", "unaffable", ","]), max_size=6))
def test_wordpiece_brings_back_words_it_knows(words):
    text = " ".join(words)
    assert BERT.decode(BERT.encode(text), skip_special_tokens=True).replace(",", " ,").split() == words
    found = BERT(text, return_offsets_mapping=True, add_special_tokens=False)
    assert [text[a:b] for a, b in found.offset_mapping] == [t.removeprefix("##") for t in BERT.tokenize(text)]


@given(texts.filter(bool))
def test_characters_bring_back_their_text(text):
    tok = CharacterTokenizer.train(text)
    ids = tok.encode(text)
    assert tok.decode(ids) == text
    assert tok.vocab_size == len(set(text)) and max(ids) == tok.vocab_size - 1
    assert tok.convert_ids_to_tokens(list(range(tok.vocab_size))) == sorted(set(text))


# The interface


def test_pairs_padding_and_masks():
    batch = BERT(["cats", ("the", "cat")], padding=True)
    assert batch.input_ids == [[2, 9, 10, 3, 0], [2, 8, 3, 9, 3]]
    assert batch["token_type_ids"] == [[0] * 5, [0, 0, 0, 1, 1]]
    assert batch.attention_mask == [[1, 1, 1, 1, 0], [1] * 5]
    assert (
        BERT("the", "cat").input_ids
        == BERT(("the", "cat")[0], ("the", "cat")[1]).input_ids
        == [2, 8, 3, 9, 3]
    )
    assert BERT(["the"], ["cat"]).input_ids == [[2, 8, 3, 9, 3]]


def test_padding_goes_to_the_side_and_the_multiple_asked_for():
    tok = WordPieceTokenizer(WORDS, padding_side="left")
    assert tok("the", padding="max_length", max_length=5).input_ids == [0, 0, 2, 8, 3]
    assert tok(["the"], padding=True, pad_to_multiple_of=4).attention_mask == [[0, 1, 1, 1]]


@pytest.mark.parametrize(
    "strategy, left, right",
    [("longest_first", 2, 2), ("only_first", 1, 3), ("only_second", 6, 0)],
)
def test_truncation_takes_from_the_longer_or_from_one(strategy, left, right):
    if strategy == "only_second":
        with pytest.raises(ValueError, match="'only_second' can't shorten texts of 6 and 3 tokens to 4"):
            BERT("the " * 6, "cat " * 3, truncation=strategy, max_length=7)
        return
    types = BERT("the " * 6, "cat " * 3, truncation=strategy, max_length=7)
    assert types.input_ids == [2, *[8] * left, 3, *[9] * right, 3]


def test_truncation_is_to_the_models_length_and_from_either_side():
    assert len(BERT("the " * 20, truncation=True).input_ids) == 8
    tok = WordPieceTokenizer(WORDS, truncation_side="left")
    assert tok("the the cat", truncation=True, max_length=4).input_ids == [2, 8, 9, 3]


def test_arrays_and_tensors_have_a_row_for_each_text():
    found = BERT(["cats", "the cats"], padding=True, return_tensors="np", return_offsets_mapping=True)
    assert found.input_ids.shape == (2, 5) and found.input_ids.dtype == np.int64
    assert found.offset_mapping.shape == (2, 5, 2)
    one = BERT("cats", return_tensors="mg").input_ids
    assert (
        isinstance(one, minigrad.Tensor) and one.dtype == minigrad.int64 and one.tolist() == [[2, 9, 10, 3]]
    )
    assert BERT.batch_decode(one, skip_special_tokens=True) == ["cats"]
    assert BERT([], return_tensors="np").input_ids.shape == (0, 0)


def test_tokens_ids_and_roles():
    assert (BERT.pad_token_id, BERT.cls_token, BERT.mask_token_id, BERT.eos_token_id) == (0, "[CLS]", 4, None)
    assert BERT.convert_tokens_to_ids(["cat", "dog"]) == [9, 1] and BERT.convert_ids_to_tokens(9) == "cat"
    assert BERT.encode("[MASK] [mask]", add_special_tokens=False)[0] == 4
    assert len(BERT) == BERT.vocab_size == len(WORDS)
    assert SMALL.convert_tokens_to_ids("nowhere") is None
    assert repr(BERT).startswith("WordPieceTokenizer(15 tokens, model_max_length=8, unk_token='[UNK]'")
    assert BERT.decode(np.array([9, 10])) == BERT.decode(list(np.array([9, 10]))) == "cats"
    assert BERT("cats", return_special_tokens_mask=True).special_tokens_mask == [1, 0, 0, 1]


# Unigram


def ways(word):
    """All ways to cut a word."""
    if not word:
        yield ()
    for k in range(1, len(word) + 1):
        yield from ((word[:k], *rest) for rest in ways(word[k:]))


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.floats(-9, 0), min_size=1),
    st.text("abcd", max_size=7),
)
def test_unigram_finds_the_likeliest_of_all_cuts(scores, word):
    model = Unigram([("<unk>", 0.0), *scores.items()], unknown=0)
    unlikely = min([0.0, *scores.values()]) - 10
    sums = [
        sum(scores.get(piece, unlikely) for piece in way)
        for way in ways(word)
        if all(piece in scores or len(piece) == 1 for piece in way)
    ]
    found = model(word)
    got = [
        scores[word[a:b]] if id else (b - a) * unlikely
        for id, (a, b) in zip(found.ids, found.spans, strict=True)
    ]
    assert sum(got) == pytest.approx(max(sums), abs=1e-9)
    assert "".join(word[a:b] for a, b in found.spans) == word
    assert not any(
        x == y == 0 for x, y in itertools.pairwise(found.ids)
    )  # what is unknown side by side is one


def test_unigram_gives_bytes_or_refuses_what_no_piece_is():
    pieces = [("<unk>", 0.0), ("a", -1.0), *[(f"<0x{b:02X}>", 0.0) for b in "é".encode()]]
    model = Unigram(pieces, 0, byte_fallback=True)
    assert model("aéa") == ((1, 2, 3, 1), ((0, 1), (1, 2), (1, 2), (2, 3)))
    assert model("aö").ids == (1, 0)  # one of its bytes is no piece
    with pytest.raises(ValueError, match="no piece is 'b', and the model has no unk_id"):
        Unigram([("a", -1.0)], None)("ab")


def test_a_charsmap_is_read_and_tells_where_characters_came_from():
    table = text_kinds.charsmap({"ﬁ": "fi", "e\u0301": "é", "\t": " ", "\x01": "", "ab": "x"})
    normalize = normalizer(Definition({"type": "Precompiled", "precompiled_charsmap": table}, "here"))
    for text, expected, origins in [
        ("ﬁn", "fin", [0, 0, 1]), ("ce\u0301d", "céd", [0, 1, 3]), ("a\tb", "a b", [0, 1, 2]),
        ("a\x01b", "ab", [0, 2]), ("ab", "ab", [0, 1]), ("e\u0301\u0301\u0301", "e\u0301\u0301\u0301", [0, 1, 2, 3]),
        ("ﬁ\u0301", "fi", [0, 1]),  # a cluster is what its first key says
    ]:  # fmt: skip
        found = normalize(Normalized(text))
        assert (found.text, list(found.where())) == (expected, origins), ascii(text)


# Files


def test_each_kind_is_saved_and_opened(tmp_path):
    characters = CharacterTokenizer.train(TEXT, special=["<pad>"], pad_token="<pad>")
    for name, tok in {"bert": BERT, "bpe": SMALL, "characters": characters}.items():
        tok.padding_side = "left"
        tok.save_pretrained(tmp_path / name)
        again = Tokenizer.from_pretrained(tmp_path / name, backend="own")
        lines = ["the cat", "that is the rat"]
        assert again(lines, padding=True) == tok(lines, padding=True)
        assert again.get_vocab() == tok.get_vocab()
        assert (again.padding_side, again.pad_token, again.model_max_length) == ("left", tok.pad_token, tok.model_max_length)  # fmt: skip
        tok.padding_side = "right"


def test_vocab_txt_is_opened_with_the_settings_beside_it(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*WORDS, "Cat"]) + "\n", encoding="utf-8")
    assert Tokenizer.from_pretrained(tmp_path).tokenize("Cat") == ["cat"]
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false, "model_max_length": 5}')
    cased = Tokenizer.from_pretrained(tmp_path)
    assert type(cased) is WordPieceTokenizer
    assert cased.tokenize("Cat") == ["Cat"] and len(cased("the " * 9, truncation=True).input_ids) == 5


def test_vocab_json_and_merges_txt_are_opened(tmp_path):
    model = SMALL.definition["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    lines = "\n".join(" ".join(m) for m in model["merges"])
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + lines + "\n", encoding="utf-8")
    (tmp_path / "special_tokens_map.json").write_text(
        '{"bos_token": {"content": "<s>"}, "pad_token": "<pad>"}'
    )
    tok = Tokenizer.from_pretrained(tmp_path)
    assert tok.encode("the cat<s>") == SMALL.encode("the cat<s>")
    assert tok.bos_token_id == 0 and "token_type_ids" not in tok("the")


def test_the_backend_is_the_one_asked_for(tmp_path, monkeypatch):
    SMALL.save_pretrained(tmp_path)
    kinds = [type(Tokenizer.from_pretrained(tmp_path, backend=b)) for b in ("own", "auto")]
    assert kinds == [Pipeline, LibraryTokenizer if installed() else Pipeline]
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"minigrad-xp\[text\]"):
        Tokenizer.from_pretrained(tmp_path, backend="tokenizers")
    with pytest.raises(ValueError, match="auto, own, tokenizers"):
        Tokenizer.from_pretrained(tmp_path, backend="rust")


# Bad input


def definition(**parts):
    return json.dumps({**SMALL.definition, **parts})


WHOLE = definition()
BAD = [
    ("vocab.txt", b"", "vocab.txt: expected a vocabulary, one token a line, got an empty file"),
    ("vocab.txt", "[UNK]\ncaf\xe9\n".encode("latin-1"), r"got byte 0xe9 at 9 \(line 2\)"),
    ("vocab.txt", b"[UNK]\na\na\n", "token 'a' stands in line 2 and again in line 3"),
    ("vocab.txt", b"[UNK]\na\n", r"the vocabulary of 2 tokens lacks '\[CLS\]'"),
    ("tokenizer.json", b" \n", "got an empty file"),
    ("tokenizer.json", WHOLE[: len(WHOLE) // 2].encode(), "got no JSON: .*"),
    ("tokenizer.json", b"[" * 100_000, "can't be read|no JSON"),
    ("tokenizer.json", b"[]", "an object, got list"),
    ("tokenizer.json", b"{}", "'model' must be there, got nothing"),
    ("tokenizer.json", definition(model={"type": "WordLevel"}), "model: unknown type 'WordLevel'; known are WordPiece, BPE, Unigram"),
    ("tokenizer.json", definition(model={"type": "Unigram", "vocab": {"a": 0.5}}), "'vocab' must be a list of pieces and their log prob"),
    ("tokenizer.json", definition(model={"type": "Unigram", "vocab": [["a", "b"]]}), "piece 0 must be a text and its log probability"),
    ("tokenizer.json", definition(model={"type": "Unigram", "vocab": [["a", -1], ["a", -2]]}), "piece 'a' stands in the vocabulary twice"),
    ("tokenizer.json", definition(model={"type": "Unigram", "vocab": [["a", -1]], "unk_id": 1}), "unk_id 1 is beyond the vocabulary's 1 pieces"),
    ("tokenizer.json", definition(normalizer={"type": "Nmt"}), "normalizer: unknown type 'Nmt'; known are"),
    ("tokenizer.json", definition(normalizer={"type": "Precompiled"}), "'precompiled_charsmap' must be a string, got nothing"),
    ("tokenizer.json", definition(normalizer={"type": "Precompiled", "precompiled_charsmap": "é"}), "normalizer: Charsmap: expected SentencePiece's"),
    ("tokenizer.json", definition(normalizer={"type": "Precompiled", "precompiled_charsmap": "/////w=="}), "normalizer: Charsmap: expected SentencePiece's"),
    ("tokenizer.json", definition(pre_tokenizer={"type": "Metaspace", "prepend_scheme": "last"}), "'prepend_scheme' must be always, first or never"),
    ("tokenizer.json", definition(pre_tokenizer={"type": "Metaspace", "replacement": "__"}), "'replacement' must be one character"),
    ("tokenizer.json", definition(pre_tokenizer={"type": 3}), "pre_tokenizer: unknown type 3"),
    ("tokenizer.json", definition(decoder="x"), "'decoder' must be an object, got 'x'"),
    ("tokenizer.json", definition(post_processor={"type": "BertProcessing", "sep": 1, "cls": []}), "'cls' must be a token and its id"),
    ("tokenizer.json", definition(added_tokens=[{"content": "x", "id": -1}]), "'id' must be an integer from 0, got -1"),
    ("tokenizer.json", definition(added_tokens=[{"content": "", "id": 1}]), "'content' must be a token"),
    ("tokenizer.json", definition(model={"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}), "'a' and 'b' have the same id 0"),
    ("tokenizer.json", definition(model={"type": "BPE", "vocab": {"a": 0.5}, "merges": []}), "id of 'a' must be an integer"),
    ("tokenizer.json", definition(model={"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}), "merge 0 needs 'b', which the vocabulary lacks"),
    ("tokenizer.json", definition(model={"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}), "merge 0 must be two tokens"),
    ("tokenizer.json", definition(model={"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "u", "continuing_subword_prefix": "#"}), "lacks 'u'"),
    ("characters.json", b'["a", "a"]', "different characters"),
    ("characters.json", b'{"a": 1}', "a list of characters, got dict"),
]  # fmt: skip


@pytest.mark.parametrize("name, content, message", BAD)
def test_a_bad_file_is_named_with_what_is_wrong_in_it(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        Tokenizer.from_pretrained(tmp_path, backend="own")


def test_a_bad_line_of_merges_is_named(tmp_path):
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b c\n")
    with pytest.raises(ValueError, match="expected two tokens in line 2, got 'a b c'"):
        Tokenizer.from_pretrained(tmp_path)


@given(st.data())
def test_a_definition_with_anything_in_it_is_opened_or_refused(data):
    """Whatever stands in the place of a value: an error of the kinds that are promised."""
    junk = st.recursive(st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=2), lambda s: st.lists(s, max_size=2) | st.dictionaries(st.sampled_from(["type", "id", "a"]), s, max_size=2), max_leaves=4)  # fmt: skip
    changed = json.loads(json.dumps(KINDS[data.draw(st.sampled_from(sorted(KINDS)))]))
    place = changed
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(list(keys)[:8]))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(junk)
    try:
        Pipeline(changed).encode("a b")
    except ValueError as e:
        assert any(name in str(e) for name in ("tokenizer", "BytePair", "WordPiece", "Unigram"))


def test_an_empty_folder_says_what_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected tokenizer.json, vocab.txt, .*got \[\]"):
        Tokenizer.from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        Tokenizer.from_pretrained(tmp_path / "nowhere")
    (tmp_path / "spiece.model").write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match="SentencePiece models aren't read"):
        Tokenizer.from_pretrained(tmp_path)


def test_ids_outside_the_vocabulary_are_named():
    for ids in ([99], [-1], 99):
        with pytest.raises(IndexError, match=rf"id {ids[0] if isinstance(ids, list) else ids} is outside the vocabulary of 15 tokens \(0 to 14\)"):  # fmt: skip
            BERT.decode(ids)
    with pytest.raises(TypeError, match="batch_decode"):
        BERT.decode([[1, 2]])


def no_such_pad():
    tok = WordPieceTokenizer(WORDS)
    tok.pad_token = "<nowhere>"
    return tok


CALLS = [
    (lambda: BERT(b"x"), TypeError, "text must be str, a pair or a batch of them, got bytes; decode it first"),
    (lambda: BERT(["a", 3]), TypeError, "got int"),
    (lambda: BERT(None), TypeError, "got NoneType"),
    (lambda: BERT([("a", "b", "c")]), ValueError, "a pair is two texts, got 3"),
    (lambda: BERT(["a"], ["b", "c"]), ValueError, "1 texts need as many partners"),
    (lambda: BERT(b"a\x80".decode("utf-8", "surrogateescape")), ValueError, r"character 1 is U\+DC80, half of a surrogate pair, byte 0x80"),
    (lambda: BERT("\ud83d"), ValueError, r"character 0 is U\+D83D, half of a surrogate pair: read"),
    (lambda: BERT("the", truncation="all"), ValueError, "longest_first, only_first, only_second, got 'all'"),
    (lambda: BERT("the", truncation=True, max_length=1), ValueError, "max_length=1 has no room for the 2 special"),
    (lambda: SMALL("the", truncation=True), ValueError, "knows no model_max_length"),
    (lambda: BERT("the", padding="left"), ValueError, "padding must be a bool"),
    (lambda: BERT("the", padding=True, pad_to_multiple_of=0), ValueError, "pad_to_multiple_of must be"),
    (lambda: BytePairTokenizer({"a": 0}, [])("a", padding=True), ValueError, "does not have a padding token"),
    (lambda: BERT(["the", "cats"], return_tensors="np"), ValueError, "texts of one length, got 3 to 4 tokens: pass padding"),
    (lambda: BERT("the", return_tensors="pt"), ValueError, 'must be None, "np"'),
    (lambda: WordPieceTokenizer(WORDS, padding_side="up"), ValueError, "padding_side must be"),
    (lambda: CharacterTokenizer.train("abc").encode("abd"), ValueError, r"character 2 is 'd' \(U\+0064\)"),
    (lambda: CharacterTokenizer.train(""), ValueError, "expected text, got none"),
    (lambda: train_bpe([], 300), ValueError, "expected text, got none"),
    (lambda: train_bpe("a", 100), ValueError, "vocab_size must be at least 256"),
    (lambda: BERT("the").labels, AttributeError, "BatchEncoding has input_ids"),
    (lambda: no_such_pad()(["a"], padding=True), ValueError, "does not have a padding token"),
    (lambda: BERT.nothing, AttributeError, "nothing"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_a_bad_call_says_what_was_expected(number):
    call, kind, message = CALLS[number]
    with pytest.raises(kind, match=message):
        call()


def test_a_character_that_is_unknown_takes_the_unknown_token():
    tok = CharacterTokenizer.train("abc", special=["?"], unk_token="?")
    assert tok.encode("abd") == [1, 2, 0] and tok.decode([1, 2, 0], skip_special_tokens=True) == "ab"
