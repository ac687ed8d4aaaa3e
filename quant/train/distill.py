"""The loss of a training: labels, a teacher's outputs, a teacher's features."""
import torch
from torch import nn
from torch.nn import functional as F

from ir import UserError
from ..emit import Forward, Value
from ..model import QuantNet
from ..net import Net
from .parallel import all_sum
from .recipe import Recipe


class Student(nn.Module):
    """q as a module whose result is its outputs and the real values of some sites."""

    def __init__(self, q: QuantNet, features: tuple[str, ...] = ()):
        super().__init__()
        self.q = q
        if unknown := [n for n in features if n not in q.net.steps]:
            raise UserError(f"features: the model has no step {unknown[0]!r} (it has {', '.join(q.net.steps)})")
        self.features = {n: q.layout.site_of[n] for n in features}

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        if not self.features:
            return self.q(x), []
        q, taken = self.q, {}
        env = {q.input_name: Value(q.encode(x), q.input_type)}
        before = q.input_name
        for site in q.steps(Forward(), env):
            taken[before] = env[before].data if before in self.features.values() else None
            before = site.name
        taken[before] = env[before].data
        reals = [q.codings[site].decode(taken[site]) for site in self.features.values()]
        return q.decode(env[q.output_name].data), reals


class Teacher:
    """A float net: its outputs, and the values of the steps that a student's features are compared with.

    UserError: features of a teacher that is no captured net of the same steps.
    """

    def __init__(self, model, student: Student):
        self.model, self.steps = model, [student.q.layout.seen_as[site] for site in student.features.values()]
        if self.steps and not (isinstance(model, Net) and all(s in model.steps for s in self.steps)):
            raise UserError("features are compared by the names of steps; distill from the captured float net that was quantized")

    @torch.no_grad()
    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        if not self.steps:
            return self.model(x), []
        env = self.model(x, keep=True)
        return env[self.model.output], [env[s] for s in self.steps]


def loss_of(out: torch.Tensor, labels, taught: torch.Tensor | None, recipe: Recipe) -> torch.Tensor:
    """Cross-entropy with labels and, in the share of `distill_weight`, a teacher's outputs (Hinton et al. 2015); without labels
    the outputs are learned by squared error.  temperature**2 keeps the gradient of kl as large as that of the labels.
    """
    if labels is None:
        return relative_error(out, taught)
    hard = F.cross_entropy(out.reshape(len(out), -1), labels)
    if taught is None:
        return hard
    if recipe.distill_loss == "mse":
        soft = relative_error(out, taught)
    else:
        t = recipe.temperature
        student, wanted = (F.log_softmax(v.reshape(len(v), -1) / t, 1) for v in (out, taught))
        soft = F.kl_div(student, wanted, log_target=True, reduction="batchmean") * t ** 2
    return (1 - recipe.distill_weight) * hard + recipe.distill_weight * soft


def feature_loss(had: list[torch.Tensor], wanted: list[torch.Tensor]) -> torch.Tensor:
    """Mean of the relative errors of the features."""
    return torch.stack([relative_error(h, w) for h, w in zip(had, wanted)]).mean()


def relative_error(had: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Squared error over the variance of what was wanted, that of the whole batch of all processes."""
    v = wanted.double()
    count, total, square = all_sum(torch.stack([v.new_tensor(v.numel()), v.sum(), v.square().sum()]))
    variance = (square / count - (total / count) ** 2).clip(min=1e-12)
    return F.mse_loss(had, wanted) / variance.float()
