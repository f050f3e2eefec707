"""Metrics: however a set is cut into batches, the value is that of the whole set, by its definition."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad
from minigrad.train.metrics import (
    AUROC,
    Accuracy,
    ConfusionMatrix,
    F1Score,
    Mean,
    MeanAbsoluteError,
    MeanSquaredError,
    Metric,
    Perplexity,
    Precision,
    R2Score,
    Recall,
    TopKAccuracy,
)

AVERAGES = ["micro", "macro", "weighted", "none"]


@st.composite
def batched(draw, low=2):
    """A seed, a number of samples, and the places where the set is cut into batches."""
    n = draw(st.integers(low, 60))
    cuts = draw(st.lists(st.integers(0, n), max_size=6).map(sorted))
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1))), n, cuts


def accumulated(metric, preds, target, cuts):
    for p, t in zip(np.split(preds, cuts), np.split(target, cuts), strict=True):
        metric.update(minigrad.tensor(p), minigrad.tensor(t))
    return metric.compute().numpy()


def classified(rng, n, classes):
    """Scores with ties, and labels."""
    return rng.integers(0, 4, (n, classes)).astype(np.float32) / 4, rng.integers(0, classes, n)


def by_definition(name, predicted, true, classes, average):
    """Precision, recall, F1 and accuracy from sets of samples, in exact fractions."""
    ratios = {}
    for c in classes:
        tp = sum(p == t == c for p, t in zip(predicted, true, strict=True))
        fp = sum(p == c != t for p, t in zip(predicted, true, strict=True))
        fn = sum(p != c == t for p, t in zip(predicted, true, strict=True))
        above, below = {
            "Precision": (tp, tp + fp),
            "Recall": (tp, tp + fn),
            "Accuracy": (tp, tp + fn),
            "F1Score": (2 * tp, 2 * tp + fp + fn),
        }[name]
        ratios[c] = (above, below, tp + fn, tp + fp + fn)
    if average == "micro":
        return float(Fraction(sum(r[0] for r in ratios.values()), sum(r[1] for r in ratios.values()) or 1))
    values = {c: Fraction(a, b) if b else Fraction(0) for c, (a, b, *_) in ratios.items()}
    if average == "none":
        return [float(v) for v in values.values()]
    if average == "weighted":
        return float(sum(values[c] * ratios[c][2] for c in classes) / len(true))
    seen = [c for c in classes if ratios[c][3]]
    return float(sum(values[c] for c in seen) / len(seen))


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("metric", [Accuracy, Precision, Recall, F1Score])
@given(data=batched(low=1), classes=st.integers(2, 5))
def test_ratios_by_class_are_those_of_the_whole_set(metric, average, data, classes):
    rng, n, cuts = data
    scores, labels = classified(rng, n, classes)
    expected = by_definition(
        metric.__name__, scores.argmax(1).tolist(), labels.tolist(), range(classes), average
    )
    got = accumulated(metric("multiclass", num_classes=classes, average=average), scores, labels, cuts)
    np.testing.assert_allclose(got, expected, rtol=1e-15)
    by_label = accumulated(
        metric("multiclass", num_classes=classes, average=average), scores.argmax(1), labels, cuts
    )
    np.testing.assert_array_equal(by_label, got)


@pytest.mark.parametrize("metric", [Precision, Recall, F1Score])
@given(data=batched(low=1), threshold=st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.9]))
def test_binary_ratios_are_those_of_class_one(metric, data, threshold):
    rng, n, cuts = data
    probabilities, labels = rng.integers(0, 5, n) / 4.0, rng.integers(0, 2, n)
    predicted = (probabilities > threshold).astype(int)
    expected = by_definition(metric.__name__, predicted.tolist(), labels.tolist(), [1], "micro")
    assert float(accumulated(metric("binary", threshold), probabilities, labels, cuts)) == expected


@given(data=batched(low=1), threshold=st.sampled_from([0.2, 0.5, 0.75]))
def test_logits_are_compared_with_the_threshold_as_probabilities_are(data, threshold):
    rng, n, cuts = data
    logits, labels = rng.normal(size=n) * 3, rng.integers(0, 2, n)
    by_logit = accumulated(Accuracy("binary", threshold, from_logits=True), logits, labels, cuts)
    by_probability = accumulated(Accuracy("binary", threshold), 1 / (1 + np.exp(-logits)), labels, cuts)
    assert by_logit == by_probability == np.mean((1 / (1 + np.exp(-logits)) > threshold) == labels)


@given(data=batched(low=1), classes=st.integers(2, 5))
def test_confusion_matrix_counts_true_by_row_predicted_by_column(data, classes):
    rng, n, cuts = data
    scores, labels = classified(rng, n, classes)
    expected = np.zeros((classes, classes), int)
    for p, t in zip(scores.argmax(1), labels, strict=True):
        expected[t, p] += 1
    got = accumulated(ConfusionMatrix(num_classes=classes), scores, labels, cuts)
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, expected)
    with np.errstate(invalid="ignore"):
        for how, total in [("true", expected.sum(1, keepdims=True)), ("pred", expected.sum(0)), ("all", n)]:
            normal = accumulated(ConfusionMatrix(num_classes=classes, normalize=how), scores, labels, cuts)
            np.testing.assert_allclose(normal, np.nan_to_num(expected / total), rtol=1e-15)


def test_confusion_matrix_grows_with_the_labels_seen_and_starts_at_zeros_when_told():
    matrix = ConfusionMatrix("multiclass")
    matrix.update([0, 1], [1, 1])
    matrix.update([3, 0], [3, 2])
    assert matrix.compute().tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    assert ConfusionMatrix(num_classes=2).compute().tolist() == [[0, 0], [0, 0]]


@given(data=batched(low=1), classes=st.integers(2, 6), k=st.integers(1, 6))
def test_top_k_looks_among_the_k_best_ties_in_order_of_class(data, classes, k):
    rng, n, cuts = data
    k = min(k, classes)
    scores, labels = classified(rng, n, classes)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    got = accumulated(TopKAccuracy(k), scores, labels, cuts)
    assert got == np.mean([t in row for row, t in zip(best, labels, strict=True)])
    if k == 1:
        assert got == accumulated(Accuracy(), scores, labels, cuts)


def area(scores, positive):
    """P(positive above negative) + half of P(equal), over all pairs."""
    pairs = [(a > b) + (a == b) / 2 for a in scores[positive] for b in scores[~positive]]
    return sum(pairs) / len(pairs) if pairs else math.nan


@given(data=batched())
def test_auroc_is_the_share_of_pairs_in_the_right_order(data):
    rng, n, cuts = data
    scores, labels = rng.integers(-3, 4, n) * 1.5, rng.integers(0, 2, n)
    got = accumulated(AUROC("binary"), scores, labels, cuts)
    np.testing.assert_equal(float(got), float(area(scores, labels == 1)))


@pytest.mark.parametrize("average", ["macro", "weighted", "none"])
@given(data=batched(), classes=st.integers(3, 4))
def test_auroc_of_classes_is_each_against_the_rest(average, data, classes):
    rng, n, cuts = data
    logits, labels = rng.integers(-3, 4, (n, classes)).astype(float), rng.integers(0, classes, n)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = np.array([area(shares[:, c].round(12), labels == c) for c in range(classes)])
    known = ~np.isnan(expected)
    weights = np.bincount(labels, minlength=classes) if average == "weighted" else np.ones(classes)
    if average != "none":
        expected = np.average(expected[known], weights=weights[known]) if known.any() else math.nan
    got = accumulated(AUROC(average=average), shares.round(12), labels, cuts)
    np.testing.assert_allclose(got, expected, rtol=1e-13)
    got = accumulated(AUROC("multiclass", average=average, from_logits=True), logits, labels, cuts)
    assert got.shape == np.shape(expected)


def test_auroc_takes_logits_of_classes_through_softmax_within_each_sample():
    logits = np.array([[2.0, 0.0, 1.0], [10.0, 9.0, 12.5], [0.0, 0.0, 0.0], [1.0, 3.0, 0.5]])
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([0, 2, 1, 0])
    assert AUROC(from_logits=True)(logits, labels).item() == AUROC()(shares, labels).item()


@given(data=batched(), outputs=st.integers(1, 3), shift=st.sampled_from([0.0, 1e6]))
def test_r2_is_one_minus_residual_over_spread(data, outputs, shift):
    rng, n, cuts = data
    true = rng.normal(size=(n, outputs)) + shift
    preds = true + rng.normal(size=(n, outputs)) * 0.3
    spread = ((true - true.mean(0)) ** 2).sum(0)
    expected = 1 - ((true - preds) ** 2).sum(0) / spread
    for how, value in [
        ("raw_values", expected),
        ("uniform_average", expected.mean()),
        ("variance_weighted", (expected * spread).sum() / spread.sum()),
    ]:
        got = accumulated(R2Score(multioutput=how), preds, true, cuts)
        np.testing.assert_allclose(got, value, rtol=1e-7 if shift else 1e-11)
    adjusted = R2Score(adjusted=2)
    if n > 3:
        got = accumulated(adjusted, preds[:, 0], true[:, 0], cuts)
        assert got == pytest.approx(1 - (1 - expected[0]) * (n - 1) / (n - 3), rel=1e-6)


def test_r2_of_a_constant_target_is_one_when_met_and_zero_otherwise():
    assert R2Score()([2.0, 2.0], [2.0, 2.0]).item() == 1.0
    assert R2Score()([2.0, 3.0], [2.0, 2.0]).item() == 0.0
    assert R2Score(multioutput="variance_weighted")([2.0, 3.0], [2.0, 2.0]).item() == 0.0


@given(data=batched(low=1))
def test_errors_are_means_over_all_elements(data):
    rng, n, cuts = data
    preds, true = rng.normal(size=(n, 2)), rng.normal(size=(n, 2))
    square, absolute = np.mean((preds - true) ** 2), np.mean(np.abs(preds - true))
    assert accumulated(MeanSquaredError(), preds, true, cuts) == pytest.approx(square, rel=1e-12)
    assert accumulated(MeanSquaredError(squared=False), preds, true, cuts) == pytest.approx(
        square**0.5, rel=1e-12
    )
    assert accumulated(MeanAbsoluteError(), preds, true, cuts) == pytest.approx(absolute, rel=1e-12)


@given(data=batched(low=1), ignore=st.sampled_from([None, 0, -100]))
def test_perplexity_is_the_exponential_of_the_mean_negative_log_likelihood(data, ignore):
    rng, n, cuts = data
    logits, labels = rng.normal(size=(n, 3, 4)) * 4, rng.integers(0, 4, (n, 3))
    labels[0, 0] = 1  # one counts at least
    if ignore == -100:
        labels[-1, -1] = -100
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    kept = labels != ignore
    expected = np.exp(-np.mean([math.log(shares[i, j, labels[i, j]]) for i, j in np.argwhere(kept)]))
    assert accumulated(Perplexity(ignore), logits, labels, cuts) == pytest.approx(expected, rel=1e-12)


@given(data=batched(low=1))
def test_mean_weighs_each_value(data):
    rng, n, cuts = data
    values, weights = rng.normal(size=n), rng.integers(1, 9, n)
    mean = Mean()
    for v, w in zip(np.split(values, cuts), np.split(weights, cuts), strict=True):
        mean.update(v, w)
    assert mean.compute().item() == pytest.approx(np.average(values, weights=weights), rel=1e-12)
    numbers = Mean()
    for v, w in zip(values.tolist(), weights.tolist(), strict=True):
        numbers.update(v, w)
    assert numbers.compute().item() == pytest.approx(mean.compute().item(), rel=1e-12)


@pytest.mark.parametrize(
    "metric", [Accuracy, Precision, Recall, F1Score, ConfusionMatrix, AUROC, TopKAccuracy]
)
def test_targets_of_ignore_index_do_not_count(metric):
    rng = np.random.default_rng(1)
    scores, labels = rng.random((40, 3)), rng.integers(0, 3, 40)
    options = {"k": 2} if metric is TopKAccuracy else {"task": "multiclass", "num_classes": 3}
    marked = np.where(np.arange(40) % 4 == 0, -1, labels)
    whole = metric(ignore_index=-1, **options)(scores, marked)
    kept = metric(**options)(scores[marked >= 0], labels[marked >= 0])
    assert whole.tolist() == kept.tolist()


def test_binary_auroc_ignores_too():
    assert AUROC(ignore_index=-1)([0.1, 0.9, 0.5], [0, 1, -1]).item() == 1.0


@pytest.mark.parametrize("shape", [(6, 3, 4), (6, 3, 2, 2)])
def test_classes_are_in_dimension_one_whatever_follows(shape):
    rng = np.random.default_rng(2)
    scores, labels = rng.random(shape), rng.integers(0, 3, shape[:1] + shape[2:])
    assert Accuracy()(scores, labels).item() == np.mean(scores.argmax(1) == labels)
    assert TopKAccuracy(3)(scores, labels).item() == 1.0


def test_one_output_and_float_targets_are_binary_as_its_loss_takes_them():
    metric = Accuracy()
    metric.update(np.array([[0.9], [0.2], [0.6]], np.float32), np.array([[1.0], [0.0], [0.0]], np.float32))
    metric.update(np.array([[0.4]]), np.array([0]))
    assert metric.task == "binary" and metric.compute().item() == 0.75


def test_bfloat16_predictions_are_taken():
    pytest.importorskip("ml_dtypes")
    scores = minigrad.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=minigrad.bfloat16)
    assert Accuracy()(scores, minigrad.tensor([1, 1])).item() == 0.5


def test_zero_division_is_the_value_of_a_class_without_samples():
    assert Precision("multiclass", num_classes=3, average="none", zero_division=1.0)(
        [0, 0], [0, 1]
    ).tolist() == [
        0.5,
        1.0,
        1.0,
    ]


ALL = [
    (Accuracy("multiclass"), [1, 0], [1, 1]),
    (Precision("binary"), [0.9, 0.2], [1, 0]),
    (ConfusionMatrix("multiclass", num_classes=3), [1, 0], [2, 1]),
    (TopKAccuracy(1), [[0.1, 0.9]], [1]),
    (AUROC("binary"), [0.3, 0.1], [1, 0]),
    (R2Score(), [1.0, 2.0], [1.0, 3.0]),
    (MeanSquaredError(), [1.0], [2.0]),
    (MeanAbsoluteError(), [1.0], [3.0]),
    (Perplexity(), [[0.0, 1.0]], [1]),
    (Mean(), 2.5, 3.0),
]


@pytest.mark.parametrize(("metric", "preds", "target"), ALL, ids=lambda x: getattr(x, "name", ""))
def test_a_saved_state_goes_on_as_if_nothing_had_happened(metric, preds, target):
    metric.reset()
    metric.update(preds, target)
    copied = metric.clone()
    copied.reset()
    copied.load_state_dict(metric.state_dict())
    for m in (metric, copied):
        m.update(preds, target)
    np.testing.assert_equal(copied.compute().numpy(), metric.compute().numpy())
    before = metric.state_dict()
    metric.update(preds, target)
    again = metric.clone()
    again.load_state_dict(before)
    np.testing.assert_equal(again.compute().numpy(), copied.compute().numpy())  # the state was a copy


@pytest.mark.parametrize(("metric", "preds", "target"), ALL, ids=lambda x: getattr(x, "name", ""))
def test_reset_forgets_and_a_call_gives_the_value_of_its_batch_alone(metric, preds, target):
    metric.reset()
    first = metric(preds, target)
    metric.update(preds, target)
    np.testing.assert_equal(metric(preds, target).numpy(), first.numpy())
    metric.reset()
    if not isinstance(metric, ConfusionMatrix):
        with pytest.raises(RuntimeError, match=rf"{type(metric).__name__}.compute: nothing accumulated yet"):
            metric.compute()


def test_names_in_a_history_are_the_class_names_in_snake_case():
    names = [m().name for m in (Accuracy, F1Score, AUROC, R2Score, TopKAccuracy, MeanSquaredError)]
    assert names == ["accuracy", "f1_score", "auroc", "r2_score", "top_k_accuracy", "mean_squared_error"]


def test_repr_shows_the_options():
    assert (
        repr(Accuracy("binary", 0.25))
        == "Accuracy(average='micro', zero_division=0.0, task='binary', threshold=0.25, num_classes=None, "
        "ignore_index=None, from_logits=False)"
    )


def test_a_metric_of_ones_own_needs_its_three_methods():
    for call in (Metric().reset, lambda: Metric().update(0, 0), Metric().compute):
        with pytest.raises(NotImplementedError, match="a Metric has to define"):
            call()


X3 = np.zeros((2, 3))
REFUSED = [
    (lambda: Accuracy("multilabel"), "Accuracy: expected task to be one of"),
    (lambda: Accuracy("binary", num_classes=3), "task='binary' has 2 classes, got num_classes=3"),
    (lambda: Accuracy("multiclass", num_classes=1), "num_classes to be an integer of 2 or more, got 1"),
    (lambda: Accuracy("binary", 1.5), r"threshold to be a probability in \[0, 1\], got 1.5"),
    (lambda: Accuracy("multiclass", average="mean"), "expected average to be one of"),
    (lambda: Accuracy("multiclass", top_k=3), r"use TopKAccuracy\(k=3\)"),
    (lambda: ConfusionMatrix(normalize="rows"), "expected normalize to be one of"),
    (lambda: TopKAccuracy(0), "k to be an integer of 1 or more, got 0"),
    (lambda: R2Score(adjusted=-1), "adjusted to be an integer of 0 or more, got -1"),
    (lambda: R2Score(multioutput="sum"), "expected multioutput to be one of"),
    (lambda: AUROC(average="micro"), "expected average to be one of"),
    (
        lambda: Accuracy().update(X3, [0, 3]),
        "Accuracy: target holds label 3 at position 1, expected labels 0 to 2",
    ),
    (lambda: F1Score().update(X3, [0, -1]), "F1Score: target holds label -1 at position 1"),
    (
        lambda: Accuracy("multiclass", num_classes=3).update([4], [0]),
        "preds holds label 4 at position 0, expected labels 0 to 2",
    ),
    (lambda: Accuracy("multiclass").update([0], [-5]), "target holds label -5"),
    (lambda: Accuracy().update([1, 0], [1, 1]), "labels, which don't say the task; pass task='binary'"),
    (lambda: Accuracy().update(X3, [0, 1, 2]), r"preds float64 \(2, 3\) and target int64 \(3,\)"),
    (
        lambda: Accuracy().update(np.zeros((2, 3, 4, 5)), [0, 1]),
        r"expected preds \(N, classes\) with target \(N,\)",
    ),
    (lambda: Accuracy("multiclass").update(X3, [0.5, 1.0]), "expected integer classes as target"),
    (lambda: Accuracy("multiclass").update([1, 2, 0], [0, 1]), "expected labels of the same shape"),
    (
        lambda: Accuracy("multiclass", num_classes=4).update(X3, [0, 1]),
        r"preds with 4 classes in dimension 1, got \(2, 3\)",
    ),
    (lambda: _fewer_classes(), r"expected 4 classes as before, got preds \(2, 3\)"),
    (lambda: Accuracy("binary").update([0.1, 0.2], [0]), "expected preds and target of the same shape"),
    (
        lambda: Accuracy("binary").update([0.1, -2.5], [0, 1]),
        "preds hold -2.5, expected probabilities in .*from_logits=True",
    ),
    (
        lambda: Accuracy("binary").update([0.1, 3.5], [0, 1]),
        "preds hold 3.5, expected probabilities in .*from_logits=True",
    ),
    (lambda: Accuracy("binary").update([0.1, 0.5], [0, 0.5]), "values between the classes"),
    (lambda: Accuracy("binary").update([0.1, 0.5], [0, 2]), "target holds label 2"),
    (lambda: Accuracy("binary").update([0.1, math.nan], [0, 1]), "preds hold NaN"),
    (lambda: Accuracy().update(X3 * math.nan, [0, 1]), "preds hold NaN"),
    (lambda: TopKAccuracy(1).update(X3 * math.nan, [0, 1]), "TopKAccuracy: preds hold NaN"),
    (lambda: TopKAccuracy(4).update(X3, [0, 1]), "k=4 is more than the 3 classes"),
    (lambda: TopKAccuracy(1).update([0, 1], [0, 1]), r"expected float preds \(N, classes, …\)"),
    (lambda: AUROC("binary").update([0.1, 0.2], [0]), "expected float preds and target of the same shape"),
    (lambda: AUROC("binary").update([0.1, 0.2], [0, 3]), r"expected target 0 and 1, got \[3\]"),
    (lambda: AUROC("binary").update([0.1, math.nan], [0, 1]), "AUROC: preds hold NaN"),
    (lambda: AUROC().update(X3 - 1, [0, 1]), "preds hold -1, .*from_logits=True"),
    (lambda: AUROC("multiclass", num_classes=4).update(X3, [0, 1]), "expected 4 classes"),
    (lambda: MeanSquaredError().update([[1.0]], [1.0]), r"same shape, got \(1, 1\) and \(1,\)"),
    (
        lambda: R2Score().update(np.zeros((2, 2, 2)), np.zeros((2, 2, 2))),
        r"expected \(N,\) or \(N, outputs\)",
    ),
    (lambda: _other_outputs(), r"expected \(2,\) outputs as before, got \(\)"),
    (lambda: R2Score()([1.0], [2.0]), "needs at least two samples, got 1"),
    (lambda: R2Score(adjusted=2)([1.0, 2.0], [2.0, 3.0]), "adjusted=2 needs more than 3 samples, got 2"),
    (lambda: Perplexity().update(X3, [0.0, 1.0]), r"expected float preds \(…, classes\) and integer target"),
    (lambda: Perplexity().update(X3, [0, 3]), "Perplexity: target holds label 3"),
    (lambda: Mean().update([1.0, 2.0], [1.0, 2.0, 3.0]), "weight of shape .* doesn't broadcast"),
]


def _fewer_classes():
    metric = Accuracy("multiclass")
    metric.update(np.zeros((1, 4)), [3])
    metric.update(X3, [0, 1])


def _other_outputs():
    metric = R2Score()
    metric.update(np.zeros((2, 2)), np.zeros((2, 2)))
    metric.update([1.0], [1.0])


@pytest.mark.parametrize(("call", "text"), REFUSED)
def test_bad_input_is_refused_by_name_with_the_remedy(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_a_state_of_another_metric_is_refused():
    with pytest.raises(KeyError, match=r"Mean.load_state_dict: expected the keys"):
        Mean().load_state_dict(MeanSquaredError().state_dict())


def test_empty_batches_change_nothing():
    for metric in (Accuracy(num_classes=3), TopKAccuracy(1), AUROC("multiclass"), Perplexity()):
        metric.update(X3.clip(0, 1), [0, 1])
        before = metric.compute()
        metric.update(np.zeros((0, 3)), np.zeros(0, int))
        np.testing.assert_equal(metric.compute().numpy(), before.numpy())
    r2 = R2Score()
    r2.update([], [])
    assert r2(np.array([1.0, 2.0]), np.array([1.0, 2.0])).item() == 1.0
