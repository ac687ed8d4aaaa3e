"""Exponential moving averages of parameters."""
import torch


class Average:
    """a <- d a + (1 - d) p after each step, with d = min(decay, (1 + steps) / (10 + steps)): early steps are soon forgotten."""

    def __init__(self, parameters: list[torch.nn.Parameter], decay: float):
        self.parameters, self.decay, self.steps = parameters, decay, 0
        self.values = [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def follow(self) -> None:
        self.steps += 1
        d = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for a, p in zip(self.values, self.parameters):
            a.lerp_(p, 1 - d)

    @torch.no_grad()
    def take(self) -> None:
        """The parameters become their averages."""
        for a, p in zip(self.values, self.parameters):
            p.copy_(a)

    def state_dict(self) -> dict: return {"steps": self.steps, "values": self.values}

    def load_state_dict(self, state: dict) -> None:
        self.steps = state["steps"]
        for a, v in zip(self.values, state["values"]):
            a.copy_(v)
