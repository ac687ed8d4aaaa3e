"""Large texts as short ones, for the files of the cache."""
import base64
import gzip


def squeezed(data: bytes | str) -> str:
    """gzip in base64; the same for the same data."""
    return base64.b64encode(gzip.compress(data.encode() if isinstance(data, str) else data, mtime=0)).decode()


def expanded(text: str) -> bytes:
    """What was squeezed."""
    return gzip.decompress(base64.b64decode(text))
