// One ternary dot-product engine: a beat of packed weights times a beat of activations a cycle, summed over the beats of a row.
//
// x_i belongs to the beat of two cycles ago: by then the weights are unpacked.  valid_o: the sums of the row whose last beat came
// Latency cycles ago stand at acc_o, for one cycle.  Nothing ever waits.  Trits pass chains of adders of Group each, which add,
// subtract or skip an activation, and a tree; where LUTs have six inputs qs_lm_tree.  Each of Batch vectors has its own, the unpacked
// weights are shared.
// |x| is at most 2**(ActWidth-1) - 1.  error_o: that beat holds an illegal code (two cycles after it came).
module qs_lm_engine #(
  parameter int unsigned Trits     = 80,
  parameter int unsigned ActWidth  = 8,
  parameter int unsigned Batch     = 1,
  parameter int unsigned AccWidth  = 20,    // sums are taken modulo 2**AccWidth
  parameter int unsigned Encoding  = 0,     // of weights, as in qs_lm_unpack
  parameter int unsigned BeatWidth = Encoding == 1 ? 2 * Trits : Trits / 5 * 8,
  parameter int unsigned Group     = Trits % 8 == 0 ? 8 : Trits % 5 == 0 ? 5 : Trits % 4 == 0 ? 4 : 1,
  parameter int unsigned Link      = 4,     // adders of a chain between two registers
  parameter bit          Threes    = 0      // a tree of pairs and threes instead, as QS_CARRY asks for
) (
  input  logic                            clk_i,
  input  logic                            rst_ni,
  input  logic                            valid_i,
  input  logic                            first_i,   // beat of a row
  input  logic                            last_i,
  input  logic [BeatWidth-1:0]            beat_i,
  input  logic [Batch*Trits*ActWidth-1:0] x_i,
  output logic                            valid_o,
  output logic [Batch*AccWidth-1:0]       acc_o,
  output logic                            error_o
);
`ifdef QS_CARRY
  localparam int unsigned Carry = `QS_CARRY;   // bits of a carry cell behind LUTs of six inputs: AMD's devices
`else
  localparam int unsigned Carry = 0;
`endif
  localparam bit          Tree    = Threes || Carry != 0;
  localparam int unsigned Pairs   = (Trits + 1) / 2;
  localparam int unsigned Levels3 = Pairs <= 1 ? 0 : Pairs <= 3 ? 1 : Pairs <= 9 ? 2 : Pairs <= 27 ? 3 : Pairs <= 81 ? 4 : Pairs <= 243 ? 5 : 6;
  localparam int unsigned Groups  = Trits / Group;
  localparam int unsigned Levels  = $clog2(Groups);
  localparam int unsigned Sums    = Tree ? Levels3 + 1 : (Group + Link - 1) / Link + (Levels + 1) / 2;   // stages in front of the accumulator
  localparam int unsigned Latency = Sums + 3;
  localparam int unsigned Width   = ActWidth + $clog2(Group);
  localparam int unsigned Most    = (1 << (ActWidth - 1)) - 1;

  logic [Latency-1:0]   valid, last;
  logic [Latency-2:0]   first;
  logic [BeatWidth-1:0] beat;
  logic [Trits-1:0]     on, minus, on_now, minus_now;
  logic                 bad;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid   <= '0;
      error_o <= 1'b0;
    end else begin
      valid   <= {valid[Latency-2:0], valid_i};
      error_o <= valid[0] && bad;
    end
  end
  always_ff @(posedge clk_i) begin
    last  <= {last[Latency-2:0], last_i};
    first <= {first[Latency-3:0], first_i};
    beat  <= beat_i;
    on    <= on_now;
    minus <= minus_now;
  end
  qs_lm_unpack #(.Trits(Trits), .Encoding(Encoding)) u_unpack (.beat_i(beat), .on_o(on_now), .minus_o(minus_now), .error_o(bad));

  for (genvar b = 0; b < Batch; b++) begin : gen_vector
    logic [AccWidth-1:0] sum, acc, next;
    logic                carry;
    if (Tree) begin : gen_tree
      qs_lm_tree #(.Trits(Trits), .ActWidth(ActWidth), .OutWidth(AccWidth), .Levels(Levels3), .Carry(Carry)) u_tree (
        .clk_i, .x_i(x_i[b*Trits*ActWidth+:Trits*ActWidth]), .on_i(on), .minus_i(minus), .sum_o(sum), .carry_o(carry));
    end else begin : gen_chains
      logic [2*Trits-1:0]      weights;
      logic [Groups*Width-1:0] parts;
      logic [Groups-1:0]       carries;
      for (genvar t = 0; t < Trits; t++) begin : gen_weight
        assign weights[2*t+:2] = {minus[t], on[t]};
      end
      for (genvar g = 0; g < Groups; g++) begin : gen_group
        qs_ternary #(.Pe(1), .Simd(Group), .InWidth(ActWidth), .InSigned(1), .InMax(Most), .OutWidth(Width), .Link(Link)) u_chain (
          .clk_i, .en_i(1'b1), .x_i(x_i[(b*Trits+g*Group)*ActWidth+:Group*ActWidth]), .w_i(weights[2*g*Group+:2*Group]),
          .sum_o(parts[g*Width+:Width]), .carry_o(carries[g]));
      end
      qs_tree #(.Count(Groups), .Width(Width), .OutWidth(AccWidth)) u_tree (
        .clk_i, .en_i(1'b1), .a_i(parts), .flip_i('0), .carry_i(carries), .sum_o(sum), .carry_o(carry));
    end
    qs_sum2 #(.Width(AccWidth), .Kind(3)) u_acc (
      .a_i(sum), .b_i(acc), .c_i('0), .d_i({AccWidth{!first[Latency-2]}}), .carry_i(carry), .y_o(next));
    always_ff @(posedge clk_i) if (valid[Latency-2]) acc <= next;
    assign acc_o[b*AccWidth+:AccWidth] = acc;
  end
  assign valid_o = valid[Latency-1] && last[Latency-1];

`ifndef SYNTHESIS
  initial begin
    if (Batch == 0 || ActWidth < 2 || Group == 0 || Link == 0) $fatal(1, "%m: Batch, Group and Link are at least 1, ActWidth at least 2");
    if (Trits % Group != 0) $fatal(1, "%m: Trits=%0d is no multiple of Group=%0d", Trits, Group);
  end
`endif
endmodule
