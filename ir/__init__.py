"""Formats, integer graphs and what they mean.  Needs numpy only."""
from .errors import UserError
from .formats import FORMATS, NumberFormat
from .graph import Encoding, Graph, Node
from .opset import (Add, Concat, Constant, Conv, Dense, Div, Expand, Gather, Input, Ints, Lut, MatMul, MaxPool, Mul, Op, Pad, Recur,
                    Requant, Reshape, Slice, Sqrt, SumPool, Transpose)
from .interpret import run
from .layers import Layer
from .plan import Option, Plan, Table
from .registry import Registry
