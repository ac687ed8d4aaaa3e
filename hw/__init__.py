"""Integer graph -> streaming SystemVerilog, and what it costs."""
from .core.design import core_design
from .cost.graph import graph_costs, total
from .dataflow.fold import Fold, Folding, legal
from .folding.fold import fold
from .cost.measure import additive_error, fit_fixed, measure
from .dataflow.schedule import cycles, interval
from .synth.design import synth_design, synth_module
from .cost.tables import layer_costs
from .targets import TARGETS
from .design import Design, Port, Value, load
from .dataflow.verilog import generate
from .unroll.design import Unrolled, unroll, unroll_design
from .unroll.family import FAMILIES as UNROLLED
