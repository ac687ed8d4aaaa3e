"""Little-endian ELF64 object files and archives of them, as far as linking several compiled graphs into one program takes.

Source: System V ABI, chapter 4 (object files); `ar` as in its chapter 7 with the symbol index of GNU ar.
"""
import struct
from collections.abc import Callable

from ir import UserError

MACHINES = {62: "x86_64", 183: "aarch64"}
SECTION, SYMBOL = struct.Struct("<IIQQQQIIQQ"), struct.Struct("<IBBHQQ")
RELOCATABLE, SYMTAB, LOCAL, HIDDEN, UNDEFINED = 1, 2, 0, 2, 0
EXECUTABLE = 4  # section flag


class Object:
    """A relocatable object: machine, sections, symbols.  UserError: other bytes."""

    def __init__(self, data: bytes):
        self.data = bytearray(data)
        if len(data) < 64 or data[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", data, 16)[0] != RELOCATABLE:
            raise UserError("the compiled graph is not an object file of a 64-bit little-endian ELF machine; compile it for x86_64 or aarch64 Linux")
        number = struct.unpack_from("<H", data, 18)[0]
        self.machine = MACHINES.get(number, f"ELF machine {number}")
        self.table, = struct.unpack_from("<Q", data, 40)
        self.count, = struct.unpack_from("<H", data, 60)
        self.sections = [SECTION.unpack_from(data, self.table + SECTION.size * i) for i in range(self.count)]
        self.symtab = next(s for s in self.sections if s[1] == SYMTAB)
        strings = self.sections[self.symtab[6]]
        self.names = bytes(data[strings[4]:strings[4] + strings[5]])

    @property
    def code_bytes(self) -> int:
        """Machine code in it."""
        return sum(s[5] for s in self.sections if s[2] & EXECUTABLE)

    def symbols(self) -> list[tuple[int, str, tuple]]:
        """(offset in the file, name, fields) of the symbols that a linker sees from outside."""
        places = range(self.symtab[4], self.symtab[4] + self.symtab[5], SYMBOL.size)
        found = [(at, SYMBOL.unpack_from(self.data, at)) for at in places]
        return [(at, self.names[f[0]:self.names.index(0, f[0])].decode(), f) for at, f in found if f[1] >> 4 != LOCAL]

    def renamed(self, new: Callable[[str, bool], str]) -> bytes:
        """The object with its outside symbols as new(name, defined in it?), those defined in it hidden from other libraries of a process."""
        strings = bytearray(self.names)
        for at, name, (_, info, other, section, value, size) in self.symbols():
            hidden = other if section == UNDEFINED else HIDDEN
            SYMBOL.pack_into(self.data, at, len(strings), info, hidden, section, value, size)
            strings += new(name, section != UNDEFINED).encode() + b"\0"
        place = self.table + SECTION.size * self.symtab[6]
        header = list(self.sections[self.symtab[6]])
        header[4], header[5] = len(self.data), len(strings)  # the longer names go to the end of the file
        SECTION.pack_into(self.data, place, *header)
        return bytes(self.data + strings)


def archive(members: dict[str, bytes]) -> bytes:
    """The static library of object files; no times, no owners: equal members give equal bytes."""
    defined = [[n for _, n, f in Object(data).symbols() if f[3] != UNDEFINED] for data in members.values()]
    names = "".join(n + "\0" for d in defined for n in d).encode()
    index_bytes = _even(4 + 4 * sum(map(len, defined)) + len(names))
    at, places, bodies = 8 + 60 + index_bytes, [], []
    for name, data in members.items():
        bodies.append(_member(f"{name}/", data))
        places.append(at)
        at += len(bodies[-1])
    offsets = [p for p, d in zip(places, defined) for _ in d]
    index = struct.pack(f">I{len(offsets)}I", len(offsets), *offsets) + names
    return b"!<arch>\n" + _member("/", index.ljust(index_bytes, b"\0")) + b"".join(bodies)


def _member(name: str, data: bytes) -> bytes:
    if len(name) > 16:
        raise ValueError(f"{name!r}: a member's name has up to 15 letters")
    head = f"{name:<16}{0:<12}{0:<6}{0:<6}{'644':<8}{len(data):<10}`\n".encode()
    return head + data.ljust(_even(len(data)), b"\n")


def _even(n: int) -> int: return n + n % 2
