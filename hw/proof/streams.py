"""What watches the streams of a module: the rules of a handshake, and frame for frame what comes out of it."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import z3

from .unroll import View

STAYS = "a beat once offered stays, unchanged, until it is taken"
RIGHT = "every beat is the one defined: none lost, doubled, invented, or out of order"
ROOM = "streams are never further apart than the beats that fit inside"
AHEAD = 3  # bits of a frame's number, beyond what the module can hold


@dataclass(frozen=True)
class Side:
    """One stream at the edge of a module: a frame of `beats` beats of `bits` bits."""
    name: str                # s, m, or m[1] of a vector of streams
    beats: int
    bits: int
    wires: tuple[str, str, tuple[str, ...]]  # valid, ready, the wires of the data from the lowest bits

    def _one(self, v: View, wire: str) -> z3.BoolRef:
        e = v[wire]
        return e if z3.is_bool(e) else z3.Extract(self.index, self.index, e) == 1

    @property
    def index(self) -> int: return int(self.name.split("[")[1][:-1]) if "[" in self.name else 0

    def valid(self, v: View) -> z3.BoolRef: return self._one(v, self.wires[0])

    def ready(self, v: View) -> z3.BoolRef: return self._one(v, self.wires[1])

    def fires(self, v: View) -> z3.BoolRef: return z3.And(self.valid(v), self.ready(v))

    def data(self, v: View) -> z3.BitVecRef:
        parts = [v.vector(w) for w in reversed(self.wires[2])]
        whole = z3.Concat(*parts) if len(parts) > 1 else parts[0]
        if whole.size() == self.bits:
            return whole
        return z3.Extract((self.index + 1) * self.bits - 1, self.index * self.bits, whole)


@dataclass(frozen=True)
class Claim:
    """A module and what its streams mean: frame(beats of a frame of each input) -> beats of a frame of the output(s).

    given: what is known of a beat of an input; holds: frames that the module can hold at most, from above.
    """
    ins: Sequence[Side]
    outs: Sequence[Side]
    frame: Callable[[list[list[z3.BitVecRef]]], list[z3.BitVecRef]]
    given: Mapping[str, Callable[[z3.BitVecRef], z3.BoolRef]] = field(default_factory=dict)
    holds: int = 6

    @property
    def sides(self) -> list[Side]: return [*self.ins, *self.outs]


class Streams:
    """Counts the frames and beats of every stream, and follows all frames whose number is `marked` modulo 2**width.

    `marked` is any number, so this is every frame; its beats are kept as they go in and compared as they come out.
    Assumed: the inputs keep the handshake's rule.
    """

    def __init__(self, claim: Claim):
        self.claim, self.width = claim, claim.holds.bit_length() + AHEAD - 1
        self.ghosts = {"marked": self.width}
        for s in claim.sides:
            self.ghosts |= {f"frame.{s.name}": self.width, f"held.{s.name}": 1, f"kept.{s.name}": max(s.bits, 2)}
            if s.beats > 1:
                self.ghosts[f"beat.{s.name}"] = s.beats.bit_length() + 1
        for s in claim.ins:
            self.ghosts |= {f"in.{s.name}.{b}": max(s.bits, 2) for b in range(s.beats)}

    def first(self):
        return {n: {"frame": 0, "beat": 0, "held": False}.get(n.split(".")[0]) for n in self.ghosts}

    def assume(self, v: View):
        out = [self._kept(v, s) for s in self.claim.ins]
        for s in self.claim.ins:
            if known := self.claim.given.get(s.name):
                out += [known(s.data(v)), *(known(_cut(v.ghost[f"in.{s.name}.{b}"], s.bits)) for b in range(s.beats))]
        return out + [z3.ULT(v.ghost[f"beat.{s.name}"], s.beats) for s in self.claim.sides if s.beats > 1]

    def step(self, v: View):
        new = {}
        for s in self.claim.sides:
            fires, waits, data = s.fires(v), z3.And(s.valid(v), z3.Not(s.ready(v))), _pad(s.data(v))
            frame, last = v.ghost[f"frame.{s.name}"], self._at(v, s, s.beats - 1)
            new[f"frame.{s.name}"] = z3.If(z3.And(fires, last), frame + 1, frame)
            new[f"held.{s.name}"] = waits
            new[f"kept.{s.name}"] = z3.If(waits, data, v.ghost[f"kept.{s.name}"])
            if s.beats > 1:
                beat = v.ghost[f"beat.{s.name}"]
                new[f"beat.{s.name}"] = z3.If(fires, z3.If(last, z3.BitVecVal(0, beat.size()), beat + 1), beat)
        for s in self.claim.ins:
            here = z3.And(s.fires(v), v.ghost[f"frame.{s.name}"] == v.ghost["marked"])
            for b in range(s.beats):
                new[f"in.{s.name}.{b}"] = z3.If(z3.And(here, self._at(v, s, b)), _pad(s.data(v)), v.ghost[f"in.{s.name}.{b}"])
        return new

    def check(self, v: View):
        ins = [[self._beat(v, s, b) for b in range(s.beats)] for s in self.claim.ins]
        want = self.claim.frame(ins)
        right = [z3.Implies(z3.And(s.valid(v), v.ghost[f"frame.{s.name}"] == v.ghost["marked"], self._at(v, s, b)), s.data(v) == w)
                 for s in self.claim.outs for b, w in enumerate(want)]
        first = v.ghost[f"frame.{self.claim.outs[0].name}"]
        far = (1 << self.width - 1) - 1
        near = [z3.And(d < far, d > -far) for s in self.claim.sides for d in [v.ghost[f"frame.{s.name}"] - first]]
        return {STAYS: z3.And([self._kept(v, s) for s in self.claim.outs]), RIGHT: z3.And(right), ROOM: z3.And(near)}

    def taken(self, v: View, s: Side, b: int) -> z3.BoolRef:
        """That beat b of the marked frame of input s is inside, or has been."""
        past = v.ghost[f"frame.{s.name}"] - v.ghost["marked"]
        return z3.Or(past > 0, z3.And(past == 0, z3.UGT(v.ghost[f"beat.{s.name}"], b))) if s.beats > 1 else past > 0

    def _beat(self, v: View, s: Side, b: int) -> z3.BitVecRef:
        """Beat b of the marked frame, as it was taken or as it is just offered."""
        offered = z3.And(s.valid(v), v.ghost[f"frame.{s.name}"] == v.ghost["marked"], self._at(v, s, b))
        return z3.If(offered, s.data(v), _cut(v.ghost[f"in.{s.name}.{b}"], s.bits))

    def _kept(self, v: View, s: Side) -> z3.BoolRef:
        return z3.Implies(v.ghost[f"held.{s.name}"], z3.And(s.valid(v), _pad(s.data(v)) == v.ghost[f"kept.{s.name}"]))

    def _at(self, v: View, s: Side, b: int) -> z3.BoolRef:
        return v.ghost[f"beat.{s.name}"] == b if s.beats > 1 else z3.BoolVal(True)


def _pad(e: z3.BitVecRef) -> z3.BitVecRef:
    """At least two bits: a ghost of one is a Bool."""
    return z3.ZeroExt(1, e) if e.size() == 1 else e


def _cut(e: z3.BitVecRef, bits: int) -> z3.BitVecRef: return z3.Extract(bits - 1, 0, e)
