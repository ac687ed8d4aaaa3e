"""Float model -> captured net -> quantized net -> integer graph.  The door to torch."""
from .capture import capture
from .model import QuantNet
from .net import Net, Step, geometry
from .observers import OBSERVERS, Calibration, calibrate
from .ptq import quantize
