"""Answers that were dear, a line each in a file: what was asked for under a key survives a kill."""
import json
from pathlib import Path

from ir import UserError
from ir.store import canonical, digest, save_text

Asked = tuple[str, ...]


class Ledger:
    """asked -> answer, for one `key` (what the answers depend on beside what was asked: hash of model, samples, ...).

    Every new answer is appended to the file at once and handed to the system; the lines of other keys stay.  Lines that are torn
    or altered are dropped when it is opened.  Without a path it remembers while it lives.
    UserError: a file that cannot be read or written.
    """

    def __init__(self, path: Path | str | None, key: str):
        self.path, self.key = Path(path) if path else None, key
        self.known: dict[Asked, float] = self._read() if self.path else {}

    def __contains__(self, asked: Asked) -> bool: return asked in self.known

    def __getitem__(self, asked: Asked) -> float: return self.known[asked]

    def enter(self, asked: Asked, answer: float) -> None:
        """Remember an answer, and write it down."""
        self.known[asked] = answer
        if self.path:
            body = [self.key, *asked, answer]
            self._append(canonical([digest(canonical(body)), body]) + "\n")

    def _read(self) -> dict[Asked, float]:
        try:
            lines = self.path.read_text(errors="replace").splitlines(keepends=True)
        except FileNotFoundError:
            return {}
        except OSError as e:
            raise UserError(f"cannot read the cache {self.path}: {e.strerror or e}; name another file") from None
        whole = [(line, body) for line in lines if (body := _body(line))]
        if len(whole) < len(lines):
            save_text(self.path, "".join(line for line, _ in whole))
        return {tuple(asked): v for _, (key, *asked, v) in whole if key == self.key}

    def _append(self, line: str) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab", buffering=0) as f:
                f.write(line.encode())
        except OSError as e:
            raise UserError(f"cannot write the cache {self.path}: {e.strerror or e}; choose a folder that can be written, with room") from None


def _body(line: str) -> list | None:
    """[key, *asked, answer] of a whole line."""
    try:
        check, body = json.loads(line)
    except (ValueError, TypeError):
        return None
    return body if line.endswith("\n") and isinstance(body, list) and len(body) > 2 and check == digest(canonical(body)) else None
