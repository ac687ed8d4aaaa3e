"""Formats, integer graphs and what they mean.  Needs numpy only."""
from .errors import UserError
from .formats import FORMATS, NumberFormat
from .graph import (Add, Concat, Conv, Dense, Encoding, Gather, Graph, Input, Ints, Lut, MatMul, MaxPool, Mul, Node, Op, Pad,
                    Requant, Reshape, Slice, SumPool, Transpose)
from .interpret import run
from .layers import Layer
from .plan import Option, Plan, Table
from .registry import Registry
