"""What people read: a graph as text, and the lines of the registry."""
import numpy as np
import pytest

from ir import (Add, Concat, Conv, Dense, Gather, Graph, Input, Ints, Lut, MaxPool, Mul, Pad, Registry, Requant, Reshape, Slice,
                SumPool, Transpose, UserError)

GOLDEN = """\
   %image  s8[3x8x8]   in [-128, 127]    = input
   %conv   s13[4x4x4]  in [-3456, 3449]  = conv       %image       weight u1[4x3x3x3] bias u5[4] stride 2 padding 1
   %relu   u8[4x4x4]   in [0, 216]       = requant    %conv        * u6[4] >> 9 clamp [0, 255]
   %dw     s11[4x4x4]  in [-867, 433]    = conv       %relu        weight s2[4x1x2x3] bias s3[4] depthwise dilation 2x1 padding 1 of 3
   %low    s8[4x4x4]   in [-110, 52]     = requant    %dw          * 1 >> 3 - 2 clamp [-128, 127]
   %sum    s10[4x4x4]  in [-110, 268]    = add        %relu, %low
   %clip   u4[4x4x4]   in [0, 15]        = requant    %sum         clamp [0, 15]
   %max    u4[4x2x2]   in [0, 15]        = maxpool    %clip        kernel 2 stride 2
   %avg    u6[4x2x2]   in [0, 60]        = sumpool    %max         kernel 2 padding 0+1 of 1
   %act    s6[4x2x2]   in [-30, 30]      = lut        %avg         table s6[61]
   %both   s7[8x2x2]   in [-30, 60]      = concat     %avg, %act   axis 0
   %edge   s7[8x2x4]   in [-30, 60]      = pad        %both        9 around 0+0, 0+0, 2+0
   %half   s7[4x2x4]   in [-30, 60]      = slice      %edge        [0:8:2, 0:2, 0:4]
   %last   s7[2x4x4]   in [-30, 60]      = transpose  %half        axes 1, 2, 0
   %flat   s7[32]      in [-30, 60]      = reshape    %last
-> %fc     s12[2]      in [-960, 1920]   = dense      %flat        weight u1[2x32] bias u1[2]"""


def every_op() -> Graph:
    g = Graph()
    g.add("image", Input(Ints((3, 8, 8), -128, 127)))
    g.add("conv", Conv(np.ones((4, 3, 3, 3)), [0, 1, 20, 3], (2, 2), ((1, 1), (1, 1))), "image")
    g.add("relu", Requant([32, 31, 30, 29], 9, 0, 0, 255), "conv")
    taps = np.tile([[1, -1, -1], [1, -1, -1]], (4, 1, 1, 1))
    g.add("dw", Conv(taps, [-2, 1, -3, 0], padding=((1, 1), (1, 1)), dilation=(2, 1), groups=4, pad=3), "relu")
    g.add("low", Requant([1], 3, -2, -128, 127), "dw")
    g.add("sum", Add(), "relu", "low")
    g.add("clip", Requant([1], 0, 0, 0, 15), "sum")
    g.add("max", MaxPool((2, 2), (2, 2)), "clip")
    g.add("avg", SumPool((2, 2), (1, 1), ((0, 1), (0, 1)), 1), "max")
    g.add("act", Lut(np.arange(61) - 30, 0), "avg")
    g.add("both", Concat(0), "avg", "act")
    g.add("edge", Pad(((0, 0), (0, 0), (2, 0)), 9), "both")
    g.add("half", Slice((0, 0, 0), (8, 2, 4), (2, 1, 1)), "edge")
    g.add("last", Transpose((1, 2, 0)), "half")
    g.add("flat", Reshape((32,)), "last")
    g.add("fc", Dense(np.ones((2, 32)), [0, 0]), "flat")
    return g


def test_graph_as_text():
    assert str(every_op()) == GOLDEN


def test_the_rest_as_text():
    g = Graph()
    assert str(g) == "(empty graph)"
    g.add("ids", Input(Ints((5,), 0, 3)))
    g.add("rows", Gather(np.arange(8).reshape(4, 2)), "ids")
    g.add("square", Mul(), "rows", "rows")
    g.add("scaled", Requant([1, 2], 1, 0, -9, 99, -1), "square")
    g.add("table", Lut(np.arange(50), 0), "scaled")
    g.add("four", Concat(1), "table", "table")
    g.add("turned", Transpose((1, 0)), "four")
    g.add("grouped", Conv(np.ones((4, 2, 1)), np.zeros(4), (1,), ((0, 0),), (1,), 2), "turned")
    g.result = "table"
    assert str(g) == """\
   %ids      u2[5]    in [0, 3]   = input
   %rows     u3[5x2]  in [0, 7]   = gather     %ids            table u3[4x2]
   %square   u6[5x2]  in [0, 49]  = mul        %rows, %rows
   %scaled   u6[5x2]  in [0, 49]  = requant    %square         * u2[2] >> 1 clamp [-9, 99] axis -1
-> %table    u6[5x2]  in [0, 49]  = lut        %scaled         table u6[50]
   %four     u6[5x4]  in [0, 49]  = concat     %table, %table  axis 1
   %turned   u6[4x5]  in [0, 49]  = transpose  %four           axes 1, 0
   %grouped  u7[4x5]  in [0, 98]  = conv       %turned         weight u1[4x2x1] bias u1[4] groups 2"""


def test_registry():
    r = Registry("metric")
    r.register("kl")(1)
    r.register("hessian")(2)
    assert r["kl"] == 1 and list(r) == ["kl", "hessian"] and r.get("mse") is None
    for name, line in (("hesian", "unknown metric 'hesian'; did you mean 'hessian'? (known: kl, hessian)"),
                       ("zzz", "unknown metric 'zzz' (known: kl, hessian)"), (3, "unknown metric 3 (known: kl, hessian)")):
        with pytest.raises(UserError) as e:
            r[name]
        assert str(e.value) == line
    with pytest.raises(ValueError, match="^metric 'kl' is defined twice: 1 and 3$"):
        r.register("kl")(3)
