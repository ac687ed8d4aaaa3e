"""Lookups in short tables without memory: a table of bytes lies in vector registers, and one instruction picks a byte for each lane."""
import numpy as np
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..tir import bits, intrinsic, kind_of
from .kernel import Kernel

ENTRIES = 256
VECTOR = 64  # bytes of a register
PICK = "llvm.x86.avx512.vpermi2var.qi.512"  # of the 128 bytes of two registers


def in_registers(k: Kernel, table: np.ndarray, at) -> bool:
    """Whether `looked_up` can be used: AVX-512 VBMI, whole vectors of indices, few entries of at most 32 bits."""
    return k.isa.vbmi and kind_of(at) == ("int32", 16) and len(table) <= ENTRIES + 1 and int(table.max()) - int(table.min()) < 1 << 31


def looked_up(k: Kernel, table: np.ndarray, at, name: str):
    """table[at] as int32 in 16 lanes: the bytes of the entries less the least one, a plane of each; `name` is the node's."""
    if len(table) > ENTRIES:
        first = T.broadcast(k.number((name, "first"), int(table[0]), "int32"), 16)
        return tirx.Select(at < 1, first, looked_up(k, table[1:], at - 1, name))
    least = int(table.min())
    over = (table - least).astype(np.uint32)
    found = None
    for plane in range(-(-int(over.max()).bit_length() // 8)):
        byte = ((over >> np.uint32(8 * plane)) & np.uint32(255)).astype(np.uint8)
        part = bits(picked(k, byte, at) & tirx.const(255, "int32"), "uint32") << tirx.const(8 * plane, "uint32")
        found = part if found is None else found | part
    if found is None:
        return T.broadcast(tirx.const(least, "int32"), 16)
    found = bits(found, "int32")
    return found + k.number((name, "least"), least, "int32") if least else found


def picked(k: Kernel, table: np.ndarray, at):
    """The byte at each index (from -1, where any will do, to 255, one a lane) in the lane's lowest byte; the others are arbitrary."""
    pairs = -(-len(table) // (2 * VECTOR))
    held = k.constant(np.pad(table, (0, pairs * 2 * VECTOR - len(table))).view(np.int8))
    index = T.reinterpret(at, dtype="int8x64")
    halves = []
    for p in range(pairs):
        a, b = (held[T.ramp((2 * p + i) * VECTOR, 1, VECTOR)] for i in range(2))
        halves.append(T.reinterpret(intrinsic(PICK, a, index, b, dtype="int8x64"), dtype="int32x16"))
    return halves[0] if pairs == 1 else tirx.Select(at < 2 * VECTOR, halves[0], halves[1])
