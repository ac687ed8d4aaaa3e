"""A folder that build() wrote -> a model that speaks, without TVM."""
from pathlib import Path

from ir import UserError

from .loader import Model, ModelError


def load(folder: Path | str, threads: int = 1) -> Model:
    """The model of the folder.  UserError: missing, damaged, built for another machine, for instructions or threads that are not there."""
    try:
        return Model(folder, threads)
    except ModelError as e:
        raise UserError(str(e)) from None
