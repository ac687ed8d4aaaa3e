"""What capture refuses, and the one line that says why and what to do."""
import pytest
import torch
from ir import UserError
from test_capture import Fn
from torch import nn

from quant import capture


class Sub(nn.Module):
    """`f` inside a module of a name, to see the path in the message."""

    def __init__(self, f):
        super().__init__()
        self.encoder = Fn(f)

    def forward(self, x): return self.encoder(x)


REFUSALS = {
    "op": (lambda x: x.cumsum(1), r"^unsupported op aten.cumsum at 'encoder' \(test_capture.py:\d+\): supported are .*\bconv2d\b"),
    "batch mixed": (lambda x: x.reshape(-1), r"^aten.reshape at 'encoder' .*mixes the batch with another axis"),
    "batch moved": (lambda x: x.transpose(0, 1) + 1, r"works on a value whose batch axis was moved; it must stay the first, or come back$"),
    "batch last": (lambda x: x.t(), r"^net: its output has the batch as axis 1; it must be the first$"),
    "batch summed": (lambda x: x.mean(0), r"works along the batch axis; samples must stay apart$"),
    "control flow": (lambda x: x if x.sum() > 0 else -x, r"torch.export cannot capture it: .*the same ops whatever the values"),
    "does not run": (lambda x: x @ torch.ones(7, 7),
                     r"does not run on an input of shape \(1, 4\): RuntimeError: .*; check that the data fits"),
    "two outputs": (lambda x: (x, x + 1), r"has 2 outputs; exactly one is supported"),
    "constant output": (lambda x: torch.ones(3), r"its output does not depend on its input$"),
    "table": (lambda x: x + torch.arange(16.).view(4, 4), r"a constant of shape \(4, 4\) with a value of shape"),
    "power": (lambda x: x ** 3, r"only the square$"),
    "division": (lambda x: 1 / x, r"aten.reciprocal at 'encoder'"),
    "integers": (lambda x: x.long() + 1, r"a cast between integers and floats inside the model"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(case):
    f, message = REFUSALS[case]
    with pytest.raises(UserError, match=message) as e:
        capture(Sub(f), torch.randn(1, 4), name="net")
    assert "\n" not in str(e.value)


MODULE_REFUSALS = {
    "average": (nn.AvgPool2d(3, 1, 1, count_include_pad=False),
                r"aten.avg_pool2d at .*count_include_pad=False with padding; set count_include_pad=True"),
    "adaptive": (nn.AdaptiveAvgPool2d(3), r"from \(8, 8\) to \(3, 3\); each output size must divide its input size$"),
    "mode": (nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), r"mode 'circular'; only 'constant'$"),
    "no statistics": (nn.BatchNorm2d(2, track_running_stats=False), r"batch norm in training mode"),
    "elu": (nn.ELU(0.5), r"alpha=0.5; only alpha=1$"),
    "bilinear": (nn.Bilinear(2, 2, 2), r"^net: forward takes 2 inputs \(input1, input2\); only one is supported, wrap the model$"),
}


@pytest.mark.parametrize("case", MODULE_REFUSALS)
def test_module_refusals(case):
    model, message = MODULE_REFUSALS[case]
    with pytest.raises(UserError, match=message):
        capture(model, torch.randn(1, 2, 8, 8), name="net")


@pytest.mark.parametrize("bad", ["nan", "inf"])
def test_weights_are_finite(bad):
    model = nn.Sequential(nn.Linear(3, 2))
    model[0].bias.data[1] = float(bad)
    with pytest.raises(UserError, match=r"^net: parameter '0.bias' holds (NaN|infinite values); train or load the weights again$"):
        capture(model, torch.randn(1, 3), name="net")


def test_bad_statistics():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval()
    model[1].running_var[0] = -1.0
    with pytest.raises(UserError, match=r"at '1'.*: running_var has negative values$"):
        capture(model, torch.randn(1, 3))


def test_nothing_is_printed(capfd):
    with pytest.raises(UserError):
        capture(Fn(lambda x: x if x.sum() > 0 else -x), torch.randn(1, 4))
    assert capfd.readouterr() == ("", "")


def test_an_op_that_export_takes_apart_is_named():
    with pytest.raises(UserError, match=r"^unsupported op aten.cosine_similarity \(its part aten.linalg_vector_norm\) at '1' .*: supported are"):
        capture(nn.Sequential(nn.Linear(3, 2), Fn(lambda x: torch.cosine_similarity(x, x + 1))), torch.randn(1, 3))


def test_an_example_holds_a_sample():
    with pytest.raises(UserError, match=r"^Linear: an example of shape \(0, 3\) holds no sample; give at least one, batch axis first$"):
        capture(nn.Linear(3, 2), torch.zeros(0, 3))


def test_foreign_things_are_refused():
    with pytest.raises(UserError, match=r"^dict: a torch.nn.Module or a torch.export program is needed, not dict$"):
        capture({}, torch.zeros(1))
