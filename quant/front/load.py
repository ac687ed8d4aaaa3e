"""A model named on the command line, or handed over, becomes a Net."""
import importlib
import os
import sys
from pathlib import Path

import torch
from torch import nn

from ir import UserError

from .capture import capture
from .export import line, quiet
from ..net import Net
from .onnx_import import load_onnx

FORMS = "give file.onnx, file.pt2 or package.module:factory"


def load_model(spec: str | Path | nn.Module, example: torch.Tensor | None = None) -> Net:
    """The captured net of `file.onnx`, `file.pt2` (torch.export.save), `package.module:factory`, or a module itself.

    A factory takes no arguments and returns a torch.nn.Module; the working directory can be imported from.
    example: (N, ...), a few samples of the data; needed for torch modules, else only compared with the input of the file.
    UserError: whatever is wrong with the file, the factory, the model or the fit of the data to it.
    """
    if isinstance(spec, nn.Module):
        net = capture(spec, example)
    elif (text := str(spec)).endswith(".onnx"):
        module = load_onnx(text)
        fits(text, module.example, example)
        net = capture(module, module.example if example is None else example, Path(text).name)
    elif text.endswith(".pt2"):
        net = capture(load_program(text), name=Path(text).name)
        fits(text, torch.empty((1, *net.input.shape)), example)
    elif ":" in text:
        net = capture(build(text), example, text)
    elif Path(text).suffix in (".pt", ".pth", ".th", ".safetensors", ".ckpt"):
        raise UserError(f"{text}: weights alone say nothing of the structure; "
                        "give package.module:factory that builds the model and loads them")
    else:
        raise UserError(f"{text}: not a model; {FORMS}")
    return net


def fits(path: str, own: torch.Tensor, example: torch.Tensor | None) -> None:
    if example is not None and own.shape[1:] != example.shape[1:]:
        takes, given = (f"(N, {', '.join(map(str, t.shape[1:]))})" for t in (own, example))
        raise UserError(f"{path}: takes {takes}, but the data has {given}; reshape the data, or give the data of this model")


def load_program(path: str) -> torch.export.ExportedProgram:
    """The exported program of a .pt2 file."""
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; expected a program of torch.export.save")
    try:
        with quiet():
            return torch.export.load(path)
    except Exception as e:  # zip, json and pickle each have their own
        raise UserError(f"{path}: cannot be read as a torch.export program ({line(e)}); "
                        "cut off or of another format, save it again") from None


def build(spec: str) -> nn.Module:
    """What `package.module:factory` returns."""
    name, _, attr = spec.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(name)
    except ModuleNotFoundError as e:
        if e.name and (name == e.name or name.startswith(e.name + ".")):
            raise UserError(f"{spec}: no module {e.name!r} in {os.getcwd()} or on the Python path; {FORMS}") from None
        raise UserError(f"{spec}: importing {name} failed: {line(e)}; install what it needs") from e
    except Exception as e:  # the user's module runs
        raise UserError(f"{spec}: importing {name} failed: {line(e)}; mend the module, --debug shows where") from e
    if not callable(factory := getattr(found, attr, None)):
        names = ", ".join(k for k, v in vars(found).items() if callable(v) and getattr(v, "__module__", "") == name)
        raise UserError(f"{spec}: module {name} has no callable {attr!r}; it has {names or 'none'}")
    try:
        model = factory() if not isinstance(factory, nn.Module) else factory
    except Exception as e:  # so does the user's factory
        raise UserError(f"{spec}: the factory failed: {line(e)}; it is called without arguments, --debug shows where") from e
    if not isinstance(model, nn.Module):
        raise UserError(f"{spec}: returned {type(model).__name__}; a factory returns a torch.nn.Module")
    return model
