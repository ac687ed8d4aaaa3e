"""What a simulated core is compared with: the graph of its model, token by token."""
from dataclasses import dataclass

import numpy as np

from ir.lm import Program, Sampler, generate


@dataclass(frozen=True)
class Reference:
    """What the graph says: tokens after the prompt, the values of each step that taps show, and in which steps an answer was wanted."""
    tokens: list[int]
    steps: list[dict[str, np.ndarray]]
    answered: list[bool]


def reference(p: Program, prompt: list[int], count: int, sampler: Sampler, shown: set[str]) -> Reference:
    """Run the graph, token by token; shown: the nodes whose values are kept."""
    steps: list[dict[str, np.ndarray]] = []
    tokens = list(generate(p, prompt, count, sampler, lambda token, values: steps.append({k: v for k, v in values.items() if k in shown})))
    return Reference(tokens, steps, [t >= len(prompt) - 1 for t in range(len(steps))])
