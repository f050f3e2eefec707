"""minigrad.draw: what the picture says of a graph, and that any graph can be drawn."""

import gc
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad
from minigrad.pictures.layered import layers_of, place

NAMESPACE = "{http://www.w3.org/2000/svg}"


def root_of(drawing):
    return ET.fromstring(str(drawing))


def texts(drawing):
    return [t.text for t in root_of(drawing).iter(NAMESPACE + "text")]


def parameter(*shape):
    return minigrad.tensor(np.ones(shape, np.float32), requires_grad=True)


def test_ops_are_named_with_their_attributes_and_shapes_and_leaves_with_their_names():
    w = parameter(2, 3)
    seen = texts(minigrad.draw((w * 2).sum(dim=1), params={"layer.weight": w}))
    assert {"layer.weight", "float32 (2, 3)", "mul", "(2, 3)", "sum", "dim=1", "(2,)", "output"} <= set(seen)


def test_data_without_gradient_is_drawn_and_named_by_identity_or_by_its_place():
    w, x = parameter(3), minigrad.tensor([1.0, 2.0, 3.0])
    drawing = minigrad.draw(w * x, params=[("w", w), ("inputs", x)])
    assert {"w", "inputs", "data without gradient"} <= set(texts(drawing))
    assert {"leaf", "y"} <= set(texts(minigrad.draw(w * x)))


def test_a_scalar_shows_its_value_and_several_outputs_are_numbered():
    a = parameter(2)
    b = a * 3
    seen = texts(minigrad.draw([b.sum(), b]))
    assert {"output 0", "output 1", "6"} <= set(seen)
    assert seen.count("mul") == 1


def test_every_use_of_a_leaf_is_an_arrow():
    a = parameter(2)
    arrows = list(root_of(minigrad.draw(a * a)).iter(NAMESPACE + "polygon"))
    assert len(arrows) == 3  # two into mul, one into the output


def test_names_come_from_a_module_too():
    model = minigrad.nn.Linear(3, 2)
    seen = texts(minigrad.draw(model(minigrad.ones(4, 3)), params=model))
    assert {"weight", "bias", "linear"} <= set(seen)


def test_a_leaf_alone_and_a_tensor_without_history_can_be_drawn():
    assert "output" in texts(minigrad.draw(parameter(2)))
    assert "float32 (3,)" in texts(minigrad.draw(minigrad.ones(3)))


def test_ops_with_several_outputs_and_many_inputs_are_drawn():
    a = parameter(4, 3)
    values, _ = a.sort(dim=0)
    seen = texts(minigrad.draw(minigrad.cat([values, a, a * 2], dim=1)))
    assert {"sort", "cat", "(4, 9)"} <= set(seen)


def test_custom_functions_views_and_written_tensors_are_drawn():
    class Double(minigrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    base = parameter(3) * 1
    view = base[1:]
    view.mul_(5)
    assert "Double" in " ".join(texts(minigrad.draw(Double.apply(base))))


def test_text_is_escaped_and_cut():
    w = parameter(1)
    drawing = minigrad.draw(w * 1, params={"<evil>&\x00" + "long" * 40: w})
    name = next(t for t in texts(drawing) if t.startswith("<evil>"))
    assert name.endswith("…") and "\x00" not in name


def test_the_file_is_written_whole_and_the_text_returned_shows_itself_in_a_notebook(tmp_path):
    drawing = minigrad.draw(parameter(1) * 2, tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_text() == drawing == drawing._repr_svg_()
    assert [p.name for p in tmp_path.iterdir()] == ["graph.svg"]


def test_drawing_touches_neither_graph_nor_gradients_and_keeps_nothing():
    a = parameter(3)
    loss = (a * a).sum()
    gc.collect()
    gc.disable()
    try:
        minigrad.draw(loss)
        assert a.grad is None
        loss.backward()
        assert a.grad.tolist() == [2, 2, 2]
        minigrad.draw(loss)  # freed by now: names and shapes remain
    finally:
        gc.enable()


def test_of_a_large_graph_the_nearest_are_drawn_and_the_rest_is_counted():
    x = parameter(2)
    y = x
    for _ in range(20_000):
        y = y + 1
    drawing = minigrad.draw(y, max_nodes=10)
    seen = texts(drawing)
    assert seen.count("add") == 10 and "…" in seen
    assert any(
        t.startswith("20,000 operations: the 10 nearest to the end are drawn, 19,990 before them")
        for t in seen
    )
    assert "leaf" not in seen


def test_a_leaf_used_far_below_is_drawn_again_dashed():
    w = parameter(2, 2)
    h = minigrad.ones(2, 2)
    for _ in range(6):
        h = (h @ w).tanh()
    drawing = minigrad.draw(h, params={"w": w})
    seen = texts(drawing)
    assert seen.count("w") == 6 and "A dashed box stands for one that is drawn farther up" in seen
    assert sum(1 for r in root_of(drawing).iter(NAMESPACE + "rect") if r.get("stroke-dasharray")) == 5


@pytest.mark.parametrize("call, error, words", [
    (lambda: minigrad.draw(3), TypeError, "draw: expected a tensor or several, got int 3"),
    (lambda: minigrad.draw([]), TypeError, "draw: expected a tensor or several, got list []"),
    (lambda: minigrad.draw(parameter(1), "a.png"), ValueError, "give a path that ends in .svg"),
    (lambda: minigrad.draw(parameter(1), params=[3]), TypeError, "pairs of them, got int 3"),
    (lambda: minigrad.draw(parameter(1), max_nodes=0), ValueError, "max_nodes is at least 1, got 0"),
])  # fmt: skip
def test_bad_calls_are_refused_with_what_came(call, error, words):
    with pytest.raises(error) as e:
        call()
    assert words in str(e.value)


@st.composite
def graphs(draw):
    n = draw(st.integers(1, 25))
    edges = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=50))
    sizes = draw(st.lists(st.tuples(st.floats(10, 200), st.floats(10, 60)), min_size=n, max_size=n))
    return sizes, [(min(e), max(e), 0.5) for e in edges if e[0] != e[1]]


@given(graphs())
def test_in_any_layout_edges_lead_down_and_boxes_do_not_touch(graph):
    sizes, edges = graph
    layer = layers_of(len(sizes), [e[:2] for e in edges])
    assert all(layer[a] < layer[b] for a, b, _ in edges)
    found = place(sizes, edges, layer)
    for i, (w, h) in enumerate(sizes):
        assert found.x[i] - w / 2 >= -1e-6 and found.x[i] + w / 2 <= found.width + 1e-6
        assert found.y[i] - h / 2 >= -1e-6 and found.y[i] + h / 2 <= found.height + 1e-6
        for j in range(i):
            beside = abs(found.x[i] - found.x[j]) >= (w + sizes[j][0]) / 2 + 10
            under = abs(found.y[i] - found.y[j]) >= (h + sizes[j][1]) / 2 + 10
            assert beside or under
    for (a, b, _), bends in zip(edges, found.bends, strict=True):
        heights = [found.y[a], *(v for _, v in bends), found.y[b]]
        assert heights == sorted(heights) and len(bends) == layer[b] - layer[a] - 1


def test_a_graph_that_can_be_drawn_without_crossings_is():
    # two chains that begin crossed in the order of their boxes
    edges = [(0, 3, 0.5), (1, 2, 0.5), (2, 4, 0.2), (3, 4, 0.8)]
    found = place([(20.0, 20.0)] * 5, edges, layers_of(5, [e[:2] for e in edges]))
    assert found.x[2] < found.x[3] and found.x[1] < found.x[0]
