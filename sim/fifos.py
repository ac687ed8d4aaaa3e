"""The buffers of a design in simulation: how full each gets, and the least depth with which nothing is lost.

The computed depths (hw/dataflow/fifo.py) are held against this.  One build serves all runs: in it a buffer asks a file how
deep it may be, and writes down how full it was.
"""
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw import Folding, generate
from ir import Graph, UserError

from .simulate import simulate

WATCHED = """
  int limit, most, file, read;
  initial begin
    limit = Depth;
    file  = $fopen($sformatf("{folder}/%m.limit"), "r");
    if (file != 0) begin
      read = $fscanf(file, "%d", limit);
      if (read != 1) $fatal(1, "%m: no limit in its file");
      $fclose(file);
    end
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) most <= 0;
    else if (int'(count) > most) most <= int'(count);
  end
  final begin
    file = $fopen($sformatf("{folder}/%m.most"), "w");
    $fwrite(file, "%0d", most);
    $fclose(file);
  end
endmodule
"""
FULL, LIMITED = "count != count_t'(Depth)", "int'(count) < limit"


@dataclass(frozen=True)
class Fifo:
    """Beats of a buffer in front of a join: its `depth`, the `most` that it held, and the depth that it `needs`.

    With a depth below `needs` the design stands still or takes more cycles; see needs().
    """
    name: str
    depth: int
    most: int
    needs: int


class Bench:
    """A design in folder `work` whose buffers can be made less deep from run to run."""

    def __init__(self, g: Graph, work: Path, folding: Folding | None = None):
        self.design = generate(g, work / "design", folding)
        self.scopes: dict[str, str] = {}  # buffer -> its place in the bench, as the first run tells it
        self.folder = work / "fifos"
        self.folder.mkdir()
        source = next((p for p in self.design.sources if p.stem == "qs_fifo"), None)
        if source is not None:
            text = source.read_text()
            if text.count(FULL) != 1 or text.count("endmodule") != 1:
                raise TypeError("qs_fifo.sv is not as sim/fifos.py knows it")
            source.write_text(text.replace(FULL, LIMITED).replace("endmodule\n", WATCHED.replace("{folder}", str(self.folder.resolve()))))

    def run(self, x, limits: Mapping[str, int] | None = None, stalls: bool | int = False) -> tuple[float, np.ndarray, dict[str, int]]:
        """Cycles of all frames, the outputs, and buffer -> how much it held, each at most `limits` deep.  UserError: a deadlock."""
        for old in self.folder.iterdir():
            old.unlink()
        for name, depth in (limits or {}).items():
            (self.folder / f"{self.scopes[name]}.limit").write_text(str(depth))
        r = simulate(self.design, x, stalls)
        most = {p.stem: int(p.read_text()) for p in self.folder.glob("*.most")}
        self.scopes = {scope.split(".")[-1]: scope for scope in most}
        return r.cycles_total, r.outputs, {n: most[scope] for n, scope in self.scopes.items()}


def needs(g: Graph, x, depths: Mapping[str, int], folding: Folding | None = None) -> list[Fifo]:
    """What each buffer of `depths` (instance -> depth) held and needs, when nobody outside stalls and the others are as they are.

    A depth is needed if with one beat less the frames x take more cycles or the design stands still.
    """
    with tempfile.TemporaryDirectory() as d:
        bench = Bench(g, Path(d), folding)
        cycles, _, most = bench.run(x)
        return [Fifo(n, depth, most[n], _least(bench, x, n, min(depth, most[n]), cycles)) for n, depth in depths.items()]


def _least(bench: Bench, x, name: str, enough: int, cycles: float) -> int:
    """The least depth of one buffer with which all takes no longer than `cycles`; `enough` does."""
    low = 0
    while low + 1 < enough:
        half = (low + enough) // 2
        try:
            same = bench.run(x, {name: half})[0] <= cycles
        except UserError as e:
            if "deadlock" not in str(e):
                raise
            same = False
        low, enough = (low, half) if same else (half, enough)
    return enough
