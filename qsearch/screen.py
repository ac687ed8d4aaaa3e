"""What a long job says while it works: one line a step, a bar within it, nothing when quiet."""
import contextlib
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable


class Screen:
    """Lines and progress bars on stderr; results go to stdout."""

    def __init__(self, quiet: bool = False):
        self.err = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self.out = Console(highlight=False, quiet=quiet)
        if not self.out.is_terminal:  # a pipe or a file has no width to keep to
            self.out.width = 240

    def say(self, text: str) -> None: self.err.print(text, markup=False)

    @contextlib.contextmanager
    def step(self, title: str):
        """Announces a step, yields `progress(done, total, text)` for its bar, and ends with the seconds it took."""
        start = time.perf_counter()
        bar = Progress(TextColumn("  {task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} {task.fields[note]}"),
                       TimeRemainingColumn(), console=self.err, transient=True, disable=not self.err.is_terminal)
        task = bar.add_task(title, total=None, note="")
        with bar:
            yield lambda done, total, note="": bar.update(task, completed=done, total=total, note=note)
        self.say(f"  {title}: {time.perf_counter() - start:.1f} s")

    def table(self, title: str, rows: list[dict]) -> None:
        """Rows with the same keys, as an aligned table."""
        t = RichTable(title=title, title_justify="left", show_edge=False, pad_edge=False)
        for k in rows[0]:
            t.add_column(k, justify="left" if isinstance(rows[0][k], str) and not rows[0][k][:1].isdigit() else "right", no_wrap=True)
        for r in rows:
            t.add_row(*("" if v is None else str(v) for v in r.values()))
        self.out.print(t)
