"""A dict that is filled by a decorator and explains a missing key."""
import difflib

from .errors import UserError


class Registry(dict):
    """name -> thing, for everything that is open to extension (formats, metrics, targets, ...)."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def register(self, name: str):
        """Decorator that enters a thing under `name`; a second entry of that name is refused."""
        def add(thing):
            if name in self:
                raise ValueError(f"{self.kind} {name!r} is defined twice: {self[name]!r} and {thing!r}")
            self[name] = thing
            return thing
        return add

    def __missing__(self, name):
        close = difflib.get_close_matches(str(name), self, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UserError(f"unknown {self.kind} {name!r}{hint} (known: {', '.join(self)})")
