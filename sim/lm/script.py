"""What the driver of a bench is told, and what it tells (see drive.cpp)."""
from dataclasses import dataclass, field
from typing import NamedTuple


class Reg:
    """Addresses of hw/rtl/qs_lm_regs.sv."""
    ID, MODEL, CONTROL, STATUS, TOKENS, K, INVTEMP, SEED, CYCLES, HIGH, PROMPT, MADE, LAST, UNDERRUNS, TAP = range(0x00, 0x3c, 4)
    BASE = 0x40   # and 8 bytes on for each further engine


BUSY, DONE = 1, 2
ERRORS = {1 << 8: "illegal code among the weights", 1 << 9: "the memory answered with an error", 1 << 10: "watchdog: the memory does not answer",
          1 << 11: "token out of the vocabulary"}


class Script:
    """Commands of the driver, line by line."""

    def __init__(self):
        self.lines: list[str] = []

    def add(self, *words) -> "Script":
        self.lines.append(" ".join(str(int(w)) if not isinstance(w, str) else w for w in words))
        return self

    def set(self, **settings: int) -> "Script":
        """seed, often, latency, share, mute, bad: see sv/qs_axi_memory.sv."""
        for name, value in settings.items():
            self.add("set", name, value)
        return self

    def reset(self) -> "Script": return self.add("reset")

    def wait(self, cycles: int) -> "Script": return self.add("wait", cycles)

    def write(self, address: int, value: int) -> "Script": return self.add("write", address, value)

    def base(self, engine: int, address: int) -> "Script":
        """Where an engine's weights stand in the outer memory."""
        return self.write(Reg.BASE + 8 * engine, address & 0xffffffff).write(Reg.BASE + 8 * engine + 4, address >> 32)

    def read(self, *addresses: int) -> "Script":
        for a in addresses:
            self.add("read", a)
        return self

    def prompt(self, tokens, last: bool = True) -> "Script": return self.add("prompt", last, *tokens)

    def drop(self) -> "Script": return self.add("drop")

    def tokens(self, count: int, patience: int) -> "Script": return self.add("tokens", count, patience)

    def until(self, address: int, mask: int, value: int, limit: int) -> "Script": return self.add("until", address, mask, value, limit)

    def run(self, prompt, count: int, patience: int, k: int = 1, inverse: int = 256, seed: int = 1, keep: bool = False) -> "Script":
        """A whole run: a prompt in, `count` tokens out, and the registers that tell of it."""
        self.start(prompt, count, k, inverse, seed, keep).tokens(count, patience).until(Reg.STATUS, BUSY, 0, 1000)
        return self.read(Reg.STATUS, Reg.CYCLES, Reg.HIGH, Reg.PROMPT, Reg.MADE, Reg.LAST, Reg.UNDERRUNS)

    def start(self, prompt, count: int, k: int = 1, inverse: int = 256, seed: int = 1, keep: bool = False) -> "Script":
        """The beginning of a run, of which nothing is waited for."""
        self.write(Reg.TOKENS, count).write(Reg.K, k).write(Reg.INVTEMP, inverse).write(Reg.SEED, seed)
        return self.write(Reg.CONTROL, 1 | 4 * keep).prompt(prompt)


class Token(NamedTuple):
    """A token that came out, and in which cycle."""
    value: int
    last: bool
    cycle: int


@dataclass
class Log:
    """What came since the last reset.

    tokens: made; taken: cycles in which those of the prompt went in; registers: address -> what was read last; reads: all of them, with
    the answer's code; writes: the same; complete: whether every `tokens` and `until` had what it waited for; broken: why the driver gave up.
    """
    tokens: list[Token] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    registers: dict[int, int] = field(default_factory=dict)
    reads: list[tuple[int, int, int]] = field(default_factory=list)
    writes: list[tuple[int, int]] = field(default_factory=list)
    complete: bool = True
    broken: str = ""

    @property
    def status(self) -> int: return self.registers.get(Reg.STATUS, 0)

    @property
    def values(self) -> list[int]: return [t.value for t in self.tokens]


def read_logs(text: str) -> list[Log]:
    """One log for each time from reset to reset; what came before the first is left out."""
    logs: list[Log] = []
    for line in text.splitlines():
        verb, *words = line.split()
        if verb == "reset":
            logs.append(Log())
        elif logs:
            _note(logs[-1], verb, words)
    return logs


def _note(log: Log, verb: str, words: list[str]) -> None:
    if verb == "broken":
        log.broken = " ".join(words)
        return
    n = list(map(int, words))
    match verb:
        case "token":
            log.tokens.append(Token(n[0], bool(n[1]), n[2]))
        case "taken":
            log.taken.append(n[0])
        case "read":
            log.registers[n[0]] = n[1]
            log.reads.append((n[0], n[1], n[2]))
        case "write":
            log.writes.append((n[0], n[1]))
        case "tokens" | "until":
            log.complete &= bool(n[0])
