"""torch's rooms around tensors: devices, cuda, backends, amp, types by dtype, linalg, testing, special, jit."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

import minigrad
from minigrad import amp, backend, backends, cuda, linalg, nn, optim
from minigrad.testing import assert_close

# ---- devices ---------------------------------------------------------------------------------------------


class Foreign(np.ndarray):
    """Arrays of a device of their own."""


class Runtime:
    """CuPy's ``cuda`` and memory pool, recording what they are told."""

    def __init__(self):
        self.calls, self.number = [], 0
        names = [{"name": b"first"}, {"name": b"second"}]
        self.runtime = SimpleNamespace(
            getDeviceCount=lambda: 2, getDevice=lambda: self.number, getDeviceProperties=names.__getitem__
        )

    def Device(self, number):
        def use():
            self.number = number

        return SimpleNamespace(use=use, synchronize=lambda: self.calls.append(("synchronize", number)))

    def pool(self):
        return SimpleNamespace(used_bytes=lambda: 12, total_bytes=lambda: 34,
                               free_all_blocks=lambda: self.calls.append("free"))  # fmt: skip


class Numbers:
    """NumPy's functions giving Foreign arrays."""

    __name__ = "numbers"

    def __getattr__(self, name):
        found = getattr(np, name)
        if not callable(found) or isinstance(found, type):
            return found

        def call(*args, **kwargs):
            result = found(*args, **kwargs)
            return result.view(Foreign) if isinstance(result, np.ndarray) else result

        return call


@pytest.fixture
def gpu(monkeypatch):
    """An array module registered as "cuda", without CUDA's own interface."""
    monkeypatch.setattr(backend, "MODULES", dict(backend.MODULES))
    monkeypatch.setattr(backend, "BY_TYPE", dict(backend.BY_TYPE))
    m = Numbers()
    backend.register_array_module(
        "cuda", m, Foreign, from_numpy=lambda a: a.view(Foreign), to_numpy=np.asarray
    )
    return m


def test_a_device_reads_every_form_of_torch():
    assert minigrad.device("cuda:1") == minigrad.device("cuda", 1) == minigrad.device(1)
    assert minigrad.device(minigrad.device("cpu")) == minigrad.device(type="cpu")
    assert (
        str(minigrad.device("cuda", 1)) == "cuda:1" and repr(minigrad.device("cpu")) == "device(type='cpu')"
    )
    for wrong in ("gpu", "cuda:x", ("cuda:0", 1), ("cuda", -1)):
        with pytest.raises(RuntimeError, match="device:"):
            minigrad.device(*(wrong if isinstance(wrong, tuple) else (wrong,)))
    with pytest.raises(TypeError, match="must be str"):
        minigrad.device(None)


def test_new_tensors_are_made_on_the_default_device(gpu):
    with minigrad.device("cuda"):
        made = [minigrad.ones(2), minigrad.tensor([1.0]), minigrad.as_tensor(np.ones(2)), minigrad.randn(2),
                minigrad.Tensor([1.0]), minigrad.arange(3)]  # fmt: skip
        assert {t.device.type for t in made} == {"cuda"} and minigrad.from_numpy(
            np.ones(1)
        ).device.type == "cpu"
        with minigrad.device("cpu"):
            assert minigrad.ones(2).device.type == "cpu"
        assert minigrad.get_default_device().type == "cuda"
    assert minigrad.ones(2).device.type == "cpu"

    @minigrad.device("cuda")
    def make():
        return minigrad.zeros(2)

    assert make().device.type == "cuda"
    minigrad.set_default_device("cuda:0")
    try:
        assert minigrad.ones(1).is_cuda and minigrad.get_default_device() == minigrad.device("cuda:0")
    finally:
        minigrad.set_default_device(None)
    assert minigrad.get_default_device() == minigrad.device("cpu")


def test_a_device_that_is_not_there_is_refused():
    with minigrad.device("cuda"), pytest.raises(RuntimeError, match="not available"):
        minigrad.ones(2)
    with pytest.raises(RuntimeError, match="not available"):
        minigrad.set_default_device("mps")
    for move in (
        lambda t: t.cuda(),
        lambda t: t.to(0),
        lambda t: t.to("cuda:0"),
        lambda t: t.to(device="mps"),
    ):
        with pytest.raises(RuntimeError, match="not available"):
            move(minigrad.ones(1))


# ---- cuda ------------------------------------------------------------------------------------------------


def test_without_cuda_questions_are_answered_and_the_rest_refused():
    assert not cuda.is_available() and not cuda.is_initialized() and cuda.device_count() == 0
    cuda.manual_seed(1), cuda.manual_seed_all(1), cuda.seed(), cuda.seed_all(), cuda.empty_cache()
    cuda.reset_peak_memory_stats()
    assert cuda.memory_allocated() == cuda.memory_reserved() == cuda.max_memory_allocated() == 0
    assert cuda.max_memory_reserved() == 0 and not cuda.is_bf16_supported()
    with cuda.device(0):
        pass
    for ask in (
        cuda.init,
        cuda.current_device,
        cuda.synchronize,
        cuda.get_device_name,
        lambda: cuda.set_device(0),
    ):
        with pytest.raises(RuntimeError, match="no array module is registered as 'cuda'"):
            ask()
    with pytest.raises(AttributeError, match="nothing"):
        _ = cuda.nothing


def test_seeding_without_cuda_leaves_the_cpu_alone():
    before = minigrad.get_rng_state()
    cuda.manual_seed_all(7)
    assert minigrad.equal(before, minigrad.get_rng_state())


def test_with_an_array_module_cuda_is_there(gpu):
    assert cuda.is_available() and cuda.device_count() == 1 and cuda.current_device() == 0
    assert cuda.get_device_name() == "numbers" and backends.cuda.is_built()
    cuda.init(), cuda.synchronize(), cuda.set_device(0), cuda.empty_cache()
    assert cuda.memory_allocated() == 0
    with pytest.raises(NotImplementedError, match="records no peak"):
        cuda.max_memory_allocated()
    with pytest.raises(RuntimeError, match="invalid device ordinal 3"):
        cuda.set_device(3)
    with pytest.raises(ValueError, match="Expected a cuda device"):
        cuda.synchronize("cpu")
    cuda.manual_seed(5)
    a = minigrad.rand(2)
    cuda.manual_seed(5)
    assert minigrad.equal(a, minigrad.rand(2))
    cuda.seed()
    assert isinstance(minigrad.ones(1).to("cuda"), cuda.FloatTensor) and not isinstance(a, cuda.FloatTensor)
    assert minigrad.ones(1).type("minigrad.cuda.LongTensor").device.type == "cuda"


def test_cuda_asks_the_module_that_has_its_interface(gpu):
    gpu.cuda = Runtime()
    gpu.get_default_memory_pool = gpu.cuda.pool
    assert cuda.device_count() == 2 and cuda.get_device_name(1) == "second"
    with cuda.device(1):
        assert cuda.current_device() == 1
    assert cuda.current_device() == 0
    cuda.synchronize("cuda:1"), cuda.synchronize(), cuda.empty_cache()
    assert gpu.cuda.calls == [("synchronize", 1), ("synchronize", 0), "free"]
    assert (cuda.memory_allocated(), cuda.memory_reserved()) == (12, 34)


def test_backends_keep_what_they_are_told():
    assert (
        not backends.mps.is_available() and not backends.mps.is_built() and not backends.cudnn.is_available()
    )
    assert backends.cudnn.version() is None and backends.cuda.matmul.allow_tf32 is False
    with backends.cudnn.flags(enabled=True, benchmark=True):
        assert backends.cudnn.benchmark
    assert not backends.cudnn.benchmark
    minigrad.use_deterministic_algorithms(True)
    assert minigrad.are_deterministic_algorithms_enabled()
    minigrad.use_deterministic_algorithms(False)
    minigrad.set_float32_matmul_precision("high")
    assert minigrad.get_float32_matmul_precision() == "high"
    minigrad.set_float32_matmul_precision("highest")
    with pytest.raises(ValueError, match="expected 'highest'"):
        minigrad.set_float32_matmul_precision("low")


# ---- amp -------------------------------------------------------------------------------------------------


def test_autocast_is_taken_where_it_casts_nothing():
    with amp.autocast("cpu", enabled=False):
        assert minigrad.ones(2).dtype is minigrad.float32
    assert amp.autocast("cpu", enabled=False)(lambda: 3)() == 3
    with pytest.warns(UserWarning, match="'cuda' is not available"), cuda.amp.autocast():
        pass
    with pytest.raises(NotImplementedError, match="expected enabled=False"):
        amp.autocast("cpu", dtype=minigrad.bfloat16)
    assert not amp.is_autocast_available("cpu")


def test_a_disabled_scaler_only_steps():
    with pytest.warns(UserWarning, match="not available"):
        scaler = cuda.amp.GradScaler()
    p = minigrad.ones(1, requires_grad=True)
    sgd = optim.SGD([p], lr=1.0)
    loss = (p * 2).sum()
    assert scaler.scale(loss) is loss and not scaler.is_enabled() and scaler.get_scale() == 1
    loss.backward()
    scaler.unscale_(sgd), scaler.step(sgd), scaler.update(), scaler.load_state_dict({})
    assert p.item() == -1 and scaler.state_dict() == {}


def test_the_scaler_leaves_out_steps_that_overflow_and_grows_again():
    p = minigrad.tensor([1.0], requires_grad=True)
    sgd = optim.SGD([p], lr=0.5)
    scaler = amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
    scales = []
    for factor in (1.0, math.inf, 1.0, 1.0):
        sgd.zero_grad()
        for part in scaler.scale([(p * factor).sum()]):
            part.backward()
        before = p.item()
        scaler.unscale_(sgd)
        scaler.step(sgd)
        scaler.update()
        assert p.item() == (before if factor == math.inf else before - 0.5)
        scales.append(scaler.get_scale())
    assert scales == [8.0, 4.0, 4.0, 8.0]
    fresh = amp.GradScaler("cpu")
    fresh.load_state_dict(scaler.state_dict())
    assert fresh.get_scale() == 8.0 and fresh.get_growth_interval() == 2
    fresh.update(3.0)
    assert fresh.get_scale() == 3.0
    for name, value in (("growth_factor", 3.0), ("backoff_factor", 0.25), ("growth_interval", 7)):
        getattr(fresh, f"set_{name}")(value)
        assert getattr(fresh, f"get_{name}")() == value


def test_the_scaler_refuses_to_be_misused():
    p = minigrad.ones(1, requires_grad=True)
    sgd = optim.SGD([p], lr=1.0)
    scaler = amp.GradScaler("cpu")
    with pytest.raises(RuntimeError, match="No inf checks"):
        scaler.update()
    with pytest.raises(ValueError, match="must be a Tensor"):
        scaler.scale(3)
    scaler.scale(p.sum()).backward()
    scaler.unscale_(sgd)
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.unscale_(sgd)
    scaler.step(sgd)
    with pytest.raises(RuntimeError, match=r"step\(\) has already been called"):
        scaler.step(sgd)
    with pytest.raises(RuntimeError, match="closure"):
        scaler.step(sgd, closure=lambda: 0)
    with pytest.raises(RuntimeError, match="empty"):
        scaler.load_state_dict({})
    for wrong in ({"growth_factor": 1.0}, {"backoff_factor": 1.0}):
        with pytest.raises(ValueError, match="must be"):
            amp.GradScaler("cpu", **wrong)


# ---- types -----------------------------------------------------------------------------------------------


def test_types_by_dtype_make_and_recognise_tensors():
    assert minigrad.LongTensor([1, 2]).dtype is minigrad.int64 and minigrad.FloatTensor(2, 3).shape == (2, 3)
    assert minigrad.FloatTensor(minigrad.Size([2])).shape == (2,) and minigrad.FloatTensor().shape == (0,)
    x = minigrad.ones(1)
    assert isinstance(x, minigrad.FloatTensor) and not isinstance(x, minigrad.LongTensor)
    assert minigrad.FloatTensor(x).data_ptr() == x.data_ptr() and minigrad.LongTensor.dtype is minigrad.int64
    assert repr(minigrad.HalfTensor) == "<class 'minigrad.HalfTensor'>"
    with pytest.raises(TypeError, match="convert it with"):
        minigrad.FloatTensor(minigrad.ones(1, dtype=minigrad.int64))
    with pytest.raises(TypeError, match="must be a sequence"):
        minigrad.FloatTensor(1.5)
    with pytest.raises(AttributeError, match="ComplexTensor"):
        _ = minigrad.typed.ComplexTensor


def test_type_takes_and_gives_names():
    x = minigrad.ones(1).type("torch.DoubleTensor")
    assert x.type() == "minigrad.DoubleTensor" == minigrad.typename(x) and minigrad.typename(3) == "int"
    assert minigrad.typename(nn.Linear(1, 1)) == "minigrad.nn.linear.Linear"
    assert (
        x.type(minigrad.IntTensor).dtype is minigrad.int32
        and x.type("torch.Tensor").dtype is minigrad.float32
    )
    assert x.new([1, 2]).dtype is minigrad.float64 and x.new(2, 3).shape == (2, 3)
    with pytest.raises(ValueError, match="invalid type"):
        x.type("torch.FooTensor")
    minigrad.set_default_tensor_type("torch.DoubleTensor")
    try:
        assert minigrad.ones(1).dtype is minigrad.float64
    finally:
        minigrad.set_default_tensor_type(minigrad.FloatTensor)


# ---- linalg ----------------------------------------------------------------------------------------------


def test_what_needs_a_factorization_is_refused():
    eye = minigrad.eye(2)
    for call in (
        lambda: linalg.matrix_norm(eye, "nuc"),
        lambda: linalg.norm(eye, 2),
        lambda: linalg.matrix_power(eye, -1),
    ):
        with pytest.raises(NotImplementedError, match="supported"):
            call()


def test_linalg_says_what_it_expected():
    eye = minigrad.eye(2)
    for call, words in (
        (lambda: linalg.matrix_norm(eye, 7), "isn't an order"),
        (lambda: linalg.matrix_norm(eye[0]), "at least 2 dimensions"),
        (lambda: linalg.matrix_norm(eye, dim=(0,)), "2-tuple"),
        (lambda: linalg.matrix_norm(eye, dim=(0, -2)), "must be different"),
        (lambda: linalg.norm(eye[None], 1), "must be 1D or 2D"),
        (lambda: linalg.vector_norm(eye.long()), "floating point"),
        (lambda: linalg.matrix_power(eye[0], 2), "square"),
        (lambda: linalg.multi_dot([eye]), "at least 2"),
        (lambda: linalg.multi_dot([eye, eye[None], eye]), "expected matrices"),
    ):
        with pytest.raises(RuntimeError, match=words):
            call()


def test_gradients_flow_through_norms_and_chains():
    x = minigrad.arange(6.0).view(2, 3).double().requires_grad_()
    assert minigrad.gradcheck(lambda t: linalg.norm(t * t - 2.2, 1), (x,))
    assert minigrad.gradcheck(lambda t: linalg.multi_dot([t[0], t.T, t, t[1]]), (x,))
    assert minigrad.gradcheck(lambda t: linalg.matrix_power(t[:, :2], 3), (x,))
    assert linalg.matmul(x, x.T).shape == (2, 2) and linalg.matrix_power(x[:, :2], 1) is not x


# ---- testing, special, jit -------------------------------------------------------------------------------


def test_assert_close_says_where_and_by_how_much():
    a = minigrad.zeros(2, 3)
    b = a.clone()
    b[1, 2] = 0.5
    with pytest.raises(
        AssertionError, match=r"1 / 6 \(16.7%\)\nGreatest absolute difference: 0.5 at index \(1, 2\)"
    ):
        assert_close(a, b)
    with pytest.raises(AssertionError, match=r"\['k'\]\[0\] are not equal"):
        assert_close({"k": [1]}, {"k": [2]})
    with pytest.raises(AssertionError, match=r"^mine$"):
        assert_close(1.0, 2.0, msg="mine")
    with pytest.raises(AssertionError, match="stride"):
        assert_close(b, b.T.contiguous().T, check_stride=True)
    with pytest.raises(AssertionError, match="types do not match"):
        assert_close(nn.Parameter(a), a, allow_subclasses=False)
    assert_close(a, b, rtol=0, atol=1)


def test_a_moved_tensor_is_not_close(gpu):
    with pytest.raises(AssertionError, match="'device'"):
        assert_close(minigrad.ones(1), minigrad.ones(1).to("cuda"))
    assert_close(minigrad.ones(1), minigrad.ones(1).to("cuda"), check_device=False)


def test_names_of_other_rooms_lead_somewhere():
    assert minigrad.special.expit is minigrad.sigmoid and minigrad.special.logit is minigrad.logit
    with pytest.raises(AttributeError):
        _ = minigrad.special.airy
    assert minigrad.version.cuda is None and minigrad.version.__version__ == minigrad.__version__
    assert not minigrad.jit.is_scripting() and not minigrad.jit.is_tracing()
    assert minigrad.jit.script(len) is minigrad.jit.export(len) is minigrad.jit.unused(len) is len
    assert minigrad.jit.ignore(drop=True)(len) is len
    assert not minigrad.distributed.is_available() and not minigrad.distributed.is_initialized()
    assert minigrad.types.Number
    with pytest.raises(AttributeError, match="complex numbers are not supported yet"):
        _ = minigrad.complex64
