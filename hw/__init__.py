"""Integer graph -> streaming SystemVerilog, and what it costs."""
from .cost import graph_costs, total
from .flow import Folding, legal
from .fold import fold
from .measure import additive_error, fit_fixed, measure
from .schedule import cycles, interval
from .synth import synth_design
from .tables import layer_costs
from .targets import TARGETS
from .verilog import Design, Port, generate, load
