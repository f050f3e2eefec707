"""Grad modes: as contexts, decorators, switches and around generators; inference tensors; anomaly detection."""

import asyncio
import contextvars
import threading

import pytest

import minigrad
from minigrad import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from minigrad.autograd import capture, detect_anomaly, grad, is_anomaly_enabled, set_detect_anomaly


def leaf(*values):
    return minigrad.tensor(values, dtype=minigrad.float64, requires_grad=True)


# ---- grad modes ------------------------------------------------------------------------------------------


def test_modes_nest_and_end_with_their_block_even_after_an_exception():
    assert is_grad_enabled()
    with no_grad():
        assert not (leaf(1.0) * 2).requires_grad
        with enable_grad():
            assert (leaf(1.0) * 2).requires_grad
        with pytest.raises(ZeroDivisionError), enable_grad():
            raise ZeroDivisionError
        assert not is_grad_enabled()
    assert is_grad_enabled()


def test_one_mode_object_may_be_entered_again_and_within_itself():
    mode = no_grad()
    with mode, enable_grad(), mode:
        assert not is_grad_enabled()
    assert is_grad_enabled()


@pytest.mark.parametrize(
    "mode",
    [lambda: no_grad, no_grad, lambda: inference_mode, inference_mode, lambda: set_grad_enabled(False)],
)
def test_modes_decorate_functions_with_and_without_parentheses(mode):
    @mode()
    def double(x):
        """Twice x."""
        return x * 2, is_grad_enabled()

    assert is_grad_enabled()
    y, on = double(leaf(1.0))
    assert not y.requires_grad and not on and is_grad_enabled()
    assert double.__name__ == "double" and double.__doc__ == "Twice x."


def test_a_decorated_function_may_call_itself():
    @no_grad()
    def count(n):
        assert not is_grad_enabled()
        return n and 1 + count(n - 1)

    assert count(5) == 5 and is_grad_enabled()


def test_a_switch_holds_at_once_or_for_a_block():
    set_grad_enabled(False)
    assert not is_grad_enabled()
    set_grad_enabled(True)
    with set_grad_enabled(False):
        assert not is_grad_enabled()
    assert is_grad_enabled()
    with no_grad():
        set_grad_enabled(True)
        assert is_grad_enabled()
    assert is_grad_enabled()


def test_a_switch_may_be_entered_a_second_time():
    mode = set_grad_enabled(False)
    for _ in range(2):
        with mode:
            assert not is_grad_enabled()
        assert is_grad_enabled()


def test_a_decorated_generator_has_the_mode_while_it_runs_and_its_user_does_not():
    log = []

    @no_grad()
    def steps():
        received = None
        try:
            while True:
                assert not is_grad_enabled()
                try:
                    received = yield received
                except KeyError:
                    received = "caught"
        finally:
            log.append(is_grad_enabled())

    it = steps()
    assert next(it) is None and is_grad_enabled()
    assert it.send(3) == 3 and is_grad_enabled()
    assert it.throw(KeyError) == "caught" and is_grad_enabled()
    it.close()
    assert log == [False] and is_grad_enabled()


def test_a_decorated_generator_returns_and_raises_as_it_would():
    @enable_grad
    def three():
        yield from range(3)
        return "end"

    def around():
        return (yield from three())

    it = around()
    assert list(it) == [0, 1, 2]
    with pytest.raises(StopIteration, match="end"):
        it = around()
        for _ in range(4):
            next(it)

    @no_grad()
    def broken():
        yield 1
        raise ValueError("broken")

    it = broken()
    next(it)
    with pytest.raises(ValueError, match="broken"):
        next(it)
    assert is_grad_enabled()


def test_threads_begin_with_grad_on_and_don_t_see_each_others_modes():
    seen = []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append(is_grad_enabled()))
        thread.start()
        thread.join()
        assert contextvars.copy_context().run(is_grad_enabled) is False
    assert seen == [True]


def test_tasks_don_t_see_each_others_modes():
    async def with_mode():
        with no_grad():
            await asyncio.sleep(0)
            return is_grad_enabled()

    async def without():
        await asyncio.sleep(0)
        return is_grad_enabled()

    async def both():
        return await asyncio.gather(with_mode(), without(), with_mode())

    assert asyncio.run(both()) == [False, True, False]


def test_a_leaf_that_requires_grad_is_written_in_place_only_in_no_grad():
    x = leaf(1.0, 2.0)
    for write in (lambda: x.mul_(2), lambda: x.__setitem__(0, 5), lambda: x.add_(1), lambda: x.zero_()):
        with pytest.raises(RuntimeError, match=r"leaf Variable that requires grad .*minigrad.no_grad"):
            write()
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
        x[:1].mul_(2)
    assert x.tolist() == [1.0, 2.0]
    with no_grad():
        x.mul_(2)
        x[0] = 5
    assert x.tolist() == [5.0, 4.0] and x.is_leaf and x.requires_grad


# ---- inference -------------------------------------------------------------------------------------------


def test_what_is_made_in_inference_mode_is_marked_for_good():
    x = leaf(1.0)
    with inference_mode():
        assert is_inference_mode_enabled() and not is_grad_enabled()
        y, made = x * 2, minigrad.ones(2)
        assert not (x * 2).requires_grad
    for t in (y, made, made.view(2, 1), made[0], made.detach()):
        assert t.is_inference() and not t.requires_grad
    assert not y.clone().is_inference() and not (y + 1).is_inference()
    assert not is_inference_mode_enabled() and is_grad_enabled()


def test_a_view_of_a_normal_tensor_stays_normal_in_inference_mode():
    x = minigrad.ones(3)
    with inference_mode():
        v = x[:2]
        x.add_(1)
    assert not v.is_inference() and v.tolist() == [2.0, 2.0]


def test_an_inference_tensor_can_be_read_but_never_saved_written_or_tracked():
    with inference_mode():
        y = minigrad.ones(2, dtype=minigrad.float64)
        y.mul_(1)
    x = leaf(1.0, 2.0)
    assert (x + y).requires_grad  # reads no value
    with pytest.raises(RuntimeError, match="mul: Inference tensors cannot be saved for backward"):
        x * y
    with pytest.raises(RuntimeError, match="mul_: Inplace update to inference tensor outside InferenceMode"):
        y.mul_(2)
    with pytest.raises(RuntimeError, match="Setting requires_grad=True on inference tensor"):
        y.requires_grad_()
    (x * y.clone()).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_enable_grad_records_nothing_inside_inference_mode_and_inference_mode_off_does():
    x = leaf(1.0)
    with inference_mode():
        with enable_grad():
            assert is_grad_enabled() and not (x * 2).requires_grad
        with inference_mode(False):
            assert is_grad_enabled() and (x * 2).requires_grad and not (x * 2).is_inference()
    with no_grad(), inference_mode(mode=False):
        assert is_grad_enabled()  # as in PyTorch


# ---- anomalies -------------------------------------------------------------------------------------------


def test_an_anomaly_names_the_op_and_where_it_was_called():
    x = leaf(0.0)
    with detect_anomaly():
        assert is_anomaly_enabled()
        y = (x * 0).sqrt()  # the line to be named
        with pytest.raises(
            RuntimeError, match=r"Function 'MulBackward0' returned nan values in its 0th output"
        ) as e:
            y.backward()
    assert "the line to be named" in str(e.value) and "mul by its input 0" in str(e.value)
    assert not is_anomaly_enabled()


def test_an_anomaly_in_a_graph_recorded_before_says_how_to_find_it():
    y = (leaf(0.0) * 0).sqrt()
    with detect_anomaly(), pytest.raises(RuntimeError, match="Run forward under detect_anomaly"):
        y.backward()


def test_an_anomaly_is_found_when_gradients_are_recorded_too():
    x = leaf(0.0)
    with detect_anomaly(), pytest.raises(RuntimeError, match="nan values"):
        grad((x * 0).sqrt(), x, create_graph=True)


def test_an_error_in_backward_is_noted_with_the_call_that_recorded_it():
    with detect_anomaly():
        y = leaf(1.0) * 1
        z = y.exp()
        z.mul_(2)
    with pytest.raises(RuntimeError, match="exp: one of the variables") as e:
        z.backward()
    assert "test_an_error_in_backward" in str(e.value) + "".join(e.value.__notes__)


def test_the_anomaly_switch_and_its_check_can_be_off():
    set_detect_anomaly(True)
    assert is_anomaly_enabled()
    set_detect_anomaly(False)
    with set_detect_anomaly(True):
        assert is_anomaly_enabled()
    with detect_anomaly(check_nan=False):
        y = (leaf(0.0) * 0).sqrt()
        y.backward()
    assert "test_modes" in y.grad_fn.trace
    assert not is_anomaly_enabled()


# ---- capture ---------------------------------------------------------------------------------------------


def test_capture_ends_with_its_block():
    with capture() as tape:
        minigrad.ones(2) + 1
    n = len(tape.calls)
    minigrad.ones(2) + 1
    assert n == len(tape.calls) > 0
