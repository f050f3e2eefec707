"""The examples do what they say, on little data. A lesson has under 60 lines; whole jobs have more."""

import importlib.util
import random
from pathlib import Path

import pytest

import minigrad
from minigrad import models, text, train

FOLDER = Path(__file__).parents[1] / "examples"
JOBS = {"translation": 260, "masked_language": 110, "question_answering": 160}  # whole programs


def loaded(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def example(name):
    return loaded(name).main


def test_regression_finds_the_line():
    slope, intercept, loss = example("regression")()
    assert slope == pytest.approx(3, abs=0.05) and intercept == pytest.approx(-1, abs=0.05)
    assert loss < 0.02


def test_xor_is_learned():
    assert example("xor")() == [0, 1, 1, 0]


@pytest.mark.parametrize("name", ["classifier_raw", "classifier_module", "classifier_trainer"])
def test_each_of_the_three_classifiers_learns_the_digits(name):
    assert example(name)() > 0.86


def test_the_binary_classifier_finds_the_zeros():
    precision, recall = example("binary")()
    assert precision > 0.9 and recall > 0.9


def test_the_custom_op_has_the_right_gradients():
    assert example("custom_op")()


def test_semantic_search_finds_the_line_itself_first_and_the_nearest_next(tmp_path, capsys):
    from test_cli_texts import bert

    lines = ["the film was good", "a very dull plot", "the play was fine"]
    (tmp_path / "lines.txt").write_text("\n".join([*lines, ""]))
    (found,) = example("semantic_search")(tmp_path / "lines.txt", lines[1], model=bert(tmp_path / "bert"))
    assert found[0] == (pytest.approx(1.0, abs=1e-6), lines[1]) and len(found) == 3
    assert [c for c, _ in found] == sorted((c for c, _ in found), reverse=True)
    assert capsys.readouterr().out.splitlines()[0] == f"1.0000  {lines[1]}"


def test_attention_from_nothing_reads_backwards():
    right, looked_at = example("attention_from_nothing")(80)
    assert right > 0.95
    assert looked_at == [7, 6, 5, 4, 3, 2, 1, 0]


def test_the_masked_language_model_fills_in_what_the_text_says(tmp_path):
    who, what = (
        ("a man", "a woman", "a child", "a dog"),
        {"rides": "a horse", "draws": "a tree", "reads": "a book"},
    )
    lines = [f"{w} {does} {it}." for w in who for does, it in what.items()]
    (tmp_path / "lines.txt").write_text("\n".join(lines * 10), encoding="utf-8")
    tiny = ["--steps", "200", "--width", "48", "--lr", "4e-3", "--batch", "32"]
    [best] = example("masked_language")(
        ["--text", str(tmp_path / "lines.txt"), "--fill", "a dog rides a [MASK].", *tiny]
    )
    assert best[0][0] == "horse" and best[0][1] > 0.5


def test_masking_asks_for_fifteen_percent_and_hides_most_of_them():
    module = loaded("masked_language")
    tokenizer = module.tokenizer_of(["one two three four five six seven eight"], 100)
    ids = minigrad.tensor(tokenizer(["one two three four five six seven eight"] * 4000)["input_ids"])
    minigrad.manual_seed(0)
    hidden, labels = module.masked(ids, tokenizer)
    asked = labels != -100
    assert (labels == ids)[asked].all() and (hidden == ids)[~asked].all()
    assert not asked[:, 0].any() and not asked[:, -1].any()
    n = 8 * 4000
    assert asked.sum().item() / n == pytest.approx(0.15, abs=5 * (0.15 * 0.85 / n) ** 0.5)
    masked = (hidden == tokenizer.mask_token_id)[asked].float().mean().item()
    same = (hidden == ids)[asked].float().mean().item()
    room = 5 * (0.8 * 0.2 / (0.15 * n)) ** 0.5
    assert masked == pytest.approx(0.8, abs=room)
    assert same == pytest.approx(0.1, abs=room)


def test_a_sentence_without_a_blank_is_refused():
    module = loaded("masked_language")
    tokenizer = module.tokenizer_of(["one two"], 10)
    model = models.BertForMaskedLM(
        models.BertConfig(
            vocab_size=tokenizer.vocab_size, hidden_size=8, num_hidden_layers=1, num_attention_heads=1
        )
    )
    with pytest.raises(ValueError, match=r"\[MASK\]"):
        module.fill(model, tokenizer, "one two")


def test_questions_are_answered_from_the_paragraph(capsys):
    assert example("question_answering")(["--quick", "--paragraph", "Mia lives in Cairo. Mia likes fish.",
                                          "--question", "Where does Mia live?"]) > 0.9  # fmt: skip
    assert "Where does Mia live? Cairo" in capsys.readouterr().out


def test_made_up_answers_stand_where_they_are_said_to():
    module, draw = loaded("question_answering"), random.Random(1)
    tokenizer = module.begun(quick=True)[1]
    for _ in range(50):
        made = module.made(draw, module.PEOPLE)
        _, paragraph, start, answer = made
        assert paragraph[start : start + len(answer)] == answer
        ids, _, _, first, last = module.batch_of(tokenizer, [made])
        assert tokenizer.decode(ids[0, first.item() : last.item() + 1]) == answer.lower()


def test_the_translation_learns_made_sentences_and_goes_on_where_it_was(tmp_path, capsys):
    pytest.importorskip("sacrebleu")
    module = loaded("translation")
    whole = module.main(["--quick", "--out", str(tmp_path / "a")])
    assert min(whole.values()) > 80
    module.main(["--quick", "--out", str(tmp_path / "a"), "--translate", "A man sees a horse."])
    assert "Ein Mann sieht ein Pferd." in capsys.readouterr().out


def test_a_translation_that_was_cut_ends_in_the_same_weights(tmp_path):
    module = loaded("translation")
    options = ["--quick", "--epochs", "2", "--dropout", "0.1"]
    weights = []
    for name, cut in (("whole", False), ("cut", True)):
        folder = tmp_path / name
        folder.mkdir()
        chosen = module.options_of([*options, "--out", str(folder)])
        if cut:
            with pytest.raises(KeyboardInterrupt):
                module.learn(folder, module.made(), chosen, [Cut(5)])
            assert not (folder / "model.safetensors").exists()
        module.learn(folder, module.made(), chosen)
        weights.append(models.from_pretrained(folder).state_dict())
    for name, value in weights[0].items():
        assert (value == weights[1][name]).all(), name


class Cut(train.Callback):
    """Ctrl-C after so many steps."""

    def __init__(self, steps):
        self.steps = steps

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx):
        if trainer.global_step == self.steps:
            raise KeyboardInterrupt


def test_translated_sentences_come_back_in_their_order_whatever_the_batches():
    module, parts = loaded("translation"), loaded("translation").made()
    lines = [" " + line for both in parts["train"] for line in both]
    tokenizer = text.train_bpe(
        lines, 300, special=list(module.SPECIAL.values()), prefix_space=True, **module.SPECIAL
    )
    minigrad.manual_seed(0)
    model = models.TransformerForTranslation(models.TransformerConfig(
        vocab_size=tokenizer.vocab_size, d_model=16, num_heads=2, d_ff=16, num_layers=1, max_position_embeddings=64
    )).eval()  # fmt: skip
    sentences = ["A dog.", "A woman follows a horse at night.", "A man sees the sea."]
    alone = [module.translate(model, tokenizer, [s], 1)[0] for s in sentences]
    together = module.translate(model, tokenizer, sentences, 1, at_once=2)
    assert len(set(alone)) > 1
    for one, other in zip(
        alone, together, strict=True
    ):  # a longer batch may write more of a text without end
        assert other.startswith(one) or one.startswith(other)
    weights, rows, columns = module.looks(model, tokenizer, sentences[0], "Ein Hund.")
    assert weights.shape == (2, len(rows), len(columns)) and rows[-1] == "</s>"
    assert minigrad.allclose(weights.sum(-1), minigrad.ones(2, len(rows)), atol=1e-5)


def test_each_batch_has_one_of_a_few_shapes_and_every_pair_once():
    module = loaded("translation")
    pairs = [
        ([5] * n, [6] * m)
        for n in range(1, 48)
        for m in (n, max(n - 3, 1))
        if module.padded(([5] * n, [6] * m))
    ]
    config = models.TransformerConfig(vocab_size=10, d_model=8, num_heads=2)
    sampler, seen, shapes = module.ByLength(pairs, 256), [], set()
    batches = list(sampler)
    assert len(batches) == len(sampler)
    for batch in batches:
        source, mask, target, labels = module.batch_of([pairs[i] for i in batch], 256, config)
        seen += batch
        shapes.add(tuple(source.shape))
        assert mask.sum().item() == sum(len(pairs[i][0]) for i in batch)
        assert (labels != -100).sum().item() == sum(len(pairs[i][1]) + 1 for i in batch)
        assert (target[:, 1:][labels[:, :-1] > 2] == labels[:, :-1][labels[:, :-1] > 2]).all()
    assert sorted(seen) == list(range(len(pairs))) and len(shapes) <= len(module.LENGTHS)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda p: p.stem)
def test_every_example_is_short_and_tested_here(path):
    told = path.read_text(encoding="utf-8")
    assert len(told.splitlines()) < JOBS.get(path.stem, 60)
    assert f'"{path.stem}"' in Path(__file__).read_text(encoding="utf-8")
