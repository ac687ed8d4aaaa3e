"""Tensors by name from a folder of a published checkpoint: safetensors or torch files, in one piece or in shards, read one at a time."""
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ir import UserError

SAFE, TORCH = "model.safetensors", "pytorch_model.bin"
TYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}
MOST = 100 << 20  # bytes of the header of a safetensors file, as its own library has it


def tensors(folder: Path) -> dict[str, Callable[[], torch.Tensor]]:
    """What reads each tensor of a checkpoint, by name; its numbers stay in the file until they are used.

    UserError: no weights, a shard that is missing, a file that is damaged, a tensor in two files.
    """
    for name, read in ((SAFE, safetensors), (TORCH, torch_file)):
        if (folder / name).is_file():
            return read(folder / name)
        if (folder / f"{name}.index.json").is_file():
            return _shards(folder, f"{name}.index.json", read)
    raise UserError(f"{folder}: no weights; expected {SAFE}, {TORCH}, or their shards with an index.json")


def _shards(folder: Path, index: str, read: Callable) -> dict:
    places = document(folder / index).get("weight_map")
    if not isinstance(places, dict):
        raise UserError(f"{folder / index}: no weight_map, so it says not where the tensors are")
    found = {}
    for name in sorted(set(places.values())):
        if Path(name).name != name:
            raise UserError(f"{folder / index}: shard {name!r} is not a file beside it")
        shard = read(folder / name)
        if twice := sorted(found.keys() & shard.keys()):
            raise UserError(f"{folder / name}: {twice[0]} is in another shard, too")
        found |= shard
    if missing := sorted(places.keys() - found.keys()):
        raise UserError(f"{folder / index}: {missing[0]} is in no shard")
    return found


def document(path: Path) -> dict:
    """A JSON object.  UserError: cannot be read, or is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise UserError(f"cannot read {path}: {e.strerror or e}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: not JSON, or cut off ({e})") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: not a JSON object")
    return data


def torch_file(path: Path) -> dict:
    """Of torch.save, mapped.  UserError: missing, damaged, more than tensors in it."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as e:  # pickle, zip and torch raise many kinds for a damaged file
        raise UserError(f"{path}: not a file of tensors by torch.save, or damaged ({type(e).__name__})") from None
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise UserError(f"{path}: not a dictionary of tensors")
    return {k: (lambda v=v: v) for k, v in state.items()}


def safetensors(path: Path) -> dict:
    """Of the safetensors library: 8 bytes with the size of a JSON header of types, shapes and offsets, then raw numbers, little-endian.

    UserError: missing, damaged, a tensor that lies outside the file; a type that is no float, where the tensor is read.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    data = np.memmap(path, np.uint8, "r") if path.stat().st_size >= 8 else np.zeros(0, np.uint8)
    size = struct.unpack("<Q", data[:8].tobytes())[0] if len(data) else MOST + 1
    if not 2 <= size <= min(MOST, len(data) - 8):
        raise UserError(f"{path}: not a safetensors file, or cut off")
    try:
        header = json.loads(data[8:8 + size].tobytes())
        entries = {k: (v["dtype"], tuple(v["shape"]), *v["data_offsets"]) for k, v in header.items() if k != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: not a safetensors file: its header is damaged") from None
    body = data[8 + size:]
    for name, (kind, shape, start, stop) in entries.items():
        whole = kind not in TYPES or stop - start == math.prod(shape) * TYPES[kind].itemsize
        if not (0 <= start <= stop <= len(body) and whole):
            raise UserError(f"{path}: {name} lies at bytes {start} to {stop} of {len(body)}, not as {kind} {shape} would; fetch the file again")
    return {k: (lambda k=k, e=e: _tensor(f"{path}: {k}", body, *e)) for k, e in entries.items()}


def _tensor(what: str, body: np.ndarray, kind: str, shape: tuple, start: int, stop: int) -> torch.Tensor:
    if kind not in TYPES:
        raise UserError(f"{what}: numbers of type {kind}, where {', '.join(TYPES)} are read; "
                        "packed or integer weights are not the trained ones, take the checkpoint that they were made from")
    return torch.frombuffer(bytearray(body[start:stop]), dtype=TYPES[kind]).view(shape) if stop > start else torch.zeros(shape, dtype=TYPES[kind])
