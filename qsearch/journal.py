"""A folder of work that can be stopped at any moment and goes on where it was."""
import time
from collections.abc import Callable
from pathlib import Path

from ir import UserError
from ir.store import canonical, digest, load_json, save_json

from .screen import Screen


class Journal:
    """Remembers which steps of a run are done, and from which inputs; `run.json` in the folder."""

    def __init__(self, folder: Path | str, screen: Screen):
        self.folder, self.screen = Path(folder), screen
        self.path = self.folder / "run.json"
        try:
            self.steps: dict[str, dict] = load_json(self.path, "run")["steps"] if self.path.exists() else {}
        except UserError:
            self.steps = {}  # a damaged journal costs time, not results: every step is checked or made again
        save_json(self.path, "run", {"steps": self.steps})  # an unwritable folder is found now, not after the work

    def step(self, name: str, title: str, key: list, make: Callable, load: Callable):
        """The result of a step: load() if it was made from the same `key`, else make(progress), which writes its files."""
        h = digest(canonical(key))
        known = self.steps.get(name, {})
        if known.get("key") == h:
            try:
                result = load()
                self.screen.say(f"  {title}: done before")
                return result
            except (UserError, FileNotFoundError):
                pass  # its files were lost or damaged: made again
        start = time.perf_counter()
        with self.screen.step(title) as progress:
            result = make(progress)
        self.steps[name] = {"key": h, "seconds": round(time.perf_counter() - start, 2)}
        save_json(self.path, "run", {"steps": self.steps})
        return result

    @property
    def seconds(self) -> dict[str, float]:
        """Time that each step took when it was made."""
        return {k: v["seconds"] for k, v in self.steps.items()}
