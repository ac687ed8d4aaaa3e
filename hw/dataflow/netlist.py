"""A design as data: streams, instances of library modules, memory files."""
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Stream:
    """A ready/valid stream of `count` elements a frame, `lanes` of `width` bits a beat; its data wires may be another's."""
    name: str
    lanes: int
    width: int
    signed: bool
    count: int
    data: str = ""

    @property
    def beats(self) -> int:
        """Beats a frame."""
        return self.count // self.lanes

    @property
    def bits(self) -> int:
        """Width of a beat."""
        return self.lanes * self.width

    @property
    def wires(self) -> str: return self.data or f"{self.name}_data"


@dataclass(frozen=True)
class Bits:
    """A parameter of a given width: unsigned ones are printed in hexadecimal, signed ones in decimal."""
    width: int
    value: int
    signed: bool = False


@dataclass(frozen=True)
class Name:
    """A parameter that is passed on by name."""
    text: str


@dataclass(frozen=True)
class Instance:
    """One library module.  A port prefix maps to a stream, or to a list of them for a vector of streams (stream 0 lowest)."""
    module: str
    name: str
    params: dict[str, int | str | Bits]
    ins: dict[str, Stream | list[Stream]]
    outs: dict[str, Stream | list[Stream]]


@dataclass
class Netlist:
    """Streams by name, instances in the order of the flow, memory files by name; `inputs` and `output` are the design's own.

    values: node -> the stream of its value, of nodes that have one of their own.
    """
    streams: dict[str, Stream] = field(default_factory=dict)
    instances: list[Instance] = field(default_factory=list)
    mems: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, Stream] = field(default_factory=dict)
    output: Stream | None = None
    values: dict[str, Stream] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def unique(self, name: str) -> str:
        """An identifier like `name` that nothing else has."""
        base = "".join(c if c.isalnum() and c.isascii() else "_" for c in name) or "_"
        base = base if base[0].isalpha() else "n" + base
        new, k = base, 2
        while new in self.taken:
            new, k = f"{base}_{k}", k + 1
        self.taken.add(new)
        return new

    def stream(self, name: str, lanes: int, width: int, signed: bool, count: int, data: str = "") -> Stream:
        s = Stream(self.unique(name), lanes, width, signed, count, data)
        self.streams[s.name] = s
        return s

    def like(self, name: str, s: Stream, **other) -> Stream:
        """A new stream, as `s` is but for `other`."""
        return self.stream(name, **{"lanes": s.lanes, "width": s.width, "signed": s.signed, "count": s.count} | other)

    def add(self, module: str, name: str, params: dict, ins: dict, outs: dict) -> None:
        self.instances.append(Instance(module, self.unique("u_" + name), params, ins, outs))

    def mem(self, name: str, values, width: int) -> str:
        """Keep a memory file of one word a row; row elements go in from the lowest bits.  Returns its name."""
        file = self.unique(name) + ".mem"
        self.mems[file] = words(values, width)
        return file


def words(values, width: int) -> str:
    """(n,) or (n, k) integers -> n lines for $readmemh, each k two's-complement elements of `width` bits, element 0 lowest."""
    a = np.asarray(values)
    a = a.reshape(len(a), -1)
    mask, digits = (1 << width) - 1, -(-a.shape[1] * width // 4)
    lines = []
    for row in a.tolist():
        word = 0
        for v in reversed(row):
            word = word << width | (v & mask)
        lines.append(f"{word:0{digits}x}")
    return "\n".join(lines) + "\n"


def signed_width(a: np.ndarray) -> int:
    """Bits of the narrowest signed word that holds every value."""
    return max(int(a.max()), -int(a.min()) - 1, 0).bit_length() + 1
