"""Results that are dear to make, kept on disk by what they depend on."""
import os
from pathlib import Path

from . import store
from .errors import UserError


def cache_folder() -> Path:
    """Where things are kept between runs: $QSEARCH_CACHE, or qsearch under the user's cache folder."""
    return Path(os.environ.get("QSEARCH_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qsearch")


class Kept:
    """A folder with one small file for each result: killed at any moment, what was finished stays, and runs may share it.

    The name of a file is the hash of its key, any parts that can be written as JSON.  A damaged file counts as missing.
    """

    def __init__(self, kind: str, folder: Path | str | None = None):
        """kind: what is kept, one word; folder: None means `kind` under cache_folder()."""
        self.kind, self.folder = kind, Path(folder) if folder is not None else cache_folder() / kind

    def get(self, *key) -> dict | None:
        """What was put under this key, or None."""
        path = self._path(key)
        try:
            return store.load_json(path, self.kind) if path.is_file() else None
        except UserError:
            return None

    def put(self, data: dict, *key) -> dict:
        """Keeps `data` under this key and gives it back.  UserError: the folder cannot be written."""
        store.save_json(self._path(key), self.kind, data)
        return data

    def _path(self, key) -> Path: return self.folder / f"{store.digest(self.kind, store.canonical(key))}.json"
