"""Pictures of a run: what they say, that they are whole files, and that they hold for every size of input."""

import io
import math
import struct
import sys
import xml.etree.ElementTree as ET
import zlib

import numpy as np
import pytest

import minigrad
from minigrad.pictures import attention, projection
from minigrad.pictures.svg import Svg, escape, png, shortened, text_width
from minigrad.pictures.text import _shades, principal
from minigrad.pictures.training import confusion, curves, percent, predictions, ticks

NAMESPACE = "{http://www.w3.org/2000/svg}"
HISTORY = {
    "epoch": [1, 2, 3],
    "loss": [0.9, 0.5, 0.25],
    "val_loss": [0.8, 0.6, 0.5],
    "accuracy": [0.7, 0.8, 0.9],
    "val_accuracy": [0.65, 0.7, 0.75],
    "lr": [1e-3, 5e-4, 0.0],
}


def drawn(path):
    """The file as a tree, read by a parser of XML: it is valid."""
    return ET.parse(path).getroot()


def texts(root):
    return [t.text or "" for t in root.iter(NAMESPACE + "text")]


def of_colour(root, tag, colour):
    return [e for e in root.iter(NAMESPACE + tag) if colour in (e.get("fill"), e.get("stroke"))]


BLUE, VERMILION = "#0072b2", "#d55e00"


# ---- curves ----------------------------------------------------------------------------------------------


def test_curves_show_a_panel_for_each_figure_with_both_lines_named_and_their_last_values(tmp_path):
    root = drawn(curves(HISTORY, tmp_path / "curves.svg", title="A run", names=("train", "test")))
    seen = texts(root)
    assert {"A run", "loss", "accuracy", "learning rate", "epoch"} <= set(seen)
    assert {"train 0.25", "test 0.5", "train 0.9", "test 0.75"} <= set(seen)
    assert [t for t in seen if t in ("loss", "accuracy", "learning rate")] == [
        "loss",
        "accuracy",
        "learning rate",
    ]


def test_the_points_of_a_curve_stand_where_the_ticks_say(tmp_path):
    root = drawn(curves({"loss": [1.0, 3.0]}, tmp_path / "c.svg"))
    y_of = {
        t.text: float(t.get("y")) - 3.5
        for t in root.iter(NAMESPACE + "text")
        if t.get("text-anchor") == "end"
    }
    one_unit = y_of["1.0"] - y_of["2.0"]
    first, second, _legend = [float(c.get("cy")) for c in root.iter(NAMESPACE + "circle")]
    assert first == pytest.approx(y_of["1.0"], abs=0.1)
    assert first - second == pytest.approx(2 * one_unit, abs=0.1)


def test_the_second_line_is_told_apart_without_its_colour(tmp_path):
    root = drawn(curves(HISTORY, tmp_path / "c.svg"))
    lines = of_colour(root, "polyline", VERMILION)
    assert lines and all(e.get("stroke-dasharray") for e in lines)
    assert not any(e.get("stroke-dasharray") for e in of_colour(root, "polyline", BLUE))


def test_nan_and_none_are_gaps_in_a_curve(tmp_path):
    root = drawn(curves({"loss": [1.0, 2.0, math.nan, 3.0, 2.5, None]}, tmp_path / "c.svg"))
    pieces = [e.get("points").count(",") for e in of_colour(root, "polyline", BLUE)]
    assert pieces[:2] == [2, 2]
    assert "at the end not finite" in texts(root)


@pytest.mark.parametrize(
    "history",
    [
        {"loss": [0.5]},
        {"loss": [0.0, 0.0]},
        {"loss": [math.inf, math.nan]},
        {"loss": [1e-9, 2e-9], "perplexity": [1e9, 2e12]},
        {"val_loss": list(range(500)), "loss": []},
        {"lr": [1e-3] * 5},
        {f"metric_{i}": [i, i + 1] for i in range(7)},
    ],
)
def test_curves_hold_for_one_epoch_constants_and_extremes(tmp_path, history):
    root = drawn(curves(history, tmp_path / "c.svg"))
    assert "nan" not in " ".join(e.get("points", "") for e in root.iter(NAMESPACE + "polyline"))
    width, height = float(root.get("width")), float(root.get("height"))
    for t in root.iter(NAMESPACE + "text"):
        assert 0 <= float(t.get("x")) <= width and 0 <= float(t.get("y")) <= height


def test_a_history_with_nothing_in_it_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected figures by epoch, got a history with nothing"):
        curves({}, tmp_path / "c.svg")
    with pytest.raises(ValueError, match="got a history with \\['epoch', 'loss'\\]"):
        curves({"epoch": [], "loss": []}, tmp_path / "c.svg")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("low, high, expected", [
    (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (0.61, 0.89, [0.65, 0.7, 0.75, 0.8, 0.85]),
    (-3, 7, [-2, 0, 2, 4, 6]), (5, 5, [5]),
])  # fmt: skip
def test_ticks_are_round_numbers_inside_the_range(low, high, expected):
    assert ticks(low, high, 5) == pytest.approx(expected)


def test_ticks_of_epochs_are_whole():
    assert ticks(1, 3, 8, whole=True) == [1, 2, 3]


# ---- confusion -------------------------------------------------------------------------------------------


def test_a_confusion_matrix_shows_counts_shares_and_names(tmp_path):
    root = drawn(confusion([[90, 10], [1, 3]], ["cat", "dog"], tmp_path / "m.svg", title="Pets"))
    seen = texts(root)
    assert {"Pets", "truth", "prediction", "90", "90 %", "10", "1", "25 %", "3", "75 %"} <= set(seen)
    assert seen.count("cat") == seen.count("dog") == 2


def test_right_is_blue_and_wrong_is_orange_and_deeper_for_more(tmp_path):
    root = drawn(confusion(minigrad.tensor([[6, 4, 0], [0, 10, 0], [9, 0, 1]]), "abc", tmp_path / "m.svg"))
    cells = [
        r.get("fill") for r in root.iter(NAMESPACE + "rect") if r.get("width") == "60" == r.get("height")
    ]
    assert len(cells) == 9
    shade = [[int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in cells]
    assert shade[4] == [0x00, 0x72, 0xB2] and shade[0][2] > shade[0][0]  # blue
    assert shade[1][0] > shade[1][2] > shade[6][2]  # orange; 90 % is deeper than 40 %
    assert shade[2] == [255, 255, 255]


def test_a_class_without_images_is_no_division_by_zero(tmp_path):
    assert "0" in texts(drawn(confusion([[0, 0], [1, 1]], ["a", "b"], tmp_path / "m.svg")))


@pytest.mark.parametrize("n", [1, 12, 20, 80])
def test_confusion_matrices_of_any_size_keep_their_labels_inside(tmp_path, n):
    names = [f"a rather long name of class {i}" for i in range(n)]
    root = drawn(confusion(np.eye(n, dtype=int) * 1234567, names, tmp_path / "m.svg"))
    width, height = float(root.get("width")), float(root.get("height"))
    assert height < 1200 and all(0 <= float(t.get("x")) <= width for t in root.iter(NAMESPACE + "text"))


def test_counts_that_do_not_fit_the_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected counts \(3, 3\) for 3 class names, got \(2, 2\)"):
        confusion([[1, 2], [3, 4]], ["a", "b", "c"], tmp_path / "m.svg")


@pytest.mark.parametrize(
    "share, words",
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.856, "86 %"),
        (0.042, "4.2 %"),
        (0.9996, "99.9 %"),
        (0.0001, "0 %"),
        (math.nan, "nan"),
    ],
)
def test_shares_are_short_and_never_rounded_up_to_all(share, words):
    assert percent(share) == words


# ---- predictions -----------------------------------------------------------------------------------------

IMAGES = np.linspace(0, 255, 5 * 16).astype(np.uint8).reshape(5, 4, 4)


def test_a_sheet_shows_prediction_probability_and_truth_and_marks_the_wrong(tmp_path):
    file = predictions(
        IMAGES,
        [0, 1, 0, 1, 1],
        [0, 1, 1, 1, 0],
        [0.9, 0.8, 0.51, 1.0, 0.7],
        ["cat", "dog"],
        tmp_path / "p.svg",
    )
    root = drawn(file)
    seen = texts(root)
    assert {"cat 90 %", "dog 80 %", "dog 51 %", "dog 100 %", "cat 70 %", "truth: cat", "truth: dog"} <= set(
        seen
    )
    assert len(list(root.iter(NAMESPACE + "image"))) == 5
    frames = [r for r in of_colour(root, "rect", VERMILION) if r.get("width") == "88"]
    assert len(frames) == 2
    wrong = [t for t in root.iter(NAMESPACE + "text") if t.get("fill") == VERMILION]
    assert [t.text for t in wrong] == ["truth: cat", "truth: dog"] and all(
        t.get("font-weight") for t in wrong
    )


def test_images_are_embedded_and_whole(tmp_path):
    import base64

    root = drawn(predictions(IMAGES[:1], [0], [0], [1.0], ["a"], tmp_path / "p.svg"))
    (image,) = root.iter(NAMESPACE + "image")
    kind, data = image.get("href").split(",")
    assert kind == "data:image/png;base64"
    pixels = unpng(base64.b64decode(data))
    each = pixels.shape[0] // 4
    assert np.array_equal(pixels[::each, ::each], IMAGES[0])


def test_sections_choose_and_name_the_images(tmp_path):
    root = drawn(
        predictions(IMAGES, None, [0] * 5, [0.5] * 5, ["a"], tmp_path / "p.svg",
                    sections=[("Some", [4, 0]), ("None", []), ("One", [2])])
    )  # fmt: skip
    assert {"Some", "None", "One"} <= set(texts(root))
    assert len(list(root.iter(NAMESPACE + "image"))) == 3
    assert not [t for t in texts(root) if t.startswith(("truth", "wrong"))]


@pytest.mark.parametrize(
    "images",
    [
        minigrad.tensor(np.random.default_rng(0).random((2, 1, 3, 5), np.float32)),
        np.random.default_rng(0).normal(size=(2, 3, 4, 4)),
        np.full((2, 4, 4), np.nan, np.float32),
        np.zeros((2, 4, 4), np.uint8),
    ],
)
def test_images_may_be_grey_or_colour_numbers_of_any_kind(tmp_path, images):
    assert drawn(predictions(images, [0, 0], [0, 0], [1, 1], ["a"], tmp_path / "p.svg")) is not None


def test_lengths_and_shapes_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="got 5 images, 2 truths, 5 predictions and 5 probabilities"):
        predictions(IMAGES, [0, 0], [0] * 5, [1] * 5, ["a"], tmp_path / "p.svg")
    with pytest.raises(ValueError, match=r"expected images \(N, H, W\).* got \(5, 16\)"):
        predictions(IMAGES.reshape(5, 16), [0] * 5, [0] * 5, [1] * 5, ["a"], tmp_path / "p.svg")


# ---- surfaces --------------------------------------------------------------------------------------------


def test_without_a_suffix_the_picture_is_png_where_matplotlib_is_and_svg_where_not(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    assert curves(HISTORY, tmp_path / "a").name == "a.svg"
    assert drawn(tmp_path / "a.svg") is not None
    with pytest.raises(
        ImportError, match=r"a.png: PNG needs matplotlib: pip install matplotlib, or ask for .svg"
    ):
        curves(HISTORY, tmp_path / "a.png")


def test_png_pictures_are_painted_by_matplotlib_from_the_same_layout(tmp_path):
    pytest.importorskip("matplotlib")
    a = curves(HISTORY, tmp_path / "a", title="$x_1$ isn't mathematics")
    b = confusion([[9, 1], [0, 3]], ["cat", "dog"], tmp_path / "b.png")
    c = predictions(IMAGES, [0] * 5, [0, 1] * 2 + [0], [0.5] * 5, ["cat", "dog"], tmp_path / "c.png")
    assert a.name == "a.png"
    for file, svg in ((a, curves(HISTORY, tmp_path / "a.svg", title="t")), (b, None), (c, None)):
        head = file.read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        if svg is not None:
            width, height = struct.unpack(">II", head[16:24])
            root = drawn(svg)
            assert (width, height) == (2 * float(root.get("width")), 2 * float(root.get("height")))


def test_painting_leaves_matplotlibs_process_wide_state_alone(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    before = dict(matplotlib.rcParams)
    curves(HISTORY, tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a.gif: pictures are .png or .svg files"):
        curves(HISTORY, tmp_path / "a.gif")


def test_text_is_escaped_and_what_xml_cannot_hold_is_replaced(tmp_path):
    hostile = 'a<b>&"\x00\x0b\ud800\uffff]]>'
    assert escape(hostile) == "a&lt;b&gt;&amp;&quot;" + "\ufffd" * 4 + "]]&gt;"
    svg = Svg(10, 10, hostile)
    svg.text(1, 1, hostile)
    root = ET.parse(io.StringIO(str(svg))).getroot()
    assert texts(root) == ['a<b>&"' + "\ufffd" * 4 + "]]>"]
    root = drawn(confusion([[1]], [hostile], tmp_path / "m.svg", title=hostile))
    assert any(t.startswith('a<b>&"') for t in texts(root))


def test_pictures_stand_alone(tmp_path):
    for file in (
        curves(HISTORY, tmp_path / "a.svg"),
        predictions(IMAGES, None, [0] * 5, [1] * 5, "a", tmp_path / "b.svg"),
    ):
        words = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http" not in words and "<script" not in words and "url(" not in words


def test_shortened_text_fits_and_short_text_is_left_alone():
    assert shortened("cat", 100) == "cat"
    cut = shortened("a very long name of a class", 80)
    assert cut.endswith("…") and text_width(cut) <= 80
    assert text_width("日本") > text_width("ab") > text_width("il")


def unpng(data):
    """Reads what png() writes, by the format's own rules."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, parts = 8, {}
    while at < len(data):
        (n,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + n]
        assert struct.unpack(">I", data[at + 8 + n : at + 12 + n])[0] == zlib.crc32(kind + body)
        parts[kind] = body
        at += 12 + n
    width, height, depth, colour = struct.unpack(">IIBB", parts[b"IHDR"][:10])
    assert depth == 8 and list(parts) == [b"IHDR", b"IDAT", b"IEND"]
    rows = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape((height, width) if colour == 0 else (height, width, 3))


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (4, 2, 3)])
def test_png_holds_the_pixels(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    assert np.array_equal(unpng(png(pixels)), pixels)
    image = pytest.importorskip("PIL.Image")
    assert np.array_equal(np.asarray(image.open(io.BytesIO(png(pixels)))), pixels)


@pytest.mark.parametrize(
    "pixels", [np.zeros((2, 2)), np.zeros((0, 2), np.uint8), np.zeros((2, 2, 4), np.uint8)]
)
def test_png_refuses_what_it_cannot_hold(pixels):
    with pytest.raises(ValueError, match=r"png: expected uint8 pixels \(H, W\) or \(H, W, 3\), got"):
        png(pixels)


# ---- text ------------------------------------------------------------------------------------------------


def test_the_rate_of_every_step_takes_the_place_of_those_by_epoch(tmp_path):
    rates = [k / 100 for k in range(50)]
    root = drawn(curves(HISTORY | {"lr-pg0": [1, 2, 3]}, tmp_path / "c.svg", rates=rates))
    seen = texts(root)
    assert seen.count("learning rate") == 1 and "lr-pg0" not in seen and "at the end 0.49" in seen
    assert max(e.get("points").count(",") for e in of_colour(root, "polyline", BLUE)) == 50


@pytest.mark.parametrize("layers, heads, count", [(1, 1, 1), (2, 3, 5), (6, 12, 40), (1, 2, 60)])
def test_attention_has_a_map_for_each_head_of_each_layer_and_names_what_there_is_room_for(
    tmp_path, layers, heads, count
):
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(count), (layers, heads, count))
    tokens = [f"t{k}" for k in range(count)]
    root = drawn(attention(weights, tokens, tmp_path / "a.svg", title="A text & more"))
    seen = texts(root)
    assert len(list(root.iter(NAMESPACE + "image"))) == layers * heads
    assert f"layer {layers}" in seen and f"head {heads}" in seen and "A text & more" in seen
    assert seen.count("t0") == ((layers + heads) if count < 20 else seen.count(f"t{count - 1}"))
    width, height = float(root.get("width")), float(root.get("height"))
    for t in root.iter(NAMESPACE + "text"):
        assert 0 <= float(t.get("x")) <= width and 0 <= float(t.get("y")) <= height


def test_attention_of_tokens_to_others_names_both(tmp_path):
    weights = np.random.default_rng(0).dirichlet(np.ones(5), (2, 3))  # (heads, T, S)
    rows, columns = ["Ein", "Hund", "bellt"], ["a", "dog", "bar", "ks", "."]
    root = drawn(attention([weights], rows, tmp_path / "a.svg", columns=columns))
    (first, second) = root.iter(NAMESPACE + "image")
    sides = [(float(i.get("width")), float(i.get("height"))) for i in (first, second)]
    assert sides[0] == sides[1] and sides[0][0] / sides[0][1] == pytest.approx(5 / 3, rel=0.02)
    seen = texts(root)
    assert all(seen.count(t) == 1 for t in rows) and all(seen.count(t) == 2 for t in columns)
    with pytest.raises(ValueError, match=r"\(heads, 3, 4\) of each layer for 3 tokens that look at 4"):
        attention([weights], rows, tmp_path / "a.svg", columns=columns[:4])


def test_more_attention_is_darker_and_none_is_white():
    shades = _shades(np.linspace(0, 1, 101)[None]).astype(int).sum(-1)[0]
    assert shades[0] == 765 and (np.diff(shades) < 0).all()


def test_attention_of_another_shape_is_refused(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"expected \(heads, 3, 3\) of each layer for 3 tokens that look at 3, got \(1, 2, 3, 3\); of a batch",
    ):
        attention([np.zeros((1, 2, 3, 3))], ["a", "b", "c"], tmp_path / "a.svg")
    with pytest.raises(ValueError, match="got nothing"):
        attention([], ["a"], tmp_path / "a.svg")


def test_principal_components_are_the_directions_of_most_variance():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 4)) * [1, 5, 2, 0.1] + 7
    points, shares = principal(x)
    values, axes = np.linalg.eigh(np.cov(x.T))
    assert np.allclose(shares, values[::-1][:2] / values.sum())
    assert np.allclose(np.abs(points), np.abs((x - x.mean(0)) @ axes[:, ::-1][:, :2]))
    assert np.allclose(principal(x[:, ::-1])[0][:, 0], points[:, 0])
    assert points[x[:, 1].argmax(), 0] > 0
    assert principal(np.ones((1, 3)))[0].tolist() == [[0, 0]]
    assert principal(np.arange(3.0)[:, None])[1].tolist() == [1, 0]


def test_a_projection_has_a_dot_and_where_there_is_room_a_name_for_each_vector(tmp_path):
    vectors = minigrad.tensor([[0.0, 0, 0], [4, 0, 0], [0, 1, 0], [0, 1, 0.001]])
    root = drawn(projection(vectors, ["first", "second", "third", "fourth & last"], tmp_path / "p.svg"))
    dots = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter(NAMESPACE + "circle")]
    assert {"first", "second", "third", "fourth & last"} <= set(texts(root)) and len(dots) == 4
    far, near = np.hypot(*np.subtract(dots[0], dots[1])), np.hypot(*np.subtract(dots[0], dots[2]))
    assert far / near == pytest.approx(4, rel=0.01)  # one scale for both directions
    crowd = drawn(
        projection(
            np.random.default_rng(0).standard_normal((400, 5)), ["a long name"] * 400, tmp_path / "q.svg"
        )
    )
    assert len(list(crowd.iter(NAMESPACE + "circle"))) == 400 and 10 < texts(crowd).count("a long name") < 400


def test_groups_are_told_apart_by_hue_and_shape_and_are_named(tmp_path):
    root = drawn(projection(np.eye(4), list("abcd"), tmp_path / "p.svg", groups=["x", "y", "x", "y"]))
    assert len(list(root.iter(NAMESPACE + "circle"))) == 3 and len(of_colour(root, "rect", VERMILION)) == 3
    assert {"x", "y"} <= set(texts(root))


def test_a_projection_holds_for_one_vector_and_refuses_what_it_cannot_draw(tmp_path):
    assert "one" in texts(drawn(projection([[1.0, 2]], ["one"], tmp_path / "p.svg")))
    with pytest.raises(ValueError, match="expected 2 names, one a vector, got 1"):
        projection(np.eye(2), ["a"], tmp_path / "p.svg")
    with pytest.raises(ValueError, match="expected 2 groups, one a vector, got 1"):
        projection(np.eye(2), ["a", "b"], tmp_path / "p.svg", groups=["x"])
    with pytest.raises(ValueError, match="expected finite vectors"):
        projection([[math.nan, 1]], ["a"], tmp_path / "p.svg")


def test_pictures_of_text_can_be_png(tmp_path):
    pytest.importorskip("matplotlib")
    for path in (
        attention(np.full((1, 1, 2, 2), 0.5), ["$a", "b"], tmp_path / "a.png"),
        projection(np.eye(3), ["$a", "b", "c"], tmp_path / "p.png"),
    ):
        assert path.read_bytes()[:4] == b"\x89PNG"
