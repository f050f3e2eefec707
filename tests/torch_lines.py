"""Lines of torch code, each a habit of its own. AGREE leaves what it found in ``r``; REFUSED raises a type of error.

They run with the word torch replaced, and where torch is installed as they stand: ``test_torch_swap.py``.
"""

AGREE = [
    """
    x = torch.arange(6.0).reshape(2, 3)
    r = [x.sum(), x.mean(0), x.max(), x.max(1).values, x.max(dim=1)[1], x.std(), x.var(0, unbiased=False)]
    """,
    """
    x = torch.zeros(3, 4)
    x[1:, ::2] = torch.ones(2, 2)
    x[0] = 5
    x[:, 3] = torch.tensor([1.0, 2, 3])
    r = x
    """,
    """
    x = torch.zeros(3)
    x[1] = 2.5
    x[-1] += 1
    r = x
    """,
    """
    pe = torch.zeros(5, 4)
    pos = torch.arange(0, 5, dtype=torch.float).unsqueeze(1)
    div = torch.exp(torch.arange(0, 4, 2).float() * (-math.log(10000.0) / 4))
    pe[:, 0::2] = torch.sin(pos * div)
    pe[:, 1::2] = torch.cos(pos * div)
    r = pe
    """,
    """
    x = torch.tensor([1, 2, 3])
    r = [x / 2, x // 2, x * 1.5, x + True, x**2, x**0.5, 2**x, -x, x % 2, 7 % x, 1 / x, x.float().mean()]
    """,
    """
    x = torch.tensor([True, False])
    r = [x + x, x * 2, x.sum(), ~x, x & x, x | True, x.float()]
    """,
    """
    r = [
        torch.tensor(3).dtype,
        torch.tensor(3.0).dtype,
        torch.tensor(True).dtype,
        torch.tensor([1, 2.0]).dtype,
        torch.tensor(np.float64(3)).dtype,
        torch.tensor(np.array([1.0, 2])).dtype,
        torch.tensor([np.float32(1)]).dtype,
        torch.tensor([]).dtype,
    ]
    """,
    """
    r = [
        torch.tensor([np.float64(1.0), 2.0]),
        torch.tensor([1.0, np.float64(2)]),
        torch.tensor([torch.tensor(1.0), torch.tensor(2.0)]),
        torch.tensor([torch.tensor(1), 2.5]),
    ]
    """,
    """
    x = torch.ones(3, requires_grad=True)
    with torch.no_grad():
        x += 1
    r = x
    """,
    """
    x = torch.ones(3, requires_grad=True)
    y = (x * 2).sum()
    y.backward()
    x.data -= 0.1 * x.grad
    x.grad.zero_()
    r = [x, x.grad]
    """,
    """
    x = torch.randn(2, 3)
    r = [
        x.shape,
        x.size(),
        x.size(0),
        x.size(-1),
        list(x.shape),
        x.dim(),
        x.numel(),
        len(x),
        x.ndim,
        x.nelement(),
        x.stride(),
        str(x.shape),
        f"{x.shape}",
    ]
    """,
    """
    b, c = torch.randn(2, 3).shape
    r = [b, c]
    """,
    """
    x = torch.tensor(3.14159)
    r = [
        f"{x:.2f}",
        f"{x}",
        str(x),
        x.item(),
        f"{x.item():.3f}",
        "%.3f" % x,
        format(x, ".1f"),
        round(x.item(), 2),
        float(x),
        int(x),
    ]
    print(x, x.item())
    """,
    """
    x = torch.tensor([1.0, 2.0])
    print(f"loss {x}")
    print(x)
    print("%s" % x)
    r = f"{x!r}"
    """,
    """
    print(
        torch.zeros(0),
        torch.zeros(2, 0),
        torch.tensor(1),
        torch.tensor([1e-05, 1.0]),
        torch.tensor([10000000000.0, 1.0]),
        torch.tensor([float("nan"), float("inf")]),
        torch.arange(2000),
        torch.eye(3),
        torch.zeros(2, 2, 2),
    )
    """,
    """
    print(
        torch.float32,
        torch.long,
        torch.device("cpu"),
        torch.Size([1, 2]),
        torch.tensor([1]).type(),
        torch.tensor([1.0]).type(),
        torch.tensor([1.0]).dtype,
        torch.bool,
        torch.double,
        torch.half,
    )
    """,
    """
    x = torch.tensor([3, 1, 2])
    r = [
        x.sort(),
        x.argsort(),
        x.sort(descending=True)[0],
        torch.sort(x, dim=0, descending=True).indices,
        x.topk(2).indices,
        x.topk(2, largest=False).values,
    ]
    """,
    """
    x = torch.arange(12).view(3, 4)
    r = [
        x[1],
        x[1, 2],
        x[:, 1],
        x[..., 0],
        x[None].shape,
        x[:, None, :].shape,
        x[[0, 2]],
        x[[0, 2], [1, 3]],
        x[x > 5],
        x[torch.tensor([0, 1])],
        x[torch.tensor([[0, 1], [1, 2]])],
        x[:, torch.tensor([0, 2])],
        x[1:, [0, 1]],
        x[-1],
        x[::2],
    ]
    """,
    """
    x = torch.arange(12.0).view(3, 4)
    x[x > 5] = 0
    x[[0, 1], [1, 2]] = 9
    x[torch.tensor([2]), :2] = 7
    r = x
    """,
    """
    x = torch.arange(12.0).view(3, 4)
    m = torch.tensor([True, False, True])
    x[m] = -1
    x[~m, 1] = 4
    r = [x, x[m].shape]
    """,
    """
    x = torch.arange(12.0).view(3, 4)
    m = torch.tensor([True, False, True])
    x[m] *= 2
    x[:, 0] /= 2
    r = x
    """,
    """
    a = torch.zeros(2, 3)
    r = [
        a.view(-1).shape,
        a.view(3, -1).shape,
        a.reshape(-1, 2).shape,
        a.flatten().shape,
        a.unsqueeze(-1).shape,
        a.squeeze().shape,
        a.t().shape,
        a.T.shape,
        a.transpose(0, 1).shape,
        a.permute(1, 0).shape,
        a.permute((1, 0)).shape,
        a.expand(4, 2, 3).shape,
        a.expand(-1, -1).shape,
        a.repeat(2, 1).shape,
        a[None].expand(5, -1, -1).shape,
        a.contiguous().shape,
        a.view(a.size(0), -1).shape,
        a.view((3, 2)).shape,
        a.view(torch.Size([6])).shape,
    ]
    """,
    """
    a = torch.arange(4).repeat_interleave(2)
    r = [a, torch.repeat_interleave(torch.tensor([1, 2]), torch.tensor([2, 3])), torch.arange(4).repeat(2)]
    """,
    """
    r = [
        torch.cat([torch.zeros(1, 2), torch.ones(2, 2)]),
        torch.cat((torch.zeros(1, 2), torch.ones(1, 3)), dim=1),
        torch.cat((torch.zeros(1, 2), torch.ones(1, 3)), -1),
        torch.stack([torch.zeros(2), torch.ones(2)], dim=1),
        torch.cat([torch.tensor([1]), torch.tensor([1.5])]),
    ]
    """,
    """
    r = (
        [x.shape for x in torch.zeros(7, 3).chunk(3)]
        + [x.shape for x in torch.zeros(7, 3).split(2)]
        + [x.shape for x in torch.split(torch.zeros(7, 3), [3, 4])]
    )
    """,
    """
    q, k, v = torch.arange(12.0).view(2, 6).split(2, dim=-1)
    r = [q, k, v]
    """,
    """
    q, k, v = torch.arange(12.0).view(2, 6).chunk(3, dim=-1)
    r = [q, k, v, q.is_contiguous()]
    """,
    """
    a, b = torch.zeros(2, 3)
    r = [a, b]
    """,
    """
    for i, row in enumerate(torch.arange(4).view(2, 2)):
        print(i, row, row.tolist())
    """,
    """
    r = [int(torch.tensor(3)), range(torch.tensor(3)), [1, 2, 3][torch.tensor(1)], bool(torch.tensor(0.0))]
    """,
    """
    if torch.tensor([1.0]) > 0:
        r = 1
    """,
    """
    r = [
        torch.tensor(2) in torch.tensor([1, 2]),
        3 in torch.tensor([1, 2]),
        torch.equal(torch.ones(2), torch.ones(2)),
        torch.allclose(torch.ones(2), torch.ones(2) + 1e-09),
    ]
    """,
    """
    x = torch.ones(2, dtype=torch.float64)
    r = [
        x + 1,
        x.float(),
        x.to(torch.float32),
        x.to("cpu"),
        x.to(torch.device("cpu")),
        x.to("cpu", torch.float32),
        x.type(torch.FloatTensor),
        x.type("torch.LongTensor"),
        x.to(x.float()),
        x.type_as(torch.ones(1)),
    ]
    """,
    """
    r = [
        torch.FloatTensor([1, 2]),
        torch.LongTensor([1, 2]),
        torch.FloatTensor(2, 3).shape,
        torch.Tensor([1, 2]),
        torch.Tensor(2, 3).shape,
        torch.LongTensor([[1]]),
        torch.BoolTensor([True]),
        torch.DoubleTensor([1]),
        torch.IntTensor([1]),
        torch.ByteTensor([1]),
    ]
    """,
    """
    r = [
        isinstance(torch.ones(1), torch.Tensor),
        isinstance(torch.ones(1), torch.FloatTensor),
        isinstance(torch.ones(1).long(), torch.LongTensor),
        isinstance(torch.ones(1).long(), torch.FloatTensor),
        torch.is_tensor(3),
    ]
    """,
    """
    d = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    r = [
        d,
        d.type,
        d.index,
        torch.ones(1, device=d),
        torch.device("cpu") == d,
        str(d),
        torch.device("cuda:0").index,
        torch.device("cuda", 1),
    ]
    """,
    """
    d = torch.device(
        "cuda:0" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    )
    r = d
    """,
    """
    torch.manual_seed(0)
    torch.cuda.manual_seed(0)
    torch.cuda.manual_seed_all(0)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    r = torch.cuda.device_count()
    """,
    """
    torch.set_grad_enabled(False)
    x = torch.ones(1, requires_grad=True)
    y = x * 2
    torch.set_grad_enabled(True)
    r = [y.requires_grad, (x * 2).requires_grad]
    """,
    """
    with torch.set_grad_enabled(False):
        x = torch.ones(1, requires_grad=True) * 2
    r = [x.requires_grad, torch.is_grad_enabled()]
    """,
    """
    with torch.inference_mode():
        x = torch.ones(1, requires_grad=True) * 2
    r = [x.requires_grad, x.is_inference()]
    """,
    """
    @torch.no_grad()
    def f(x):
        return x * 2


    r = f(torch.ones(1, requires_grad=True)).requires_grad
    """,
    """
    x = torch.ones(2, requires_grad=True)
    r = [
        x.detach().numpy().tolist(),
        x.detach().cpu().numpy().tolist(),
        np.array(x.detach()).tolist(),
        x.tolist(),
    ]
    """,
    """
    x = np.ones(2)
    t = torch.from_numpy(x)
    x[0] = 5
    t[1] = 7
    r = [t, x.tolist()]
    """,
    """
    x = torch.ones(2)
    r = [
        np.sin(x.numpy()).tolist(),
        (x.numpy() + 1).tolist(),
        np.asarray(x).dtype.name,
        np.mean(x.numpy()).item(),
    ]
    """,
    """
    r = np.sin(torch.ones(2))
    """,
    """
    r = [
        torch.ones(2) * np.float32(2),
        np.float32(2) * torch.ones(2),
        torch.ones(2) + np.float64(2),
        np.float64(2) + torch.ones(2),
        torch.ones(2) * np.pi,
    ]
    """,
    """
    r = torch.ones(2) + np.ones(2)
    """,
    """
    r = [
        torch.where(torch.tensor([True, False]), 1.0, 0.0),
        torch.where(torch.tensor([True, False]), torch.tensor([1, 2]), 0),
        torch.where(torch.tensor([True, False]), torch.tensor([1, 2]), 0.5),
        torch.where(torch.tensor([1, 0]) > 0, 1, 0),
        torch.where(torch.tensor([1.0, 0]) > 0, torch.tensor(5.0), -float("inf")),
    ]
    """,
    """
    r = torch.where(torch.tensor([True, False, True]))
    """,
    """
    T = 4
    m = torch.tril(torch.ones(T, T)).view(1, 1, T, T)
    a = torch.zeros(1, 1, T, T).masked_fill(m[:, :, :3, :3].new_ones(1, 1, T, T) * m == 0, float("-inf"))
    r = torch.softmax(a, -1)
    """,
    """
    m = torch.triu(torch.ones(3, 3), diagonal=1).bool()
    r = [
        torch.zeros(3, 3).masked_fill(m, -1000000000.0),
        torch.zeros(3, 3).masked_fill_(m, float("-inf")),
        torch.full((3, 3), float("-inf")).triu(1),
        torch.ones(3, 3).tril_(),
    ]
    """,
    """
    r = [
        torch.full((2,), 3).dtype,
        torch.full((2, 2), 1.5),
        torch.zeros(2, dtype=torch.long),
        torch.ones_like(torch.zeros(2)),
        torch.zeros_like(torch.ones(2), dtype=torch.long),
        torch.arange(3),
        torch.arange(1, 4, 2),
        torch.arange(0, 1, 0.25),
        torch.linspace(0, 1, 5),
        torch.eye(2),
        torch.empty(2, 3).shape,
        torch.logspace(0, 2, 3),
    ]
    """,
    """
    x = torch.zeros(3, 5)
    idx = torch.tensor([0, 2, 4])
    x[torch.arange(3), idx] = 1
    r = [
        x,
        x.gather(1, idx.unsqueeze(1)),
        x[range(3), idx],
        x.scatter(1, idx[:, None], 5.0),
        torch.zeros(3, 5).scatter_(1, idx.unsqueeze(1), 1),
    ]
    """,
    """
    x = torch.zeros(3, 5)
    x.index_add_(0, torch.tensor([0, 0, 2]), torch.ones(3, 5))
    x.index_fill_(1, torch.tensor([1]), 9.0)
    x.scatter_add_(0, torch.tensor([[0, 1, 2, 0, 0]]), torch.ones(1, 5))
    r = x
    """,
    """
    r = [
        torch.bincount(torch.tensor([0, 1, 1, 3])),
        torch.unique(torch.tensor([3, 1, 1])),
        torch.unique(torch.tensor([3, 1, 1]), return_counts=True),
        torch.unique(torch.tensor([3, 1, 1]), return_inverse=True),
    ]
    """,
    """
    x = torch.tensor([1.0, 2, 3])
    r = [x.clamp(min=2), x.clamp(1.5, 2.5), torch.clamp(x, max=2), x.clamp_(0, 1), x.clip(0, 0.5)]
    """,
    """
    x = torch.tensor([1.0, 2, 3])
    r = [
        x.norm(),
        x.norm(p=1),
        torch.norm(x),
        torch.linalg.norm(x),
        torch.linalg.vector_norm(x),
        x.norm(2, dim=0),
        torch.norm(x, p=2, dim=0, keepdim=True),
        x.dot(x),
        torch.dot(x, x),
        x @ x,
        torch.outer(x, x),
        torch.cumsum(x, 0),
        x.prod(),
        torch.mm(x[None], x[:, None]),
        x.pow(2),
        x.exp(),
        x.log(),
        x.sqrt(),
        x.rsqrt(),
        x.abs(),
        x.neg(),
        x.sign(),
        x.floor(),
        x.reciprocal(),
    ]
    """,
    """
    r = [
        torch.einsum("bij,bjk->bik", torch.ones(2, 3, 4), torch.ones(2, 4, 5)),
        torch.einsum("ij->ji", torch.arange(6).view(2, 3)),
        torch.einsum("i,i", torch.ones(3), torch.ones(3)),
        torch.einsum("...ij->...ji", torch.ones(2, 3, 4)).shape,
    ]
    """,
    """
    x = torch.arange(6.0).view(2, 3)
    r = [
        x.argmax(),
        x.argmax(1),
        x.argmax(dim=-1, keepdim=True),
        torch.argmax(x, dim=1),
        (x.argmax(1) == torch.tensor([2, 2])).float().mean(),
        (x.argmax(1) == torch.tensor([2, 2])).sum().item(),
        x.eq(1).sum(),
        x.any(),
        x.all(dim=1),
        (x > 1).any(1),
        (x > 1).nonzero(),
        (x > 1).nonzero(as_tuple=True),
        x.flip(0),
        x.roll(1, 0),
        torch.roll(x, 1, dims=1),
    ]
    """,
    """
    correct = 0
    correct += (torch.tensor([1, 2]) == torch.tensor([1, 3])).sum().item()
    total = torch.tensor([1, 2]).size(0)
    r = 100 * correct / total
    print(f"Accuracy: {100 * correct / total:.2f}%")
    """,
    """
    x = torch.tensor([[1.0, 2], [3, 4]])
    a, b = x.max(dim=1)
    _, p = torch.max(x, 1)
    print(x.max(dim=1))
    print(x.sort())
    r = [a, b, p, _]
    """,
    """
    x = torch.randn(3, requires_grad=True)
    y = x.clone()
    z = x.detach().clone().requires_grad_(True)
    r = [
        y.requires_grad,
        z.is_leaf,
        y.is_leaf,
        x.is_leaf,
        x.grad is None,
        y.grad_fn is not None,
        type(x.grad),
    ]
    """,
    """
    x = torch.ones(2, requires_grad=True)
    y = x * 3
    y.retain_grad()
    (y**2).sum().backward()
    r = [y.grad, x.grad]
    """,
    """
    x = torch.ones(2, requires_grad=True)
    y = (x**3).sum()
    (g,) = torch.autograd.grad(y, x, create_graph=True)
    (g2,) = torch.autograd.grad(g.sum(), x)
    r = [g, g2]
    """,
    """
    x = torch.ones(2, requires_grad=True)
    h = []
    x.register_hook(lambda g: h.append(g) or g * 2)
    (x * 3).sum().backward()
    r = [h, x.grad]
    """,
    """
    a = torch.ones(2, requires_grad=True)
    b = a * 2
    b[0] = 5
    b.sum().backward()
    r = a.grad
    """,
    """
    a = torch.ones(2, 2, requires_grad=True)
    b = a.clone()
    b[:, 0] *= 3
    b.sum().backward()
    r = a.grad
    """,
    """
    a = torch.zeros(3)
    b = a[1:]
    b += 1
    r = [a, b, a.data_ptr() == a.view(-1).data_ptr(), b._base is a]
    """,
    """
    a = torch.arange(3).to(torch.int32)
    r = [
        a + torch.arange(3),
        a * 1.0,
        a.to(torch.uint8) - 1,
        a.float() / 0,
        a // 0.5,
        torch.tensor(5) // 2,
        torch.tensor(-5) // 2,
        torch.tensor(-5) % 3,
        torch.tensor(-5.0) % 3,
        torch.fmod(torch.tensor(-5.0), 3),
        torch.div(torch.tensor(-5), 2, rounding_mode="trunc"),
        torch.div(torch.tensor(-5), 2, rounding_mode="floor"),
    ]
    """,
    """
    a = torch.arange(3)
    a *= 2
    a -= 1
    a //= 2
    r = a
    """,
    """
    a = torch.ones(3, dtype=torch.float16)
    r = [a + 1, a * torch.ones(3), a.sum(), a @ a, a + torch.tensor(1.0, dtype=torch.float64)]
    """,
    """
    torch.set_default_dtype(torch.float64)
    r = [torch.ones(1).dtype, torch.tensor(1.0).dtype, torch.get_default_dtype()]
    torch.set_default_dtype(torch.float32)
    """,
    """
    x = torch.tensor(5.0)
    x -= 1
    x.fill_(3)
    r = [x, x.data, x.numpy().item(), x.unsqueeze(0), x.expand(3), x.view(1), x.dim()]
    """,
    """
    g = torch.Generator().manual_seed(1)
    a = torch.randn(3, generator=g)
    g.manual_seed(1)
    r = [
        torch.equal(a, torch.randn(3, generator=g)),
        torch.randint(0, 10, (3,)).dtype,
        torch.randint(5, (2, 2)).shape,
        torch.rand(2).dtype,
        torch.randperm(4).sort()[0],
        torch.bernoulli(torch.ones(2)),
        torch.multinomial(torch.tensor([0.0, 1.0]), 1),
        torch.normal(0.0, 1.0, (2,)).shape,
        torch.rand_like(torch.ones(2)).shape,
        torch.randn(2, 3, dtype=torch.float64).dtype,
        torch.randn((2, 3)).shape,
        torch.randn(*[2, 3]).shape,
        torch.empty(3).uniform_(0, 1).shape,
        torch.empty(3).normal_().shape,
    ]
    """,
    """
    x = {"a": torch.ones(2)}
    r = {k: v.to("cpu") for k, v in x.items()}
    """,
    """
    s = {torch.ones(1): 1}
    x = torch.ones(1)
    s[x] = 2
    r = [len(s), x in s]
    """,
    """
    import copy

    x = torch.ones(2, requires_grad=True)
    y = copy.deepcopy(x)
    r = [y, y.requires_grad, y is x]
    """,
    """
    x = torch.arange(4.0)
    r = [
        x.view(2, 2) @ torch.ones(2),
        torch.matmul(x.view(2, 2), x.view(2, 2)),
        x.view(2, 2).mm(x.view(2, 2)),
        torch.bmm(torch.ones(1, 2, 2), x.view(1, 2, 2)),
        torch.addmm(torch.ones(2), x.view(2, 2), x.view(2, 2)),
        torch.baddbmm(torch.zeros(1, 2, 2), torch.ones(1, 2, 2), x.view(1, 2, 2)),
        torch.mv(x.view(2, 2), torch.ones(2)),
    ]
    """,
    """
    r = [
        torch.sigmoid(torch.zeros(2)),
        torch.tanh(torch.ones(2)),
        torch.relu(torch.tensor([-1.0, 1])),
        torch.softmax(torch.ones(2), dim=0),
        torch.log_softmax(torch.ones(2), 0),
        torch.logsumexp(torch.ones(2), 0),
        torch.ones(2).softmax(-1),
        torch.ones(2).log_softmax(dim=-1),
        torch.ones(2).sigmoid(),
        torch.ones(2).relu_(),
    ]
    """,
    """
    r = torch.ones(2, 3).sum(dim=(0, 1))
    r = [
        r,
        torch.ones(2, 3).sum((0,)),
        torch.ones(2, 3).sum(1, keepdim=True),
        torch.ones(2, 3).mean(dim=[0, 1]),
        torch.ones(2, 3).sum(-1).shape,
        torch.tensor([1, 2]).sum().dtype,
        torch.tensor([True]).sum().dtype,
        torch.ones(2, 3).sum(axis=0),
        torch.amax(torch.ones(2, 3), (0, 1)),
    ]
    """,
    """
    r = [
        torch.meshgrid(torch.arange(2), torch.arange(3), indexing="ij"),
        torch.cdist(torch.zeros(2, 2), torch.ones(3, 2)),
        torch.cartesian_prod(torch.arange(2), torch.arange(2)),
        torch.combinations(torch.arange(3)),
    ]
    """,
    """
    r = [
        torch.numel(torch.ones(2, 3)),
        torch.is_floating_point(torch.ones(1)),
        torch.typename(torch.ones(1)),
        torch.get_default_dtype(),
        torch.result_type(torch.tensor(1), 1.0),
        torch.promote_types(torch.int32, torch.float32),
        torch.can_cast(torch.float32, torch.int32),
        torch.float32.is_floating_point,
        torch.float32.itemsize,
        torch.argwhere(torch.tensor([0, 1])),
    ]
    """,
    """
    x = torch.ones(3, names=None) if False else torch.ones(3)
    r = [
        x.is_cuda,
        x.device,
        x.device.type == "cpu",
        x.layout,
        x.is_contiguous(),
        x.element_size(),
        x.requires_grad,
        x.is_sparse,
        x.nbytes,
    ]
    r = r[:3] + r[4:]
    """,
    """
    x = torch.ones(2, 3)
    r = [
        x.new_zeros(2),
        x.new_tensor([1.0]),
        x.new_full((2,), 3.0),
        x.new_ones(2, dtype=torch.long),
        x.new_empty(3).shape,
        x.new(2, 3).shape,
    ]
    """,
    """
    x = torch.ones(2)
    x.foo = 3
    r = x.foo
    """,
    """
    x = torch.arange(24).view(2, 3, 4)
    r = [
        x.permute(2, 0, 1).contiguous().view(4, -1),
        x.transpose(-1, -2).reshape(2, -1),
        x.movedim(0, -1).shape,
        x.unbind(1)[0],
        x.select(1, 0),
        x.narrow(1, 0, 2),
        x.unflatten(2, (2, 2)).shape,
        x.flatten(1),
        x.diagonal(dim1=1, dim2=2),
        torch.einsum("bii->bi", x[:, :3, :3]),
        x.swapaxes(0, 1).shape,
        x.mT.shape,
        x.view(-1, 4)[0],
        x.ravel().shape,
        x.tile(2).shape,
    ]
    """,
    """
    r = [
        torch.tensor([1.0, 2.0, 3.0]).median(),
        torch.tensor([1.0, 2.0, 3.0, 4.0]).quantile(0.5),
        torch.tensor([1, 2, 2]).mode(),
        torch.tensor([1.0, 2]).cumprod(0),
        torch.diff(torch.tensor([1, 3, 6])),
        torch.isnan(torch.tensor([float("nan")])),
        torch.isinf(torch.ones(1)),
        torch.isfinite(torch.ones(1)).all(),
        torch.nan_to_num(torch.tensor([float("nan")])),
        torch.logical_and(torch.ones(1), torch.zeros(1)),
        torch.logical_not(torch.ones(1)),
        torch.atan2(torch.ones(1), torch.ones(1)),
        torch.cosh(torch.ones(1)),
        torch.lerp(torch.zeros(1), torch.ones(1), 0.3),
        torch.searchsorted(torch.tensor([1, 3, 5]), torch.tensor([3])),
        torch.bucketize(torch.tensor([3]), torch.tensor([1, 3, 5])),
        torch.histc(torch.tensor([1.0, 2, 1]), bins=4, min=0, max=3),
    ]
    """,
    """
    x = torch.arange(12.0).view(3, 4) - 5
    h = torch.linalg
    r = [
        h.norm(x),
        h.norm(x, dim=1),
        h.norm(x, 1),
        h.norm(x, float("inf")),
        h.norm(x, -1),
        h.norm(x, "fro"),
        h.norm(x[0], 3),
        h.norm(x, 1, dim=0),
        h.norm(x, 1, dim=(0, 1)),
        h.norm(x, 1, dim=(1, 0)),
        h.norm(x, -float("inf"), dim=(1, 0), keepdim=True),
        h.vector_norm(x, 0),
        h.vector_norm(x, float("inf")),
        h.vector_norm(x, 1, dim=(0, 1), keepdim=True),
        h.matrix_norm(x[None]),
        h.matrix_norm(x[None], 1, keepdim=True),
        h.vecdot(x, x),
        h.diagonal(x),
        h.matrix_power(x[:, :3], 5),
        h.matrix_power(x[:, :3], 0),
        h.matrix_power(x[:, :3], 1),
        h.multi_dot([x, x.T, x]),
        h.multi_dot([x[0], x.T, x, x[1]]),
        h.multi_dot([x[0], x.T]),
        h.multi_dot((x[0], x.T, x[:, 0])),
    ]
    """,
    """
    r = [
        torch.FloatTensor(),
        torch.Tensor(torch.Size([2])).shape,
        torch.Tensor(torch.ones(2).double()),
        torch.Tensor([True]),
        torch.LongTensor(np.ones(2)),
        torch.LongTensor([1.5]),
        torch.FloatTensor((1, 2)),
        torch.Tensor(np.ones(2)),
        torch.Tensor(),
        torch.Tensor([torch.tensor(1.0)]),
        torch.Tensor([[1, 2]]),
    ]
    """,
    """
    torch.set_default_tensor_type(torch.DoubleTensor)
    r = torch.ones(1)
    torch.set_default_tensor_type("torch.FloatTensor")
    """,
    """
    with torch.autocast(device_type="cuda", dtype=torch.float16):
        r = torch.ones(2) @ torch.ones(2)
    """,
    """
    with torch.cuda.amp.autocast(enabled=False):
        r = torch.ones(2) @ torch.ones(2)
    """,
    """
    with torch.amp.autocast("cpu", enabled=False):
        r = torch.ones(2) @ torch.ones(2)
    """,
    """
    from torch.cuda.amp import autocast, GradScaler

    s = GradScaler()
    r = [s.is_enabled(), s.get_scale(), s.state_dict(), s.scale(torch.ones(1))]
    """,
    """
    s = torch.amp.GradScaler("cpu")
    p = torch.ones(2, requires_grad=True)
    s.scale(p.sum()).backward()
    r = [p.grad, s.state_dict()]
    """,
    """
    import torch.backends.cudnn as cudnn

    cudnn.benchmark = True
    r = cudnn.benchmark
    cudnn.benchmark = False
    """,
    """
    r = [torch.version.cuda, torch.typename(3), torch.typename(torch.ones(1, dtype=torch.long))]
    """,
    """
    torch.use_deterministic_algorithms(True)
    r = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision("high")
    r = [r, torch.get_float32_matmul_precision()]
    """,
    """
    torch.set_default_device("cpu")
    r = [torch.ones(1).device, torch.get_default_device()]
    torch.set_default_device(None)
    """,
    """
    with torch.device("cpu"):
        r = torch.randn(2).device
    """,
    """
    x = torch.ones(3).to(torch.device("cpu"), non_blocking=True)
    r = [
        x,
        x.to(device="cpu", dtype=torch.double),
        x.to(torch.float64, True),
        x.to("cpu", torch.float16, copy=True),
    ]
    """,
    """
    r = [
        torch.ones(1, dtype=float).dtype,
        torch.ones(1, dtype=int).dtype,
        torch.ones(1, dtype=bool).dtype,
        torch.tensor(1).to(float).dtype,
        torch.ones(1).type(torch.int).dtype,
        torch.zeros(1, dtype=torch.int).dtype,
        torch.ones(1).to(int),
    ]
    """,
    """
    x = torch.tensor([[3.0, 1, 2, 2], [5, 0, 4, 4]])
    r = [
        x.quantile(0.3),
        x.quantile(torch.tensor([0.1, 0.5, 1.0]), dim=1),
        x.quantile(0.5, 1, True),
        x.quantile(torch.tensor([0.25, 0.5]), dim=0, keepdim=True),
        x.quantile(torch.tensor([0.5]), keepdim=True),
        x.quantile(0.5, dim=-1, interpolation="lower"),
        x.quantile(0.4, dim=-1, interpolation="higher"),
        x.quantile(0.4, dim=-1, interpolation="nearest"),
        x.quantile(0.4, dim=-1, interpolation="midpoint"),
        torch.tensor(3.0).quantile(0.5),
        torch.tensor([1.0, float("nan")]).quantile(0.5),
    ]
    """,
    """
    x = torch.tensor([[3.0, 1, 2, 2], [5, 0, 4, 4]], requires_grad=True)
    x.quantile(0.3, dim=1).sum().backward()
    r = x.grad
    """,
    """
    x = torch.tensor([[3, 1, 1, 2], [2, 2, 3, 3]])
    r = [x.mode(), x.mode(0), x.mode(1, True), torch.tensor(4).mode()]
    """,
    """
    x = torch.tensor([[3.0, 1, 3, 2], [float("nan"), 2, 3, 3]])
    r = [x.cummax(0), x.cummax(1), x.cummin(1), torch.tensor(4.0).cummax(0)]
    """,
    """
    x = torch.tensor([3.0, 1, 3, 2], requires_grad=True)
    x.cummax(0)[0].sum().backward()
    r = x.grad
    """,
    """
    x = torch.tensor([3.0, 1, float("nan"), 2])
    r = [x.nanmean(), x.view(2, 2).nanmean(1), x.nansum()]
    """,
    """
    x = torch.tensor([1.0, 2, 1, 5])
    r = [x.histc(4), x.histc(4, 0, 4), torch.histc(torch.ones(3), 3), x.histc(bins=2, min=1, max=2)]
    """,
    """
    x = torch.tensor([[3, 1, 1], [2, 2, 3], [3, 1, 1]])
    r = [
        x.unique(),
        torch.unique(x, return_inverse=True, return_counts=True),
        x.unique(dim=0),
        torch.unique(x, dim=1, return_inverse=True, return_counts=True),
        torch.unique(torch.tensor([True, False, True])),
        torch.unique_consecutive(torch.tensor([1, 1, 2, 2, 1]), return_inverse=True, return_counts=True),
        x.unique_consecutive(dim=1, return_counts=True),
        torch.unique(torch.tensor([])),
        torch.unique_consecutive(torch.tensor([])),
    ]
    """,
    """
    x = torch.tensor([[1.0, 2, 4], [3, 0, 1]])
    r = [
        x.cov(),
        x.cov(correction=0),
        x[0].cov(),
        x.corrcoef(),
        x.cov(fweights=torch.tensor([1, 2, 3])),
        x.cov(aweights=torch.tensor([0.1, 0.2, 0.3])),
        torch.cov(x, fweights=torch.tensor([1, 2, 3]), aweights=torch.tensor([0.1, 0.2, 0.3])),
        x[0].corrcoef(),
    ]
    """,
    """
    x = torch.tensor([[1, 3, 6], [2, 2, 9]])
    r = [
        x.diff(),
        x.diff(dim=0),
        x.diff(n=2),
        x.diff(prepend=torch.zeros(2, 1, dtype=torch.long)),
        torch.diff(torch.tensor([True, False])),
        x.diff(n=5),
        x.diff(n=0),
    ]
    """,
    """
    y = torch.tensor([[1.0, 3, 6], [2, 2, 9]])
    r = [
        torch.trapezoid(y),
        torch.trapezoid(y, dx=0.5, dim=0),
        torch.trapz(y, torch.tensor([0.0, 1, 3])),
        torch.trapezoid(y, y, dim=1),
        torch.dist(y, y + 1),
        y.dist(y * 2, 1),
    ]
    """,
    """
    r = [
        torch.isin(torch.tensor([1, 2, 3]), torch.tensor([2, 5])),
        torch.isin(torch.tensor([1, 2]), 2),
        torch.isin(2, torch.tensor([1, 2])),
        torch.isin(torch.tensor([1, 2]), torch.tensor([2]), invert=True),
    ]
    """,
    """
    s = torch.tensor([1.0, 3, 5])
    v = torch.tensor([[0.0, 3, 6]])
    r = [
        torch.searchsorted(s, v),
        torch.searchsorted(s, v, right=True),
        torch.searchsorted(s, 3),
        torch.searchsorted(s, v, side="right", out_int32=True),
        torch.searchsorted(s[None], v),
        torch.bucketize(v, s),
        torch.bucketize(v, s, right=True),
        torch.searchsorted(torch.tensor([5.0, 1, 3]), v, sorter=torch.tensor([1, 2, 0])),
    ]
    """,
    """
    r = [
        torch.numel(torch.ones(2, 2)),
        torch.is_floating_point(torch.ones(1)),
        torch.is_complex(torch.ones(1)),
        torch.is_signed(torch.ones(1)) if hasattr(torch, "is_signed") else None,
        torch.is_nonzero(torch.tensor([1.0])),
        torch.can_cast(torch.float, torch.int),
        torch.can_cast(torch.bool, torch.int),
        torch.can_cast(torch.int, torch.bool),
        torch.can_cast(torch.double, torch.half),
        torch.is_same_size(torch.ones(1), torch.ones(2)),
        torch.tensor(1).is_nonzero(),
    ]
    """,
    """
    x = torch.arange(24.0).view(2, 3, 4)
    r = [x.hsplit(3), x.vsplit(2), x.dsplit([1, 3]), torch.hsplit(torch.arange(4), 2)]
    """,
    """
    x = torch.arange(24.0).view(2, 3, 4)
    r = [
        x.unfold(2, 2, 1),
        x.unfold(0, 1, 1).shape,
        torch.arange(7).unfold(0, 3, 2),
        x.unfold(1, 3, 5),
        torch.tensor(3.0).unfold(0, 1, 1),
    ]
    """,
    """
    r = [
        torch.block_diag(torch.ones(2, 2), torch.tensor([1.0, 2]), torch.tensor(3.0)),
        torch.cartesian_prod(torch.arange(2), torch.arange(3)),
        torch.cartesian_prod(torch.arange(2)),
        torch.combinations(torch.arange(4), 3),
        torch.combinations(torch.arange(3), with_replacement=True),
        torch.combinations(torch.arange(3.0), 1),
        torch.vander(torch.arange(3.0)),
        torch.vander(torch.arange(3), 2, increasing=True),
        torch.cross(torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]), dim=0),
        torch.linalg.cross(torch.ones(2, 3), torch.arange(6.0).view(2, 3)),
    ]
    """,
    """
    a = torch.zeros(7, 3).fill_diagonal_(5, wrap=True)
    b = torch.zeros(3, 5)
    b.fill_diagonal_(2)
    c = torch.zeros(2, 2, 2).fill_diagonal_(1)
    r = [a, b, c, torch.zeros(7, 3).fill_diagonal_(1), torch.ones(2, 2, dtype=torch.bool).fill_diagonal_(0)]
    """,
    """
    x = torch.arange(6.0).view(2, 3)
    r = (
        [
            x.select_scatter(torch.zeros(2), 1, 0),
            x.slice_scatter(torch.zeros(2, 2), 1, 1),
            x.slice_scatter(torch.zeros(1, 3)),
            x.diagonal_scatter(torch.zeros(2)),
        ]
        if 0
        else [
            x.select_scatter(torch.zeros(2), 1, 0),
            x.slice_scatter(torch.zeros(2, 2), 1, 1),
            x.diagonal_scatter(torch.zeros(2)),
        ]
    )
    """,
    """
    i = torch.tensor([0, 1, 0, 1, 2, 1])
    s = torch.tensor([1.0, 2, 3, 4, 5, 6])
    x = torch.tensor([1.0, 2, 3, 4])
    r = [
        x.scatter_reduce(0, i, s, reduce=k, include_self=q)
        for k in ("sum", "prod", "mean", "amax", "amin")
        for q in (True, False)
    ]
    """,
    """
    i = torch.tensor([0, 1, 0, 1, 2, 1])
    s = torch.tensor([1.0, 6, 3, 4, 5, 6], requires_grad=True)
    x = torch.tensor([1.0, 2, 5, 4], requires_grad=True)
    r = []
    for k in ("sum", "mean", "amax", "amin"):
        for q in (True,):
            r.append(
                torch.autograd.grad(
                    (x.scatter_reduce(0, i, s, reduce=k, include_self=q) * torch.arange(1.0, 5)).sum(),
                    (x, s),
                )
            )
    """,
    """
    x = torch.zeros(2, 3).scatter_reduce_(1, torch.tensor([[0, 0], [2, 1]]), torch.ones(2, 2), "sum")
    r = x
    """,
    """
    r = [
        torch.ones(2, 3, 4).sum_to_size(3, 1),
        torch.ones(2, 3).sum_to_size((1, 3)),
        torch.zeros(2, 3).put(torch.tensor([1, 4]), torch.tensor([9.0, 8])),
        torch.zeros(2, 3).put_(torch.tensor([1, 1]), torch.tensor([9.0, 8]), accumulate=True),
    ]
    """,
    """
    n = float("nan")
    f = float("inf")
    x = torch.tensor([n, f, -f, 1.0])
    r = [
        x.nan_to_num(),
        x.nan_to_num(1.0, 2.0, 3.0),
        torch.nan_to_num(torch.tensor([1, 2])),
        x.nan_to_num_(),
        torch.tensor([n, f], dtype=torch.float64).nan_to_num(),
    ]
    """,
    """
    x = torch.tensor([0.2, 0.7, 1.0])
    r = [x.logit(), torch.logit(x, eps=0.01), torch.special.logit(x) if 0 else x.logit(1e-06)]
    """,
    """
    x = torch.tensor([0.0, 1, 2, 0.0])
    y = torch.tensor([0.0, 0, 3, float("nan")])
    r = [torch.xlogy(x, y), x.xlogy(2.0), torch.xlogy(2.0, x), torch.xlogy(x, 0.0)]
    """,
    """
    x = torch.tensor([0.0, 1, 2], requires_grad=True)
    y = torch.tensor([1.0, 2, 3], requires_grad=True)
    r = torch.autograd.grad(torch.xlogy(x, y).sum(), (x, y))
    """,
    """
    x = torch.tensor([0.0, 1000, -float("inf")])
    r = [
        torch.logaddexp(x, x),
        torch.logaddexp(x, torch.zeros(3)),
        torch.logaddexp2(x, torch.zeros(3)),
        torch.heaviside(torch.tensor([-1.0, 0, 2]), torch.tensor([0.5])),
        torch.float_power(torch.arange(3), 2),
        torch.deg2rad(torch.tensor([180.0])),
        torch.rad2deg(torch.tensor([math.pi])),
        torch.sgn(torch.tensor([-2.0, 0])),
        torch.isposinf(x),
        torch.isneginf(x),
        x.isreal(),
        torch.fmax(torch.tensor([1.0, float("nan")]), torch.tensor([2.0, 3])),
        torch.fmin(torch.tensor([1.0, float("nan")]), torch.tensor([2.0, 3])),
        torch.hypot(torch.tensor([3.0, 0, 1e30]), torch.tensor([4.0, 0, 1e30])),
    ]
    """,
    """
    x = torch.tensor([0.3, 0.7], requires_grad=True)
    r = [
        torch.autograd.grad(f(x).sum(), x)[0]
        for f in (
            torch.asin,
            torch.acos,
            torch.atan,
            torch.sinh,
            torch.cosh,
            torch.asinh,
            torch.atanh,
            torch.logit,
            lambda t: torch.atan2(t, t * 2),
            lambda t: torch.acosh(t + 1),
            lambda t: torch.hypot(t, 2 * t),
            lambda t: torch.logaddexp(t, 2 * t),
        )
    ] + [
        torch.arctan2(torch.ones(1), torch.zeros(1)),
        torch.arcsin(torch.ones(1)),
        x.arctan(),
        torch.asin(torch.tensor([1])),
    ]
    """,
    """
    r = [
        F.relu(torch.ones(1)),
        F.softmax(torch.ones(2), dim=0),
        F.one_hot(torch.tensor([1]), 3),
        F.pad(torch.ones(2), (1, 1)),
        F.normalize(torch.ones(1, 2)),
        F.cosine_similarity(torch.ones(1, 2), torch.ones(1, 2)),
        F.dropout(torch.ones(2), 0.0),
        F.gelu(torch.ones(1), approximate="tanh"),
        F.softplus(torch.ones(1)),
        F.elu(torch.ones(1)),
        F.leaky_relu(torch.ones(1), 0.2),
        F.hardtanh(torch.ones(1)),
        F.log_softmax(torch.ones(2), -1),
        F.sigmoid(torch.ones(1)),
        F.tanh(torch.ones(1)),
        F.threshold(torch.ones(1), 2, 3),
        F.glu(torch.ones(2)),
        F.logsigmoid(torch.ones(1)),
        F.softsign(torch.ones(1)),
        F.selu(torch.ones(1)),
        F.mish(torch.ones(1)),
        F.hardswish(torch.ones(1)),
        F.relu6(torch.ones(1)),
        F.prelu(torch.ones(1), torch.ones(1)),
        F.softmin(torch.ones(2), 0),
        F.rms_norm(torch.ones(2), (2,)),
        F.group_norm(torch.ones(1, 2, 3), 2),
    ]
    """,
    """
    import torch.nn as nn

    m = nn.Linear(2, 3)
    r = [
        m,
        str(m),
        repr(
            nn.Sequential(
                nn.Linear(1, 2),
                nn.ReLU(inplace=True),
                nn.Dropout(0.2),
                nn.BatchNorm1d(2),
                nn.LayerNorm(2),
                nn.Embedding(3, 2, padding_idx=0),
                nn.Flatten(),
                nn.GELU(),
                nn.Softmax(dim=1),
                nn.LeakyReLU(0.1),
                nn.Sigmoid(),
                nn.Tanh(),
                nn.ELU(),
                nn.Identity(),
                nn.LogSoftmax(dim=-1),
                nn.SiLU(),
                nn.Softplus(),
                nn.Hardtanh(),
                nn.PReLU(),
                nn.Unflatten(1, (2, 1)),
                nn.Bilinear(2, 2, 1),
                nn.GroupNorm(1, 2),
                nn.RMSNorm(2) if hasattr(nn, "RMSNorm") else 0,
                nn.Mish(),
                nn.CosineSimilarity(),
                nn.PairwiseDistance(),
                nn.Threshold(0.1, 2),
                nn.ReLU6(),
                nn.GLU(),
                nn.Softmin(dim=0),
                nn.Hardswish(),
                nn.AlphaDropout(),
                nn.Dropout1d(),
                nn.EmbeddingBag(3, 2),
            )
        ),
    ]
    r = [str(x) for x in r]
    """,
    """
    import torch.nn as nn

    r = [
        str(x)
        for x in (
            nn.CrossEntropyLoss(),
            nn.MSELoss(),
            nn.BCELoss(),
            nn.BCEWithLogitsLoss(pos_weight=torch.ones(1)),
            nn.L1Loss(),
            nn.SmoothL1Loss(),
            nn.NLLLoss(),
            nn.KLDivLoss(),
            nn.HuberLoss(),
            nn.TripletMarginLoss(),
            nn.CosineEmbeddingLoss(),
            nn.MarginRankingLoss(),
            nn.HingeEmbeddingLoss(),
            nn.PoissonNLLLoss(),
            nn.GaussianNLLLoss(),
            nn.MultiMarginLoss(),
            nn.SoftMarginLoss(),
            nn.ModuleList([nn.Linear(1, 1)] * 2),
            nn.ModuleDict({"a": nn.ReLU()}),
            nn.ParameterList([nn.Parameter(torch.ones(2))]),
            nn.ParameterDict({"b": nn.Parameter(torch.ones(2))}),
        )
    ]
    """,
    """
    import torch.nn as nn

    m = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    r = [
        len(m),
        str(m[0]),
        str(m[-1]),
        str(m[:1]),
        [n for n, _ in m.named_parameters()],
        [n for n, _ in m.named_modules()],
        [n for n, _ in m.named_children()],
        list(m.state_dict()),
        m.training,
        m.eval().training,
        m.train().training,
    ]
    m.append(nn.Tanh())
    r += [len(m), str(m)]
    m.insert(0, nn.Identity())
    m.extend([nn.ReLU()])
    del m[0]
    r.append(str(m))
    m.add_module("out", nn.Linear(2, 1))
    r.append(str(m.out))
    r.append([type(x).__name__ for x in m])
    """,
    """
    import torch.nn as nn

    m = nn.Linear(2, 2)
    m.weight = nn.Parameter(torch.ones(2, 2))
    m.bias = None
    r = m(torch.ones(1, 2))
    """,
    """
    import torch.nn as nn

    m = nn.Linear(2, 2)
    m.foo = 3
    m.bar = nn.ReLU()
    m.baz = nn.Parameter(torch.zeros(1))
    m.qux = torch.ones(2)
    r = [m.foo, list(m._modules), list(m._parameters), hasattr(m, "qux"), "qux" in m.state_dict()]
    del m.bar
    r.append(list(m._modules))
    """,
    """
    import torch.nn as nn

    m = nn.Linear(2, 2)
    r = [
        m.weight.requires_grad,
        m.weight.is_leaf,
        type(m.weight).__name__,
        isinstance(m.weight, torch.Tensor),
        isinstance(m.weight, nn.Parameter),
        (m.weight * 2).__class__.__name__,
        m.weight.data.__class__.__name__,
        m.weight.detach().__class__.__name__,
        m.weight.clone().__class__.__name__,
        m.in_features,
        m.out_features,
        m.bias.shape,
    ]
    """,
    """
    import torch.nn as nn

    m = nn.Linear(2, 2)
    m.requires_grad_(False)
    r = [p.requires_grad for p in m.parameters()]
    m.double()
    r.append(m.weight.dtype)
    m.float().half()
    r.append(m.weight.dtype)
    m.to(torch.float64)
    r.append(m.weight.dtype)
    m.to("cpu")
    m.cpu()
    m.type(torch.float32)
    r.append(m.bias.dtype)
    r.append(m.get_parameter("weight").shape)
    r.append(sum((p.numel() for p in m.parameters())))
    """,
    """
    import torch.nn as nn, copy

    m = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    m2 = copy.deepcopy(m)
    m2[0].weight.data.fill_(0)
    r = [
        bool((m[0].weight == 0).all()),
        sorted(m.state_dict()),
        m.state_dict()["1.num_batches_tracked"],
        m[1].running_var,
        [n for n, b in m.named_buffers()],
    ]
    """,
    """
    import torch.nn as nn

    e = nn.Embedding(4, 3, padding_idx=1)
    r = [
        e(torch.tensor([1])),
        e.weight.shape,
        nn.Embedding.from_pretrained(torch.ones(2, 2)).weight.requires_grad,
        nn.Embedding.from_pretrained(torch.eye(3), freeze=False)(torch.tensor([[0, 2]])),
    ]
    """,
    """
    import torch.nn as nn

    c = nn.CrossEntropyLoss(
        weight=torch.tensor([1.0, 2.0, 3.0]), ignore_index=0, label_smoothing=0.1, reduction="none"
    )
    r = c(torch.arange(6.0).view(2, 3), torch.tensor([0, 2]))
    """,
    """
    import torch.nn as nn

    b = nn.BatchNorm1d(2, momentum=0.3, eps=0.001)
    x = torch.arange(8.0).view(4, 2)
    y = b(x)
    r = [y, b.running_mean, b.running_var, b.num_batches_tracked, b.eval()(x)]
    b.reset_running_stats()
    r.append(b.running_mean)
    """,
    """
    import torch.nn as nn

    d = nn.Dropout(0.5)
    x = torch.ones(1000)
    y = d(x)
    r = [
        bool(((y == 0) | (y == 2)).all()),
        d.eval()(x).sum(),
        300 < (y == 0).sum().item() < 700,
        nn.Dropout(1.0)(x).sum(),
    ]
    """,
    """
    import torch.nn as nn, torch.optim as optim

    p = nn.Parameter(torch.tensor([1.0, 2.0]))
    r = []
    for O, k in (
        (optim.SGD, dict(lr=0.1)),
        (optim.SGD, dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)),
        (optim.SGD, dict(lr=0.1, momentum=0.9, dampening=0.5, maximize=True)),
        (optim.Adam, dict(lr=0.1)),
        (optim.Adam, dict(lr=0.1, betas=(0.8, 0.9), eps=0.0001, weight_decay=0.1, amsgrad=True)),
        (optim.AdamW, dict(lr=0.1)),
        (optim.RMSprop, dict(lr=0.1)),
        (optim.RMSprop, dict(lr=0.1, momentum=0.9, centered=True, alpha=0.8)),
        (optim.Adagrad, dict(lr=0.1)),
        (optim.Adadelta, dict()),
        (optim.Adamax, dict()),
        (optim.NAdam, dict()),
        (optim.RAdam, dict()),
    ):
        q = p.detach().clone().requires_grad_()
        o = O([q], **k)
        for i in range(3):
            o.zero_grad()
            ((q - 3) ** 2 * torch.tensor([1.0, 2.0])).sum().backward()
            o.step()
        r.append(q.detach())
        print(o)
    """,
    """
    import torch.optim as optim

    p = torch.ones(2, requires_grad=True)
    o = optim.Adam([p], lr=0.1)
    p.sum().backward()
    o.step()
    s = o.state_dict()
    r = [
        s,
        list(s),
        o.param_groups[0]["lr"],
        sorted(o.param_groups[0]),
        o.state[p]["step"],
        len(o.param_groups),
        o.defaults["betas"],
    ]
    """,
    """
    import torch.optim as optim

    a, b = (torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True))
    o = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1, momentum=0.9)
    o.add_param_group({"params": [torch.zeros(1, requires_grad=True)], "lr": 1.0})
    (a + b).backward()
    o.step()
    r = [a, b, [g["lr"] for g in o.param_groups], [g["momentum"] for g in o.param_groups]]
    o.zero_grad()
    r.append(a.grad)
    (a * 2).backward()
    o.zero_grad(set_to_none=False)
    r.append(a.grad)
    """,
    """
    import torch.nn as nn

    p = [nn.Parameter(torch.ones(2) * 3)]
    p[0].grad = torch.tensor([3.0, 4.0])
    r = [
        nn.utils.clip_grad_norm_(p, 1.0),
        p[0].grad,
        nn.utils.clip_grad_norm_(p[0], 10.0, norm_type=float("inf")),
    ]
    nn.utils.clip_grad_value_(p, 0.5)
    r.append(p[0].grad)
    r.append(nn.utils.parameters_to_vector(p))
    nn.utils.vector_to_parameters(torch.zeros(2), p)
    r.append(p[0].data)
    """,
    """
    import torch.nn as nn

    r = [
        nn.init.calculate_gain("relu"),
        nn.init.calculate_gain("leaky_relu", 0.2),
        nn.init.calculate_gain("tanh"),
        nn.init.constant_(torch.empty(2), 3.0),
        nn.init.ones_(torch.empty(2)),
        nn.init.zeros_(torch.empty(2)),
        nn.init.eye_(torch.empty(2, 3)),
        nn.init.xavier_uniform_(torch.empty(3, 2)).shape,
        nn.init.kaiming_normal_(torch.empty(3, 2), mode="fan_out", nonlinearity="relu").shape,
        nn.init.normal_(torch.empty(2), 0, 0.01).shape,
        nn.init.uniform_(torch.empty(2), -1, 1).shape,
        nn.init.orthogonal_(torch.empty(3, 3)).shape,
        nn.init.trunc_normal_(torch.empty(9), std=0.02).abs().max() < 0.1 if 0 else 1,
        nn.init.sparse_(torch.empty(4, 4), 0.5).eq(0).sum(),
    ]
    """,
    """
    from torch.utils.data import (
        TensorDataset,
        DataLoader,
        random_split,
        Subset,
        ConcatDataset,
        Dataset,
        IterableDataset,
    )

    d = TensorDataset(torch.arange(10.0), torch.arange(10))
    r = [
        len(d),
        d[3],
        [[b.tolist() for b in bb] for bb in DataLoader(d, batch_size=4)],
        [len(x) for x in DataLoader(d, batch_size=4, drop_last=True)],
        len(DataLoader(d, 4)),
        [len(s) for s in random_split(d, [7, 3])],
        [len(s) for s in random_split(d, [0.5, 0.5], generator=torch.Generator().manual_seed(1))],
        Subset(d, [1, 2])[1],
        len(ConcatDataset([d, d])),
        len(d + d),
    ]
    """,
    """
    from torch.utils.data import DataLoader

    dl = DataLoader(
        [{"x": torch.ones(2) * i, "y": i, "s": str(i), "t": (i, float(i))} for i in range(4)], batch_size=2
    )
    r = [b for b in dl]
    r.append(dl.batch_size)
    r.append(len(dl.dataset))
    """,
    """
    from torch.utils.data import DataLoader

    dl = DataLoader(
        list(range(5)),
        batch_size=2,
        shuffle=True,
        collate_fn=lambda b: sorted(b),
        num_workers=0,
        pin_memory=False,
        drop_last=False,
    )
    r = sorted(sum([b for b in dl], []))
    """,
    """
    from torch.utils.data import DataLoader

    r = [b for b in DataLoader([np.ones(2, dtype=np.float32), np.zeros(2, dtype=np.float32)], batch_size=2)]
    r += [b for b in DataLoader([1.5, 2.5], batch_size=2)]
    r += [b for b in DataLoader([(1, torch.ones(1)), (2, torch.zeros(1))], 2)]
    r += [b for b in DataLoader(torch.arange(4).view(2, 2), batch_size=None)]
    x, y = next(iter(DataLoader([(torch.ones(2), 3)], batch_size=1)))
    r += [x, y]
    """,
    """
    x = torch.ones(2, requires_grad=True)
    y = x.detach()
    y[0] = 5
    r = [x, y, y.requires_grad]
    """,
    """
    x = torch.ones(2, requires_grad=True)
    y = x * 2
    y.backward(torch.tensor([1.0, 2.0]))
    r = x.grad
    """,
    """
    x = torch.ones(2, requires_grad=True)
    z = torch.ones(2, requires_grad=True)
    r = torch.autograd.grad(x.sum(), [x, z], allow_unused=True)
    """,
    """
    x = torch.ones(2, requires_grad=True)
    r = torch.autograd.functional.jacobian(lambda t: t**2, x)
    r = [
        r,
        torch.autograd.functional.hessian(lambda t: (t**3).sum(), x),
        torch.autograd.functional.vjp(lambda t: t**2, x, torch.ones(2)),
        torch.autograd.functional.jvp(lambda t: t**2, x, torch.ones(2)),
    ]
    """,
    """
    x = torch.ones(2, requires_grad=True)
    y = x.clone()
    x.requires_grad = False
    r = [x.requires_grad, y.requires_grad]
    """,
    """
    x = torch.ones(2, requires_grad=True)
    y = x * 2
    r = y.grad
    """,
    """
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x[x > 1].sum() + x[[0, 0]].sum() + x[0]
    y.backward()
    r = x.grad
    """,
    """
    a = torch.ones(3, requires_grad=True)
    b = torch.zeros(3)
    b[1:] = a[:2] * 2
    b[0] = a[2]
    b.pow(2).sum().backward()
    r = [a.grad, b]
    """,
    """
    a = torch.ones(3, requires_grad=True)
    b = a * 1
    c = b[:2]
    c *= 3
    b.sum().backward()
    r = [a.grad, b, c]
    """,
    """
    a = torch.ones(3, requires_grad=True)
    l = []
    for i in range(3):
        l.append(a * i)
    s = torch.stack(l).sum(0)
    (s * s).sum().backward()
    r = a.grad
    """,
    """
    a = torch.ones(3, requires_grad=True)
    b = a**2
    a.data[0] = 10
    b.sum().backward()
    r = a.grad
    """,
    """
    w = torch.ones(2, 2, requires_grad=True)
    x = torch.ones(2)
    h = torch.relu(w @ x)
    h2 = h.clone()
    h2[h2 > 1] = 0
    r = [h2]
    (h2.sum() + h.sum()).backward()
    r.append(w.grad)
    """,
    """
    x = torch.arange(6.0).view(2, 3).requires_grad_()
    x.max(dim=1)[0].sum().backward()
    r = x.grad
    y = torch.tensor([1.0, 1.0, 0.0], requires_grad=True)
    y.max().backward()
    r = [r, y.grad]
    z = torch.tensor([1.0, 1.0, 0.0], requires_grad=True)
    torch.max(z, torch.zeros(3)).sum().backward()
    r.append(z.grad)
    q = torch.zeros(2, requires_grad=True)
    q.abs().sum().backward()
    r.append(q.grad)
    k = torch.zeros(2, requires_grad=True)
    k.norm().backward()
    r.append(k.grad)
    s = torch.zeros(2, requires_grad=True)
    s.relu().sum().backward()
    r.append(s.grad)
    c = torch.tensor([0.0, 1.0], requires_grad=True)
    c.clamp(0, 1).sum().backward()
    r.append(c.grad)
    u = torch.tensor([1.0, 1.0, 1.0], requires_grad=True)
    u.sort()[0][0].backward()
    r.append(u.grad)
    v = torch.tensor([0.0, 4.0], requires_grad=True)
    v.sqrt().sum().backward()
    r.append(v.grad)
    p = torch.tensor([0.0, 2.0], requires_grad=True)
    p.prod().backward()
    r.append(p.grad)
    """,
    """
    torch.set_printoptions(precision=2, sci_mode=False)
    print(torch.tensor([1.23456, 1e-08]))
    torch.set_printoptions(profile="default")
    print(torch.tensor([1.23456, 1e-08]), torch.rand(3, 100).shape, torch.arange(12).view(3, 4).tolist())
    """,
    """
    from torch.utils.checkpoint import checkpoint

    x = torch.ones(2, requires_grad=True)
    y = checkpoint(lambda t: (t * 2).exp(), x, use_reentrant=False)
    y.sum().backward()
    r = [y, x.grad]
    """,
    """
    with torch.autograd.graph.save_on_cpu():
        x = torch.ones(2, requires_grad=True)
        y = (x * x).sum()
    y.backward()
    r = x.grad
    """,
    """
    import torch.nn.functional as F

    with __import__("warnings").catch_warnings(record=True) as w:
        __import__("warnings").simplefilter("always")
        F.mse_loss(torch.ones(2, 1), torch.ones(2))
        r = [len(w), w[0].category.__name__]
    """,
    """
    from torch import Tensor, nn, optim
    from torch.nn import Module, Parameter, functional as F
    from torch.nn.utils import clip_grad_norm_
    from torch.optim import Adam, lr_scheduler
    from torch.optim.lr_scheduler import LambdaLR, _LRScheduler, LRScheduler
    from torch.optim import Optimizer
    from torch.nn.modules import Linear
    from torch.nn.modules.loss import _Loss
    from torch.nn.parameter import Parameter as P2
    from torch.utils import data
    from torch.utils.data.sampler import SubsetRandomSampler
    from torch.utils.data.dataset import Dataset
    from torch.utils.data.dataloader import DataLoader
    from torch.autograd import Variable, Function, grad

    r = [Variable(torch.ones(1), requires_grad=True), P2 is Parameter]
    """,
    """
    class MySGD(torch.optim.Optimizer):
        def __init__(self, params, lr=0.001):
            super().__init__(params, dict(lr=lr))

        @torch.no_grad()
        def step(self, closure=None):
            loss = None
            if closure is not None:
                with torch.enable_grad():
                    loss = closure()
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is None:
                        continue
                    state = self.state[p]
                    if len(state) == 0:
                        state["step"] = 0
                        state["buf"] = torch.zeros_like(p, memory_format=torch.preserve_format)
                    state["step"] += 1
                    state["buf"].mul_(0.9).add_(p.grad)
                    p.add_(state["buf"], alpha=-group["lr"])
            return loss


    p = torch.nn.Parameter(torch.ones(2))
    o = MySGD([p], lr=0.1)
    for _ in range(3):
        o.zero_grad()
        (p**2).sum().backward()
        o.step()
    r = [p, o.state_dict(), o.param_groups[0]["lr"]]
    """,
    """
    class Warm(torch.optim.lr_scheduler._LRScheduler):
        def __init__(self, opt, n, last_epoch=-1):
            self.n = n
            super().__init__(opt, last_epoch)

        def get_lr(self):
            return [b * min(1, (self.last_epoch + 1) / self.n) for b in self.base_lrs]


    o = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
    s = Warm(o, 4)
    r = []
    for _ in range(6):
        o.step()
        r.append(s.get_last_lr())
        s.step()
    """,
    """
    import io

    b = io.BytesIO()
    torch.save({"a": torch.ones(2), "n": 3, "l": [1, 2.5, "x"]}, b)
    b.seek(0)
    r = torch.load(b, weights_only=False)
    """,
    """
    import torch.nn as nn


    class A(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("b", torch.ones(1))
            self.register_buffer("c", torch.ones(1), persistent=False)
            self.w = nn.Parameter(torch.zeros(2))
            self.register_parameter("n", None)

        def forward(self, x, scale=1.0, *, add=0):
            return x * scale + add + self.w

        def extra_repr(self):
            return "hello=1"


    a = A()
    r = [
        str(a),
        list(a.state_dict()),
        a(torch.ones(2), scale=2.0, add=1),
        a.n,
        [n for n, _ in a.named_buffers()],
    ]
    a.b = torch.zeros(3)
    r.append(a.state_dict()["b"])
    a.to(torch.float64)
    r.append([a.b.dtype, a.c.dtype, a.w.dtype])
    """,
    """
    x = torch.randn(3, 4)
    r = [
        x.mean().item() == x.sum().item() / 12 or abs(x.mean().item() - x.sum().item() / 12) < 1e-06,
        torch.randn(2, 3).numpy().shape,
        x.tolist().__class__.__name__,
    ]
    """,
    """
    x = torch.arange(10)
    r = [
        x[-3:],
        x[:-1],
        x[::3],
        x[torch.tensor(3)],
        x[None, :, None].shape,
        x[..., None].shape,
        x[5:2],
        x[100:],
        x[True].shape if 0 else 0,
        x[x % 2 == 0],
        x[(x > 2) & (x < 5) | (x == 9)],
        x[~(x > 2)],
    ]
    """,
    """
    x = torch.zeros(2, 3, 4)
    x[:, 1] = torch.arange(4.0)
    x[0, ..., -1] = 7
    x[1, [0, 2], :2] = torch.tensor([[1.0, 2], [3, 4]])
    x[x == 7] = torch.tensor(8.0)
    x[torch.tensor([0]), torch.tensor([1])] += 1
    x[:, :, 1:2] *= 2
    x[(x > 3).nonzero(as_tuple=True)] = -1
    r = x
    """,
    """
    x = torch.zeros(3)
    x[[0, 0]] += 1
    r = [x]
    y = torch.zeros(3)
    y.index_put_((torch.tensor([0, 0]),), torch.ones(2), accumulate=True)
    r.append(y)
    x[0] = True
    x[1] = 2
    x[2] = np.float64(3.5)
    r.append(x)
    z = torch.zeros(3, dtype=torch.long)
    z[0] = 2.7
    r.append(z)
    z[:2] = torch.tensor([1.9, 2.9])
    r.append(z)
    """,
    """
    x = torch.zeros(2, 2)
    x[:] = 1
    x[0, :] = torch.tensor([[5.0, 6.0]])
    x[...] = x.clone() * 2
    r = x
    """,
    """
    x = torch.tensor([1.0, 2.0])
    x.add_(1).mul_(2).sub_(0.5).div_(2).pow_(2).sqrt_().neg_().abs_().clamp_(0, 2).round_()
    x.exp_().log_()
    x.sigmoid_()
    x.tanh_()
    x.zero_()
    x.fill_(3)
    x.copy_(torch.tensor([1.0, 2]))
    x.masked_fill_(x > 1, 0.0)
    x.lerp_(torch.ones(2), 0.5)
    x.addcmul_(x, x, value=0.1)
    x.addcdiv_(x, x, value=0.1)
    x.floor_()
    x.ceil_()
    x.unsqueeze_(0)
    x.squeeze_(0)
    x.t_()
    x.relu_()
    x.reciprocal_()
    x.erf_()
    x.sin_()
    x.cos_()
    x.sign_()
    x.trunc_()
    x.frac_()
    r = x
    """,
    """
    r = [
        torch.ones(2).add(1, alpha=2),
        torch.add(torch.ones(2), torch.ones(2), alpha=0.5),
        torch.sub(torch.ones(2), 1),
        torch.mul(torch.ones(2), 3),
        torch.div(torch.ones(2), 2),
        torch.true_divide(torch.ones(2), 2),
        torch.pow(2, torch.ones(2)),
        torch.rsub(torch.ones(2), 3),
        torch.square(torch.ones(2) * 3),
        torch.exp2(torch.ones(2)),
        torch.log2(torch.ones(2)),
        torch.log10(torch.ones(2)),
        torch.erf(torch.ones(2)),
        torch.rsqrt(torch.ones(2)),
        torch.expm1(torch.ones(2)),
        torch.log1p(torch.ones(2)),
        torch.addcmul(torch.ones(2), torch.ones(2), torch.ones(2), value=2),
        torch.remainder(torch.tensor([-3.0, 3]), 2),
        torch.trunc(torch.tensor([-1.5])),
        torch.frac(torch.tensor([1.5])),
        torch.round(torch.tensor([0.5, 1.5, 2.55]), decimals=1),
        torch.round(torch.tensor([0.5, 1.5, 2.5])),
        torch.maximum(torch.ones(2), torch.zeros(2)),
        torch.bitwise_and(torch.tensor([3]), torch.tensor([1])),
        torch.logical_xor(torch.tensor([True]), torch.tensor([True])),
        torch.eq(torch.ones(1), 1),
        torch.ne(torch.ones(1), 1),
        torch.ge(torch.ones(1), 1),
    ]
    """,
    """
    r = torch.complex64 if 0 else 1
    """,
    """
    from torch.testing import assert_close

    assert_close([torch.ones(2), {"a": 1.0}], [torch.ones(2) + 1e-07, {"a": 1.0}])
    assert_close(torch.ones(2), torch.ones(2) + 0.1, rtol=0.2, atol=0)
    assert_close(float("nan"), float("nan"), equal_nan=True)
    assert_close(np.ones(2), np.ones(2))
    assert_close(torch.tensor([1]), torch.tensor([1.0]), check_dtype=False)
    r = 1
    """,
    """
    try:
        torch.testing.assert_close(torch.tensor([float("nan"), 1.0]), torch.tensor([1.0, 1.0]))
    except AssertionError as e:
        r = str(e)
    """,
    """
    r = [
        torch.special.expit(torch.zeros(1)),
        torch.special.logit(torch.tensor([0.5])),
        torch.jit.is_scripting(),
        torch.special.softmax(torch.ones(2), 0),
    ]
    """,
    """
    from torch.types import Number, Device


    class M(torch.nn.Module):
        @torch.jit.ignore
        def a(self):
            return 1

        @torch.jit.unused
        def b(self):
            return 2

        @torch.jit.export
        def c(self):
            return 3

        @torch.jit.ignore(drop=True)
        def d(self):
            return 4


    m = M()
    r = [m.a(), m.b(), m.c(), m.d()]
    """,
    """
    r = isinstance(torch.strided, torch.layout)
    """,
    """
    def f(
        x: torch.Tensor,
        fmt: torch.memory_format = torch.contiguous_format,
        lay: torch.layout = torch.strided,
        d: torch.device = None,
        t: torch.dtype = None,
    ) -> torch.Tensor:
        return x


    r = f(torch.ones(1))
    """,
    """
    x = torch.ones(2) * np.float64(2) / np.sqrt(3) + np.float32(1)
    r = [x, np.float64(2) * torch.ones(2, dtype=torch.half), torch.ones(2).clamp(min=np.float64(1.5))]
    """,
    """
    from torch.autograd import Variable

    x = Variable(torch.ones(2), requires_grad=True)
    (x * 2).sum().backward()
    r = [x.grad, isinstance(x, Variable), Variable(torch.ones(1)).requires_grad]
    """,
    """
    from torch.nn.modules.loss import _Loss, _WeightedLoss
    from torch.nn.modules.batchnorm import _BatchNorm, BatchNorm1d
    import torch.nn.modules.linear
    from torch.nn.modules import Linear, Module
    from torch.nn.parameter import Parameter
    from torch.utils.data.sampler import SubsetRandomSampler
    from torch.utils.data.dataset import Dataset, random_split
    from torch.utils.data.dataloader import DataLoader
    from torch.optim.optimizer import Optimizer
    from torch.autograd.function import Function
    from torch.utils.checkpoint import checkpoint
    from torch.nn.utils.rnn import pad_sequence

    r = [issubclass(Linear, Module), issubclass(BatchNorm1d, _BatchNorm)]
    """,
    """
    r = [
        torch.tensor([1, 2]) << 1,
        torch.tensor([-5]) >> 1,
        1 << torch.tensor([2]),
        torch.relu_(torch.tensor([-1.0])),
        torch.nn.functional.relu_(torch.tensor([-1.0])),
    ]
    """,
    """
    import torch.distributed as dist

    r = dist.is_available() and dist.is_initialized()
    """,
    """
    a = torch.ones(2, 3, 4).transpose(0, 1).contiguous()
    r = [a.is_contiguous(), a.view(3, 8).shape, a.stride()]
    """,
    """
    r = [
        torch.ones(2, 3).sum(axis=1, keepdims=True),
        torch.ones(2, 3).mean(axis=0),
        torch.argmax(torch.eye(2), axis=1),
        torch.cat([torch.ones(1, 1)] * 2, axis=1),
        torch.stack([torch.ones(1)] * 2, axis=0),
        torch.zeros(1).add(1, out=torch.empty(1)) if 0 else torch.add(torch.ones(1), 1, out=torch.empty(1)),
        torch.matmul(torch.ones(1, 1), torch.ones(1, 1), out=torch.empty(1, 1)),
        torch.ones(2, 3).max(axis=1).values,
        torch.ones(2, 3).argmax(axis=0),
        torch.softmax(torch.ones(2, 3), axis=-1) if 0 else 1,
    ]
    """,
    """
    r = [
        torch.block_diag(),
        torch.vander(torch.ones(2), 0).shape,
        torch.xlogy(torch.zeros(1), torch.zeros(1)),
        torch.combinations(torch.arange(3), 0),
        torch.tensor(2.0).cummin(0),
        torch.heaviside(torch.zeros(1), torch.tensor([3.0])),
        torch.scatter_reduce(torch.tensor(1.0), 0, torch.tensor(0), torch.tensor(2.0), "sum"),
    ]
    """,
    """
    r = [
        torch.scatter_reduce(
            torch.tensor([1, 5, 2]), 0, torch.tensor([0, 0, 1]), torch.tensor([4, 6, 9]), k, include_self=q
        )
        for k in ("amax", "amin", "prod", "mean")
        for q in (True, False)
    ]
    """,
    """
    import torch.nn as nn


    class EncoderDecoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(2)])
            self.cls = nn.Parameter(torch.zeros(1, 1, 2))

        def forward(self, x):
            B = x.shape[0]
            x = torch.cat([self.cls.expand(B, -1, -1), x], dim=1)
            for i, l in enumerate(self.layers):
                x = l(x) + x
            return x[:, 0]


    m = EncoderDecoder()
    r = [m(torch.ones(3, 2, 2)).shape, len(m.layers), [n for n, _ in m.named_parameters()]]
    """,
    """
    x = torch.arange(12.0).view(3, 4)
    r = [
        x.var(dim=1, keepdim=True),
        x.std(0, correction=0),
        torch.var_mean(x, dim=1),
        torch.std_mean(x),
        x.mean((0, 1)),
        x.amax(),
        x.aminmax(dim=1),
        x.logsumexp(1),
        x.cumprod(1),
        x.prod(1),
        x.all(),
        x.count_nonzero(),
        x.nansum(),
        torch.trace(x[:, :3]),
        x.kthvalue(2, dim=1),
        x.median(dim=1),
        torch.tensor([True, False]).any(),
    ]
    """,
    """
    x = torch.randn(2, 3, requires_grad=True)
    y = x.view(-1)[::2]
    z = y.reshape(-1, 1).expand(-1, 3).contiguous()
    z.sum().backward()
    r = x.grad
    """,
    """
    p = [torch.ones(2, requires_grad=True)]
    for t in p:
        t.grad = torch.ones_like(t)
    total = torch.norm(torch.stack([torch.norm(t.grad.detach(), 2.0) for t in p]), 2.0)
    r = total
    """,
    """
    x = torch.ones(2, requires_grad=True)
    x.grad = None
    (x * 2).sum().backward()
    g = x.grad
    (x * 3).sum().backward()
    r = [g, x.grad, g is x.grad]
    """,
    """
    x = torch.ones(2, requires_grad=True)
    y = x * 2
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    r = x.grad
    """,
    """
    x = torch.tensor(2.0, requires_grad=True)
    y = x**3
    y.backward(create_graph=True)
    r = [x.grad, x.grad.requires_grad]
    x.grad.detach_() if 0 else None
    """,
    """
    x = torch.arange(6)
    r = [
        x.reshape(2, -1),
        x.view(3, 2).t().reshape(-1),
        x.unflatten(0, (2, 3)),
        x.tensor_split(4),
        x.split([1, 2, 3]),
        x.chunk(4),
        x.take(torch.tensor([0, 5])),
        x.index_select(0, torch.tensor([1, 1])),
        x.masked_select(x > 3),
        torch.where(x > 2, x, -x),
        torch.take_along_dim(x.view(2, 3), torch.tensor([[0], [2]]), dim=1),
        x.view(2, 3).flip([0, 1]),
        x.view(2, 3).roll((1, 1), (0, 1)),
        x.view(2, 3).rot90(),
        torch.hstack([x, x]),
        torch.vstack([x, x]),
        torch.dstack([x, x]).shape,
        torch.column_stack([x, x]).shape,
        x.expand(2, 6),
        x.broadcast_to(2, 6),
        torch.broadcast_tensors(x, torch.ones(2, 1))[1].shape,
        x.squeeze(),
        x[None].squeeze(0),
        torch.atleast_2d(x).shape,
        torch.movedim(torch.ones(2, 3, 4), (0, 1), (1, 2)).shape,
        torch.swapaxes(torch.ones(2, 3), 0, 1).shape,
        torch.ravel(torch.ones(2, 2)),
        x.diag().shape,
        x.diff(),
        x.tile(2),
        x.view(2, 3).repeat(1, 2),
        x.view(2, 3).repeat_interleave(2, dim=0),
        x.tril if 0 else 0,
    ]
    """,
    """
    r = [
        torch.empty(0).sum(),
        torch.empty(0).mean(),
        torch.empty(0, 3).sum(0),
        torch.empty(0).prod(),
        torch.cat([torch.empty(0), torch.ones(1)]),
        torch.empty(2, 0).view(0, 2).shape,
        torch.zeros(0, 3) @ torch.zeros(3, 2),
        torch.zeros(2, 0) @ torch.zeros(0, 2),
        torch.stack([]) if 0 else 0,
        torch.empty(0).numel(),
        torch.empty(0).tolist(),
        torch.zeros(0, dtype=torch.long).max() if 0 else 0,
    ]
    """,
    """
    x = torch.ones(4, 4)
    x[1:3, 1:3].fill_(0)
    x[0].mul_(2)
    x.diagonal().zero_()
    x.view(-1)[0] = 9
    x.t()[3] = 5
    x[:, 0].copy_(torch.arange(4.0))
    torch.add(x, 1, out=x)
    x.data.mul_(2)
    r = x
    """,
    """
    x = torch.arange(4.0).requires_grad_()
    y = x.clone()
    y[y > 1] = 0
    y.view(2, 2)[0] *= 3
    y.sum().backward()
    r = [x.grad, y]
    """,
    """
    x = torch.ones(3, requires_grad=True)
    y = x.expand(2, 3).clone()
    y[0].add_(x)
    y[1] = y[0] * 2
    y.sum().backward()
    r = x.grad
    """,
    """
    a = torch.ones(2, requires_grad=True)
    b = a.unbind()
    r = [b[0].requires_grad]
    (b[0] * 3 + b[1]).backward()
    r.append(a.grad)
    """,
    """
    x = torch.ones(1, 3, requires_grad=True)
    y = torch.ones(2, 1, requires_grad=True)
    (x * y).sum().backward()
    r = [x.grad, y.grad]
    """,
    """
    x = torch.rand(3, 3, dtype=torch.float64, requires_grad=True)
    r = [
        torch.autograd.gradcheck(lambda t: torch.softmax(t, 1), x),
        torch.autograd.gradgradcheck(lambda t: t.tanh(), x),
    ]
    """,
    """
    torch.manual_seed(0)
    a = torch.rand(3)
    torch.manual_seed(0)
    b = torch.rand(3)
    r = torch.equal(a, b)
    """,
    """
    with torch.no_grad():
        x = torch.ones(1, requires_grad=True)
        y = x * 2
        with torch.enable_grad():
            z = x * 2
    r = [x.requires_grad, y.requires_grad, z.requires_grad]
    """,
    """
    class A(torch.nn.Module):
        def forward(self, x, *, mask=None, **kw):
            return (x if mask is None else x * mask, kw)


    r = A()(torch.ones(2), mask=torch.zeros(2), foo=1)
    """,
    """
    m = torch.nn.Linear(2, 1)
    opt = torch.optim.SGD(m.parameters(), lr=0.1)
    x, y = (torch.ones(4, 2), torch.ones(4, 1))
    with torch.no_grad():
        m.weight.fill_(0.1)
        m.bias.zero_()
    for e in range(3):
        pred = m(x)
        loss = torch.nn.functional.mse_loss(pred, y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        print(f"epoch {e + 1}, loss {loss.item():.6f}", loss)
    print(m.weight, m.bias, list(m.parameters()), dict(m.state_dict()))
    r = [m.weight.grad]
    """,
    """
    print(
        torch.tensor([[0.1, 100.0], [0.0001, 3]]),
        torch.tensor([1, -2]),
        torch.tensor([1.0, float("nan")]),
        torch.zeros(3, 0),
        torch.ones(2, dtype=torch.float16),
        torch.tensor([1e-08]),
        torch.tensor(1e20),
        torch.arange(30).view(5, 6).float() / 7,
        torch.full((1001,), 0.5),
        torch.randn(2, 2, requires_grad=True).shape,
        torch.nn.Parameter(torch.ones(1)),
        torch.ones(1, requires_grad=True).sum(),
        [torch.tensor(1.0), torch.tensor(2)],
        {"a": torch.tensor([1])},
        torch.Size([]),
        torch.ones(1)[0].shape,
        torch.finfo(torch.float32),
        torch.iinfo(torch.int8),
    )
    """,
    """
    x = torch.ones(3, requires_grad=True)
    x.sum().backward()
    del x.grad
    r = x.grad
    """,
    """
    x = torch.arange(4.0).requires_grad_()
    y = x.where(x > 1, -1.0)
    y.sum().backward()
    r = [y, x.grad, torch.arange(3).where(torch.tensor([True, False, True]), torch.tensor(0.5))]
    """,
    """
    r = torch.repeat_interleave(torch.tensor([1, 0, 3]))
    """,
    """
    r = [
        torch.tensor(-1, dtype=torch.uint8),
        torch.full((2,), -255, dtype=torch.uint8),
        torch.ones(2, dtype=torch.uint8).fill_(-1),
        torch.ones(2, dtype=torch.int8).masked_fill(torch.tensor([True, False]), 2.5),
        torch.tensor([1e6], dtype=torch.float16),
        torch.tensor([1e50, -1e50, 1e-50]),
        torch.tensor(1e50),
        torch.tensor(np.array([300, -1]), dtype=torch.uint8),
        torch.tensor([0.3, float("nan"), 0.0], dtype=torch.bool),
    ]
    x = torch.ones(2, dtype=torch.uint8)
    x[0] = -1
    y = torch.ones(2, dtype=torch.float16)
    y[:1] = -1e9
    r += [x, y]
    """,
    """
    with torch.autograd.detect_anomaly(check_nan=False):
        r = [torch.is_anomaly_enabled()]
    r.append(torch.is_anomaly_enabled())
    """,
]

REFUSED = [
    ("RuntimeError", "torch.tensor(256, dtype=torch.uint8)"),
    ("RuntimeError", "torch.tensor([1, -256], dtype=torch.uint8)"),
    ("RuntimeError", "torch.tensor([[1.0, float('nan')]], dtype=torch.int64)"),
    ("RuntimeError", "torch.tensor([np.int64(300)], dtype=torch.uint8)"),
    ("RuntimeError", "torch.ones(2, dtype=torch.int8).fill_(128)"),
    ("RuntimeError", "torch.ones(2, dtype=torch.int8).masked_fill_(torch.tensor([True, False]), 1e3)"),
    ("RuntimeError", "torch.ones(2).fill_(1e50)"),
    ("RuntimeError", "torch.zeros(4, dtype=torch.float16).masked_fill(torch.ones(4) > 0, -1e9)"),
    ("RuntimeError", "torch.nn.functional.pad(torch.ones(2, dtype=torch.int8), (1, 1), value=300)"),
    ("RuntimeError", "x = torch.ones(2, dtype=torch.int32)\nx[0] = float('inf')"),
    (
        "RuntimeError",
        """
    x = torch.tensor([1, 2, 3])
    r = x.mean()
    """,
    ),
    (
        "ValueError",
        """
    r = torch.tensor([[1, 2], [3]])
    """,
    ),
    (
        "RuntimeError",
        """
    x = torch.ones(3, requires_grad=True)
    x += 1
    """,
    ),
    (
        "RuntimeError",
        """
    x = torch.ones(3, requires_grad=True)
    y = (x * 2).sum()
    y.backward()
    y.backward()
    """,
    ),
    (
        "RuntimeError",
        """
    x = torch.ones(3, requires_grad=True)
    y = (x**2).sum()
    y.backward()
    y.backward()
    """,
    ),
    (
        "RuntimeError",
        """
    x = torch.ones(3, requires_grad=True)
    y = x * 2
    y.backward()
    """,
    ),
    (
        "RuntimeError",
        """
    x = torch.ones(3)
    x.sum().backward()
    """,
    ),
    (
        "TypeError",
        """
    x = torch.tensor([1.0, 2.0])
    r = f"{x:.2f}"
    """,
    ),
    (
        "IndexError",
        """
    x = torch.arange(3)
    r = x[3]
    """,
    ),
    (
        "IndexError",
        """
    x = torch.arange(3)
    r = x[[5]]
    """,
    ),
    (
        "RuntimeError",
        """
    x = torch.zeros(2, 3)
    x[0] = torch.zeros(4)
    """,
    ),
    (
        "RuntimeError",
        """
    a = torch.zeros(2, 3)
    b = torch.zeros(4, 3)
    a + b
    """,
    ),
    (
        "RuntimeError",
        """
    a = torch.zeros(2, 3)
    b = torch.zeros(4, 3)
    a @ b
    """,
    ),
    (
        "RuntimeError",
        """
    a = torch.zeros(2, 3)
    a.view(4, 2)
    """,
    ),
    (
        "RuntimeError",
        """
    a = torch.zeros(2, 3).t()
    a.view(-1)
    """,
    ),
    (
        "RuntimeError",
        """
    r = bool(torch.tensor([1, 2]))
    """,
    ),
    (
        "RuntimeError",
        """
    x = torch.ones(2, requires_grad=True)
    r = x.numpy()
    """,
    ),
    (
        "RuntimeError",
        """
    a = torch.ones(2, requires_grad=True)
    b = a.exp()
    b.add_(1)
    b.sum().backward()
    """,
    ),
    (
        "RuntimeError",
        """
    a = torch.arange(3)
    a /= 2
    """,
    ),
    (
        "RuntimeError",
        """
    a = torch.arange(3)
    a += 1.5
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.linalg.norm(torch.ones(2, 2, 2), 1)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.linalg.norm(torch.ones(2).long())
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.linalg.matrix_norm(torch.ones(2))
    """,
    ),
    (
        "TypeError",
        """
    r = torch.linalg.vector_norm(torch.ones(2), "fro")
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.linalg.matrix_norm(torch.ones(2, 2), 7)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.linalg.multi_dot([torch.ones(2)])
    """,
    ),
    (
        "TypeError",
        """
    r = torch.Tensor(3.5)
    """,
    ),
    (
        "ValueError",
        """
    r = torch.ones(2).type("torch.FooTensor")
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(2).quantile(1.5)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(2).long().quantile(0.5)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(2).quantile(0.5, interpolation="x")
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.is_nonzero(torch.ones(2))
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(4, 5).hsplit(2)
    """,
    ),
    (
        "RuntimeError",
        """
    torch.zeros(2, 3, 4).fill_diagonal_(1)
    """,
    ),
    (
        "TypeError",
        """
    import torch.nn as nn

    m = nn.Linear(2, 2)
    m.weight = torch.ones(2, 2)
    """,
    ),
    (
        "AttributeError",
        """
    import torch.nn as nn


    class M(nn.Module):
        def __init__(self):
            self.l = nn.Linear(1, 1)


    M()
    """,
    ),
    (
        "NotImplementedError",
        """
    import torch.nn as nn


    class M(nn.Module):
        pass


    M()(torch.ones(1))
    """,
    ),
    (
        "RuntimeError",
        """
    import torch.nn as nn

    m = nn.Linear(3, 2)
    m(torch.ones(2, 2))
    """,
    ),
    (
        "AttributeError",
        """
    import torch.nn as nn

    nn.Linear(2, 2).foo
    """,
    ),
    (
        "IndexError",
        """
    import torch.nn as nn

    nn.Embedding(4, 3)(torch.tensor([4]))
    """,
    ),
    (
        "RuntimeError",
        """
    import torch.nn as nn

    nn.Embedding(4, 3)(torch.tensor([1.5]))
    """,
    ),
    (
        "IndexError",
        """
    import torch.nn as nn

    nn.CrossEntropyLoss()(torch.ones(2, 3), torch.tensor([0, 3]))
    """,
    ),
    (
        "RuntimeError",
        """
    import torch.nn as nn

    nn.CrossEntropyLoss()(torch.ones(2, 3), torch.tensor([0.0, 1.0]))
    """,
    ),
    (
        "ValueError",
        """
    import torch.nn as nn

    nn.CrossEntropyLoss()(torch.ones(2, 3), torch.tensor([0, 1, 2]))
    """,
    ),
    (
        "RuntimeError",
        """
    import torch.nn as nn

    nn.BCELoss()(torch.tensor([1.5]), torch.tensor([1.0]))
    """,
    ),
    (
        "ValueError",
        """
    import torch.nn as nn

    nn.BCELoss()(torch.tensor([[0.5]]), torch.tensor([1.0]))
    """,
    ),
    (
        "ValueError",
        """
    import torch.nn as nn

    nn.BCEWithLogitsLoss()(torch.tensor([[0.5]]), torch.tensor([1.0]))
    """,
    ),
    (
        "ValueError",
        """
    import torch.nn as nn

    b = nn.BatchNorm1d(2)
    b(torch.ones(1, 2))
    """,
    ),
    (
        "RuntimeError",
        """
    import torch.nn as nn

    b = nn.BatchNorm1d(2)
    b(torch.ones(2, 3))
    """,
    ),
    (
        "ValueError",
        """
    import torch.nn as nn

    nn.Dropout(1.5)
    """,
    ),
    (
        "ValueError",
        """
    import torch.optim as optim

    optim.SGD([], lr=0.1)
    """,
    ),
    (
        "ValueError",
        """
    import torch.optim as optim

    optim.SGD([torch.ones(2)], lr=-1)
    """,
    ),
    (
        "TypeError",
        """
    import torch.optim as optim

    optim.SGD(torch.ones(2), lr=1)
    """,
    ),
    (
        "ValueError",
        """
    import torch.optim as optim

    optim.SGD([torch.ones(2, requires_grad=True) * 2], lr=1)
    """,
    ),
    (
        "ValueError",
        """
    import torch.optim as optim

    a = torch.ones(1, requires_grad=True)
    optim.SGD([{"params": [a]}, {"params": [a]}], lr=0.1)
    """,
    ),
    (
        "RuntimeError",
        """
    x = torch.ones(2, requires_grad=True)
    y = x * 2
    y.backward(gradient=torch.ones(3))
    """,
    ),
    (
        "RuntimeError",
        """
    x = torch.ones(2, requires_grad=True)
    z = torch.ones(2, requires_grad=True)
    torch.autograd.grad(x.sum(), z)
    """,
    ),
    (
        "RuntimeError",
        """
    x = torch.ones(2, dtype=torch.long, requires_grad=True)
    """,
    ),
    (
        "RuntimeError",
        """
    x = torch.ones(2, requires_grad=True)
    y = x * 2
    y.requires_grad = False
    """,
    ),
    (
        "RuntimeError",
        """
    a = torch.ones(3, requires_grad=True)
    b = a**2
    with torch.no_grad():
        a[0] = 10
    b.sum().backward()
    """,
    ),
    (
        "RuntimeError",
        """
    with torch.autograd.detect_anomaly():
        x = torch.tensor([-1.0], requires_grad=True)
        x.sqrt().backward()
    """,
    ),
    (
        "IndexError",
        """
    r = torch.zeros(3)[torch.tensor([0.5])]
    """,
    ),
    (
        "TypeError",
        """
    r = torch.zeros(3)["a"]
    """,
    ),
    (
        "IndexError",
        """
    r = torch.zeros(3)[0, 0]
    """,
    ),
    (
        "IndexError",
        """
    r = torch.zeros(3)[torch.tensor([True, False])]
    """,
    ),
    (
        "ValueError",
        """
    r = torch.arange(5)[::-1]
    """,
    ),
    (
        "AssertionError",
        """
    torch.testing.assert_close(torch.ones(2), torch.tensor([1.0, 1.1]))
    """,
    ),
    (
        "AssertionError",
        """
    torch.testing.assert_close(torch.ones(2), torch.ones(3))
    """,
    ),
    (
        "AssertionError",
        """
    torch.testing.assert_close(torch.ones(2), torch.ones(2).double())
    """,
    ),
    (
        "TypeError",
        """
    torch.testing.assert_close(torch.ones(2), 1.0)
    """,
    ),
    (
        "AssertionError",
        """
    torch.testing.assert_close([1, 2], [1])
    """,
    ),
    (
        "AssertionError",
        """
    torch.testing.assert_close({"a": 1}, {"b": 1})
    """,
    ),
    (
        "AssertionError",
        """
    torch.testing.assert_close(1, 2)
    """,
    ),
    (
        "ValueError",
        """
    torch.testing.assert_close(torch.ones(2), torch.ones(2), rtol=1)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.block_diag(torch.ones(2, 2, 2))
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.cartesian_prod(torch.ones(2, 2))
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.combinations(torch.ones(2, 2))
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.combinations(torch.ones(2), -1)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(4).unfold(0, 5, 1)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(4).unfold(0, 2, 0)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(3).fill_diagonal_(1)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(2, 3).select_scatter(torch.zeros(3), 1, 0)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(2).scatter_reduce(0, torch.tensor([0]), torch.ones(1), "foo")
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(2).scatter_reduce(0, torch.tensor([0]), torch.ones(1).long(), "sum")
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(2, 3).sum_to_size(4, 3)
    """,
    ),
    (
        "IndexError",
        """
    r = torch.ones(2).put(torch.tensor([0, 1]), torch.ones(3))
    """,
    ),
    (
        "TypeError",
        """
    r = torch.isin(1, 2)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.searchsorted(torch.ones(2, 3), torch.ones(3, 3))
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.searchsorted(torch.ones(2), torch.ones(3), right=True, side="left")
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.bucketize(torch.ones(2), torch.ones(2, 2))
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.histc(torch.ones(2), 0)
    """,
    ),
    (
        "NotImplementedError",
        """
    r = torch.histc(torch.ones(2).long(), 3)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.histc(torch.ones(2), 3, 2, 1)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.tensor([]).quantile(0.5)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(2).quantile(torch.ones(1, 1))
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(2).quantile(torch.ones(1).double())
    """,
    ),
    (
        "IndexError",
        """
    r = torch.ones(0, 2).mode(0)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.cov(torch.ones(2, 2, 2))
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.cov(torch.ones(2, 2), fweights=torch.tensor([1]))
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.diff(torch.tensor(1.0))
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.diff(torch.ones(2), -1)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.cross(torch.ones(2, 2), torch.ones(2, 2), dim=1)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(4).vsplit(2)
    """,
    ),
    (
        "TypeError",
        """
    losses = torch.stack([torch.tensor(i * 1.0) for i in range(3)])
    r = [
        losses.mean(),
        sum([torch.tensor(1.0), torch.tensor(2.0)]),
        max(torch.tensor(1.0), torch.tensor(2.0)),
        min([torch.tensor(3), torch.tensor(1)]),
        sorted([torch.tensor(3), torch.tensor(1)]),
        abs(torch.tensor(-1)),
        round(torch.tensor(1.6)),
        divmod(torch.tensor(7), 2) if 0 else 0,
        torch.tensor(5) // 2,
        math.sqrt(torch.tensor(4.0)),
        math.floor(torch.tensor(1.5)),
        int(torch.tensor(2.9)),
        np.float32(torch.tensor(1.5)),
        float(torch.tensor([[2.0]])),
        hash(torch.tensor(1)) is not None,
        len(torch.ones(3)),
        list(torch.arange(3)),
        tuple(torch.arange(2)),
        [*torch.arange(2)],
        dict(a=torch.ones(1)),
        str(torch.tensor([])),
        repr(torch.tensor(True)),
        "x" * torch.tensor(2),
        [0] * torch.tensor(2),
        list(range(3))[torch.tensor(1) :],
        1 if torch.tensor(0) else 2,
        torch.tensor(3) == 3,
        torch.tensor(3) is not None,
        not torch.tensor(0),
        torch.tensor(1) and 5,
        isinstance(torch.tensor(1).item(), int),
    ]
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.empty(0).max()
    """,
    ),
    (
        "IndexError",
        """
    r = torch.empty(0).argmax()
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.stack([])
    """,
    ),
    (
        "ValueError",
        """
    r = torch.cat([])
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.cat([torch.ones(2, 2), torch.ones(3, 3)])
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.stack([torch.ones(2), torch.ones(3)])
    """,
    ),
    (
        "TypeError",
        """
    r = torch.ones(2) + "a"
    """,
    ),
    (
        "TypeError",
        """
    r = torch.ones(2) + None
    """,
    ),
    (
        "TypeError",
        """
    r = torch.ones(2) + [1, 2]
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.zeros(-1)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(2, 3).reshape(4)
    """,
    ),
    (
        "IndexError",
        """
    r = torch.ones(2, 3).sum(5)
    """,
    ),
    (
        "IndexError",
        """
    r = torch.ones(2).squeeze(3)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(2).expand(3)
    """,
    ),
    (
        "IndexError",
        """
    r = torch.ones(2, 3).transpose(0, 5)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(2, 3).permute(0, 0)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(2).gather(0, torch.tensor([5]))
    """,
    ),
    (
        "IndexError",
        """
    r = torch.ones(2).index_select(0, torch.tensor([9]))
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(3).topk(5)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(2).item()
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.mm(torch.ones(2), torch.ones(2))
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.bmm(torch.ones(1, 2, 3), torch.ones(1, 2, 3))
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.einsum("ij,jk", torch.ones(2, 3), torch.ones(2, 3))
    """,
    ),
    (
        "TypeError",
        """
    r = torch.tensor("a")
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.tensor([None])
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.tensor({"a": 1})
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(2).to("nope")
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.randint(5, 2, (1,))
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.arange(0, 1, -1)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.multinomial(torch.ones(2), 3)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.normal(0.0, -1.0, (2,))
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.nn.functional.one_hot(torch.tensor([3]), 2)
    """,
    ),
    (
        "TypeError",
        """
    r = torch.nn.functional.relu(3)
    """,
    ),
    (
        "TypeError",
        """
    r = torch.ones(2, 3).max(1, 2, 3, 4)
    """,
    ),
    (
        "TypeError",
        """
    r = torch.sum()
    """,
    ),
    (
        "AttributeError",
        """
    r = torch.ones(2).foo()
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.masked_select(torch.ones(2), torch.ones(2))
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.where(torch.ones(2), 1, 2)
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(2).long().exp_()
    """,
    ),
    (
        "RuntimeError",
        """
    r = torch.ones(2).int().add_(0.5)
    """,
    ),
    (
        "IndexError",
        """
    r = torch.ones(3)[:, 0]
    """,
    ),
    (
        "RuntimeError",
        """
    x = torch.ones(2, requires_grad=True)
    x.numpy()
    """,
    ),
    (
        "RuntimeError",
        """
    x = torch.ones(2, requires_grad=True)
    x[0] = 1
    """,
    ),
    (
        "RuntimeError",
        """
    x = torch.ones(2, requires_grad=True)
    (x * 2).sum().backward()
    x.grad = torch.ones(3)
    """,
    ),
    (
        "RuntimeError",
        """
    x = torch.ones(2, requires_grad=True)
    y = x.exp()
    y.mul_(2)
    y.sum().backward()
    """,
    ),
    (
        "RuntimeError",
        """
    import torch.nn as nn

    nn.Linear(2, 2).load_state_dict({"weight": torch.ones(3, 3), "bias": torch.ones(2)})
    """,
    ),
    (
        "TypeError",
        """
    import torch.nn as nn

    nn.Linear("a", 2)
    """,
    ),
    (
        "TypeError",
        """
    import torch.nn as nn

    nn.Sequential(nn.Linear(2, 2), "x")
    """,
    ),
    (
        "TypeError",
        """
    import torch.nn as nn

    nn.ModuleList([1])
    """,
    ),
    (
        "KeyError",
        """
    import torch.nn as nn

    nn.Module().register_buffer("a.b", torch.ones(1))
    """,
    ),
    (
        "TypeError",
        """
    import torch.nn as nn

    m = nn.Module()
    m.register_parameter("p", torch.ones(1))
    """,
    ),
    (
        "RuntimeError",
        """
    import torch.nn as nn

    nn.Parameter(torch.ones(2).long())
    """,
    ),
    (
        "ValueError",
        """
    import torch.nn as nn

    nn.MSELoss(reduction="foo")(torch.ones(1), torch.ones(1))
    """,
    ),
    (
        "ValueError",
        """
    from torch.utils.data import random_split

    random_split([1, 2, 3], [1, 1])
    """,
    ),
    (
        "ValueError",
        """
    from torch.utils.data import DataLoader

    DataLoader([1], batch_size=0)
    """,
    ),
    (
        "ValueError",
        """
    from torch.utils.data import DataLoader

    DataLoader([1, 2], shuffle=True, sampler=[0])
    """,
    ),
    (
        "RuntimeError",
        """
    from torch.utils.data import DataLoader

    list(DataLoader([torch.ones(1), torch.ones(2)], batch_size=2))
    """,
    ),
    (
        "ValueError",
        """
    import torch.optim as optim

    o = optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1)
    optim.lr_scheduler.OneCycleLR(o, max_lr=1)
    """,
    ),
    (
        "ValueError",
        """
    import torch.optim as optim

    o = optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1)
    s = optim.lr_scheduler.OneCycleLR(o, max_lr=1, total_steps=2)
    o.step()
    s.step()
    s.step()
    s.step()
    """,
    ),
    (
        "ValueError",
        """
    import torch.optim as optim

    o = optim.Adam([torch.ones(1, requires_grad=True)])
    o.load_state_dict({"state": {}, "param_groups": []})
    """,
    ),
]
