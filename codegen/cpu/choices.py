"""Which form of a kernel is taken where several compute the same."""
from dataclasses import dataclass, field


@dataclass
class Choices:
    """`taken`: {key of a shape: form} of kernels that were timed; `offered` gathers all forms of each key, the most promising first."""
    taken: dict[str, tuple] = field(default_factory=dict)
    offered: dict[str, list[tuple]] = field(default_factory=dict)

    def take(self, key: str, forms: list[tuple]) -> tuple:
        """The form to use: the one that was found to be fastest, else the most promising."""
        self.offered[key] = forms
        found = tuple(self.taken.get(key, ()))
        return found if found in forms else forms[0]
