"""Keeps a chatty library from writing on the user's terminal."""
import contextlib
import os
import sys
import tempfile

NOISE = ("Scope Saving:", "Scope Loaded:", "BlockBuilder destroyed")  # printed by TVM's C++ on every save, load and refusal


@contextlib.contextmanager
def quiet():
    """Lines of NOISE that C++ code writes to stderr inside the block are dropped, all others appear when it ends."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            caught.seek(0)
            lines = [line for line in caught if not any(n.encode() in line for n in NOISE)]
            os.write(2, b"".join(lines))
