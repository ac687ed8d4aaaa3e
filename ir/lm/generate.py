"""Text by the graph itself: slow, and what every backend is compared with."""
from collections.abc import Iterator

import numpy as np

from ..errors import UserError
from ..interpret import run
from .expand import step_graph
from .program import Program
from .sample import GREEDY, Sampler, draw


def zero_states(p: Program) -> dict[str, np.ndarray]:
    """The states before the first token, as inputs of `step_graph`."""
    return {f"layers.{n}.attn.before": np.zeros((1, 1, p.dim), np.int64) for n in range(len(p.layers))}


class Stepper:
    """The model token by token: `step(token)` gives all values of the graph by name, each without its axes of samples and tokens."""

    def __init__(self, p: Program):
        self.program, self.graph, self.states = p, step_graph(p), zero_states(p)

    def step(self, token: int) -> dict[str, np.ndarray]:
        """UserError: a token out of the vocabulary."""
        if not 0 <= token < self.program.tokens:
            raise UserError(f"token {token} is out of the vocabulary of {self.program.tokens}")
        values = run(self.graph, {"tokens": np.array([[token]])} | self.states, keep=True)
        self.states = {n: values[n.removesuffix("before") + "state"] for n in self.states}
        return {n: v[0, 0] for n, v in values.items() if v.ndim == 3}


def generate(p: Program, prompt: list[int], count: int, sampler: Sampler = GREEDY, watch=None) -> Iterator[int]:
    """`count` tokens after a prompt, one by one.  watch(token, values) is called after each step of the graph.

    UserError: no prompt, tokens out of the vocabulary, more candidates than tokens.
    """
    if not prompt or count < 1:
        raise UserError(f"{count} tokens after a prompt of {len(prompt)}; give at least one of each")
    if sampler.k > p.tokens:
        raise UserError(f"top-k of {sampler.k} from a vocabulary of {p.tokens}; take at most that")
    stepper, state, values = Stepper(p), sampler.seed, {}
    for token in prompt:
        values = advance(stepper, token, watch)
    for left in range(count, 0, -1):
        token, state = draw(values["lm_head"], int(values["lm_head.factor"][0]), p.head.shift, sampler, state, p.words.gate)
        yield token
        if left > 1:
            values = advance(stepper, token, watch)


def advance(stepper: Stepper, token: int, watch) -> dict[str, np.ndarray]:
    values = stepper.step(token)
    if watch:
        watch(token, values)
    return values
