"""Integer graph -> streaming SystemVerilog, and what it costs."""
from .flow import Folding, legal
from .schedule import cycles, interval
from .verilog import Design, Port, generate, load
