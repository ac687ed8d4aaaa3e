"""Captured nets equal the torch modules they come from, and their steps are named by module path."""
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from quant import capture, geometry


pytestmark = pytest.mark.filterwarnings("ignore:.*(dropout2d|padding='same')")


class Fn(nn.Module):
    """A function of the input as a module."""

    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x): return self.f(x)


def shaken(model: nn.Module) -> nn.Module:
    """Every parameter and statistic away from its default, so that a forgotten one shows."""
    g = torch.Generator().manual_seed(0)
    for n, t in [*model.named_parameters(), *model.named_buffers()]:
        if t.is_floating_point():
            t.data = (torch.rand(t.shape, generator=g) + 0.5) if "var" in n else torch.randn(t.shape, generator=g) * 0.5
    return model.eval()


def same(model: nn.Module, *shape: int, x: torch.Tensor | None = None):
    """The captured net, after it was found equal on three samples (captured with one)."""
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1)) if x is None else x
    net = capture(shaken(model), x[:1])
    with torch.no_grad():
        y, z = model(x.clone()), net(x)
    assert y.shape == z.shape
    assert (y - z).abs().max() <= 1e-5 * (1 + y.abs().max())
    return net


class Block(nn.Module):
    """A residual block whose shortcut pads channels with zeros (He et al. 2015, option A)."""

    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.grow = (o - i) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.grow, self.grow)) if self.grow else x
        return F.relu(y + x)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.act = nn.Conv2d(3, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(Block(4, 4, 1), Block(4, 8, 2))
        self.linear = nn.Linear(8, 5)

    def forward(self, x):
        y = self.layer1(self.act(self.bn1(self.conv1(x))))
        return self.linear(F.avg_pool2d(y, y.shape[3]).flatten(1))


RESNET_STEPS = ("input conv1 act layer1.0.conv1 layer1.0.relu layer1.0.conv2 layer1.0.add layer1.0.relu_1 layer1.1.conv1 layer1.1.relu "
                "layer1.1.conv2 layer1.1.slice layer1.1.pad layer1.1.add layer1.1.relu_1 avgpool reshape linear")

MODULES = {  # one line a case: module, shape of a sample, kinds of the steps after the input
    "conv same": (lambda: nn.Conv2d(3, 4, (3, 2), padding="same", dilation=(2, 1)), (3, 9, 8), "conv"),
    "conv valid groups": (lambda: nn.Conv2d(4, 6, 3, (2, 1), groups=2, padding="valid"), (4, 9, 8), "conv"),
    "conv1d": (lambda: nn.Conv1d(3, 4, 3, 2, 2, dilation=2, bias=False), (3, 11), "conv"),
    "conv in": (lambda: nn.Sequential(nn.ZeroPad2d((1, 2, 0, 1)), nn.Conv2d(2, 3, 3, padding=1)), (2, 5, 5), "conv"),
    "conv bn": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.BatchNorm2d(4)), (2, 5, 5), "conv"),
    "conv bn 1d": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4, affine=False)), (2, 5), "conv"),
    "linear bn": (lambda: nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU()), (6,), "linear relu"),
    "bn conv": (lambda: nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, groups=2)), (4, 5, 5), "conv"),
    "bn padded conv": (lambda: nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3, padding=1)), (2, 5, 5), "scale conv"),
    "bn bn relu": (lambda: nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2), nn.ReLU()), (2, 5, 5), "scale relu"),
    "bn linear": (lambda: nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 4, bias=False)), (6,), "linear"),
    "bn over view": (lambda: nn.Sequential(nn.Linear(6, 8), nn.Unflatten(1, (8, 1)), nn.BatchNorm1d(8)), (6,), "linear reshape"),
    "scalar over view": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), Fn(lambda x: x * 3)), (2, 5, 5), "conv reshape"),
    "tokens": (lambda: nn.Sequential(nn.Linear(6, 8), nn.GELU("tanh"), nn.Linear(8, 2)), (5, 6), "linear function linear"),
    "dropout": (lambda: nn.Sequential(nn.Dropout(), nn.Linear(3, 2), nn.Identity(), nn.Dropout2d()), (3,), "linear"),
    "relu6": (lambda: nn.Sequential(nn.ReLU6(), nn.Hardtanh(-2, 1)), (9,), "clip clip"),
    "prelu": (lambda: nn.Sequential(nn.PReLU(), nn.PReLU(4)), (4, 3), "function clip scale relu add"),
    "maxpool": (lambda: nn.MaxPool2d(3, 2, 1), (2, 7, 8), "maxpool"),
    "maxpool ceil": (lambda: nn.MaxPool2d(3, 2, ceil_mode=True), (2, 8, 6), "maxpool"),
    "maxpool 1d": (lambda: nn.MaxPool1d(2), (2, 7), "maxpool"),
    "avgpool pad": (lambda: nn.AvgPool2d((3, 2), 2, 1), (2, 7, 8), "avgpool"),
    "avgpool 1d": (lambda: nn.AvgPool1d(2), (2, 7), "avgpool"),
    "adaptive": (lambda: nn.Sequential(nn.AdaptiveAvgPool2d((4, None)), nn.AdaptiveMaxPool2d(1), nn.Flatten()), (2, 8, 6),
                 "avgpool maxpool reshape"),
    "channels last": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3), Fn(lambda x: x.permute(0, 2, 3, 1)), nn.Flatten(), nn.Linear(36, 4)),
                      (2, 5, 6), "conv reshape linear"),
    "resnet": (ResNet, (3, 8, 8), None),
}
FUNCTIONS = {  # each a line of a forward
    "mean": (lambda x: x.mean((2, 3)), (3, 4, 6), "avgpool reshape"),
    "mean keepdim": (lambda x: x.mean((-1, -2), keepdim=True), (3, 4, 6), "avgpool"),
    "mean tokens": (lambda x: x.mean(1), (5, 4), "transpose avgpool reshape"),
    "sum": (lambda x: x.sum(-1), (5, 4), "avgpool reshape scale"),
    "amax": (lambda x: x.amax((1, 3)), (3, 4, 6), "transpose reshape maxpool reshape"),
    "scalars": (lambda x: 3 - (x * 2 + 1) / 4, (3, 4), "scale"),
    "channel constant": (lambda x: x * torch.tensor([1., 2, 3])[:, None, None] - torch.tensor([4.]), (3, 4, 5), "scale"),
    "sub": (lambda x: x.relu() - x.tanh(), (3, 4), "relu function scale add"),
    "excite": (lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(), (3, 2, 4), "avgpool function concat concat mul"),
    "square": (lambda x: x ** 2, (3,), "mul"),
    "matmul": (lambda x: x @ x.transpose(1, 2), (3, 4), "transpose matmul"),
    "bmm": (lambda x: torch.bmm(x, x.permute(0, 2, 1)), (3, 4), "transpose matmul"),
    "heads": (lambda x: x.view(x.size(0), 5, 2, 3).transpose(1, 2).reshape(-1, 10, 3), (5, 6), "reshape transpose reshape"),
    "slices": (lambda x: x[:, 1:7:2][:, 1:, ..., ::3], (9, 4, 8), "slice"),
    "select": (lambda x: x[:, -1], (3, 4), "slice reshape"),
    "split": (lambda x: torch.cat([p.relu() for p in x.split([1, 3], 1)][::-1], 1), (4, 5), "slice slice relu relu concat"),
    "chunk": (lambda x: x.chunk(2, -1)[1] + x.unbind(2)[0].unsqueeze(2), (3, 4), "slice slice add concat"),
    "glu": (lambda x: F.glu(x, 1), (4, 5), "slice slice function mul"),
    "silu of old": (lambda x: x.sigmoid() * x, (4, 5), "function"),
    "hardswish of old": (lambda x: x * F.relu6(x + 3) / 6, (4, 5), "function"),
    "hardswish gate": (lambda x: x * F.hardsigmoid(x), (4, 5), "function"),
    "gelu of old": (lambda x: 0.5 * x * (1 + torch.erf(x / 2 ** 0.5)), (4, 5), "function"),
    "mish of old": (lambda x: x * torch.tanh(F.softplus(x)), (4, 5), "function"),
    "gelu_tanh of old": (lambda x: 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.044715 * x * x * x))), (4, 5), "function"),
    "gate of another": (lambda x: (x + 1) * x.sigmoid(), (4, 5), "function scale mul"),
    "no grad": (torch.no_grad()(lambda x: x.relu() * 2), (4,), "relu scale"),
    "in place on the input": (lambda x: x.clone() + F.relu_(x), (4,), "relu add"),
    "in place on a view": (lambda x: (x * 2).view(-1, 2, 2).relu_().add_(1).flatten(1), (4,), "scale reshape relu scale reshape"),
    "upsample": (lambda x: F.interpolate(x, scale_factor=(2, 3), mode="nearest"), (2, 3, 4), "reshape concat concat reshape"),
    "upsample 1d": (lambda x: F.interpolate(x, size=8), (2, 4), "reshape concat reshape"),
    "stack": (lambda x: torch.stack([x, x.relu()], 1), (4,), "relu concat reshape"),
    "crop": (lambda x: F.pad(x, (-1, 2, 1, 0), value=1.5), (3, 4, 5), "slice pad"),
    "shuffle": (lambda x: F.channel_shuffle(F.pixel_shuffle(x, 2), 2), (8, 2, 3), "reshape transpose reshape transpose reshape"),
    "in place": (lambda x: F.relu_(x * 1.0).add_(1), (4,), "relu scale"),
    "clamps": (lambda x: x.clamp(min=0).clamp(max=1).clip(0.25, 0.5), (4,), "relu clip clip"),
    "expand": (lambda x: x.unsqueeze(-1).expand(-1, -1, 3), (2,), "reshape concat"),
} | {f: (getattr(F, f), (7,), "function") for f in ("silu", "gelu", "hardswish", "hardsigmoid", "elu", "softplus", "mish", "leaky_relu",
                                                  "selu", "logsigmoid")}


@pytest.mark.parametrize("case", MODULES)
def test_modules(case):
    make, shape, kinds = MODULES[case]
    net = same(make(), *shape)
    assert kinds is None or [s.kind for s in net.steps.values()] == ["input", *kinds.split()]


@pytest.mark.parametrize("case", FUNCTIONS)
def test_functions(case):
    f, shape, kinds = FUNCTIONS[case]
    assert sorted(s.kind for s in same(Fn(f), *shape).steps.values()) == sorted(["input", *kinds.split()])


def test_embedding():
    ids = torch.tensor([[1, 2, 3], [4, 0, 6], [1, 1, 1]])
    net = same(nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 2)), x=ids)
    assert list(net.steps) == ["input", "0", "1"] and net.steps["0"].weight.shape == (7, 4)


def test_names_are_module_paths():
    net = same(ResNet(), 3, 8, 8)
    assert list(net.steps) == RESNET_STEPS.split()
    assert list(net.layers) == ["conv1", "layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1", "layer1.1.conv2", "linear"]
    assert net.output == "linear"


def test_one_module_called_twice():
    layer = nn.Linear(4, 4)
    assert list(same(nn.Sequential(layer, nn.ReLU(), layer), 4).steps) == ["input", "0", "1", "2"]


def test_hash_is_of_structure_and_weights():
    model = shaken(ResNet())
    a, b = (capture(model, torch.randn(n, 3, 8, 8)).hash for n in (1, 4))
    model.linear.bias.data[0] += 1e-3
    c = capture(model, torch.randn(1, 3, 8, 8)).hash
    assert a == b != c and len(a) == 16


def test_a_program_gives_the_net_of_its_module():
    model, x = shaken(ResNet()), torch.randn(2, 3, 8, 8)
    assert capture(torch.export.export(model, (x,))).hash == capture(model, x).hash


def test_the_model_is_left_as_it_was():
    model = ResNet().train()
    model.layer1[0].bn1.eval()
    capture(model, torch.randn(1, 3, 8, 8))
    assert model.training and not model.layer1[0].bn1.training and model.bn1.training


def test_geometry():
    g = geometry(same(nn.Sequential(nn.Conv2d(4, 6, (3, 2), 2, groups=2), nn.Linear(3, 5)), 4, 9, 6))
    assert g["0"].kernel == (3, 2) and g["0"].in_space == (9, 6) and g["0"].out_space == (4, 3) and g["0"].fan_in == 12
    assert g["1"].macs == 6 * 4 * 3 * 5 and g["1"].weights == 15


def test_final_softmax_is_left_out_and_noted():
    net = capture(nn.Sequential(nn.Linear(3, 2), nn.LogSoftmax(1)), torch.randn(1, 3))
    assert list(net.steps) == ["input", "0"]
    assert net.notes == ("the final log_softmax is left out: outputs are logits, predictions are the same",)
