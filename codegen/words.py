"""Which machine word holds which integers: the dtypes that compiled graphs take and give."""
import numpy as np

from ir import Graph, Input, Ints, Node, UserError
from ir.interpret import check_input

INT32, INT64 = (1 << 31) - 1, (1 << 63) - 1
WORDS = ("int8", "uint8", "int16", "uint16", "int32", "int64")  # narrowest first, signed before unsigned


def word(t: Ints) -> str:
    """numpy name of the narrowest dtype in WORDS that holds every value of t."""
    return word_of(t.lo, t.hi)


def word_of(lo: int, hi: int) -> str:
    """numpy name of the narrowest dtype in WORDS that holds lo and hi."""
    return next(w for w in WORDS if np.iinfo(w).min <= lo and hi <= np.iinfo(w).max)


def magnitude(t: Ints) -> int:
    """Largest absolute value of t."""
    return max(abs(t.lo), abs(t.hi))


def narrow(a: np.ndarray) -> np.ndarray:
    """A constant in the narrowest word that holds it."""
    return a.astype(word_of(int(a.min()), int(a.max())))


def calc(bound: int) -> str:
    """What to compute in when no intermediate exceeds `bound` in magnitude; uint64 wraps, and ends right if the result fits."""
    return "int32" if bound <= INT32 else "int64" if bound <= INT64 else "uint64"


def interface(g: Graph) -> dict:
    """What a caller must know of a graph, as plain data: shapes (without batch), dtypes, intervals and encodings of inputs and output."""
    def describe(n):
        e = g.encodings.get(n.name)
        return {"name": n.name, "shape": list(n.type.shape), "dtype": word(n.type), "lo": n.type.lo, "hi": n.type.hi,
                **({"scale": e.scale, "zero": e.zero} if e else {})}
    return {"inputs": [describe(n) for n in g.inputs], "output": describe(g.output)}


def check_feeds(inputs: list[dict], x) -> dict[str, np.ndarray]:
    """x (an array, or {input name: array}) by input name in the dtypes of `interface`, after a look at shapes and ranges."""
    if not isinstance(x, dict) and len(inputs) != 1:
        raise UserError(f"the graph has the inputs {', '.join(i['name'] for i in inputs)}; give a dict of arrays")
    feeds = {}
    for i in inputs:
        if isinstance(x, dict) and i["name"] not in x:
            raise UserError(f"no values for input {i['name']!r} (given: {', '.join(x)})")
        t = Ints(tuple(i["shape"]), i["lo"], i["hi"])
        feeds[i["name"]] = check_input(Node(i["name"], Input(t), (), t), x[i["name"]] if isinstance(x, dict) else x).astype(i["dtype"])
    return feeds
