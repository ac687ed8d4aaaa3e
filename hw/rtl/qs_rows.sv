// Product of an input and a weight from rows of adders, one for each bit of the weight; Stages clocks.
//
// The first two rows are one adder whose both operands are masked; every further bit takes one that adds the masked input to
// half of the sum so far, whose lowest bit is ready.  Magnitude: the weight is unsigned, of Rows bits; else it is in two's
// complement and its last row subtracts.  No tool maps this to a multiplier block.
module qs_rows #(
  parameter int unsigned InWidth   = 8,
  parameter bit          InSigned  = 0,
  parameter int unsigned Rows      = 3,
  parameter bit          Magnitude = 1,
  parameter bit          Plain     = 0,
  localparam int unsigned OutWidth = InWidth + Rows
) (
  input  logic                clk_i,
  input  logic                en_i,
  input  logic [InWidth-1:0]  x_i,
  input  logic [Rows-1:0]     w_i,
  output logic [OutWidth-1:0] p_o   // signed if the input or the weight is
);
  localparam int unsigned W     = InWidth + 1;
  localparam int unsigned PerStage = 3;        // adders between two registers

  logic [OutWidth-1:0] p;
  if (Rows == 1) begin : gen_one
    assign p = {InSigned & x_i[InWidth-1], x_i} & {W{w_i[0]}};
  end

  for (genvar k = 1; k < Rows; k++) begin : gen_row
    logic [InWidth-1:0] x;
    logic [Rows-1:k]    w;          // bits of the weight that are left
    logic [k-1:0]       low;        // bits of the product that are ready
    logic [W-1:0]       half, wide, sum;
    assign wide = {InSigned & x[InWidth-1], x};

    if (k == 1) begin : gen_first
      assign x    = x_i;
      assign w    = w_i[Rows-1:1];
      assign low  = x_i[0] & w_i[0];
      assign half = {{2{InSigned & x_i[InWidth-1]}}, x_i[InWidth-1:1]};
    end else begin : gen_later
      localparam bit Signed = InSigned || (!Magnitude && k - 1 == Rows - 1);
      if ((k - 1) % PerStage == 0) begin : gen_cut
        always_ff @(posedge clk_i) begin
          if (en_i) begin
            x    <= gen_row[k-1].x;
            w    <= gen_row[k-1].w[Rows-1:k];
            low  <= {gen_row[k-1].sum[0], gen_row[k-1].low};
            half <= {Signed & gen_row[k-1].sum[W-1], gen_row[k-1].sum[W-1:1]};
          end
        end
      end else begin : gen_through
        assign x    = gen_row[k-1].x;
        assign w    = gen_row[k-1].w[Rows-1:k];
        assign low  = {gen_row[k-1].sum[0], gen_row[k-1].low};
        assign half = {Signed & gen_row[k-1].sum[W-1], gen_row[k-1].sum[W-1:1]};
      end
    end

    if (k == 1 && (Magnitude || Rows > 2)) begin : gen_masked
      qs_sum2 #(.Width(W), .Kind(1), .Plain(Plain)) u_sum (
        .a_i(half), .b_i(wide), .c_i({W{w_i[0]}}), .d_i({W{w[k]}}), .carry_i(1'b0), .y_o(sum));
    end else begin : gen_select
      localparam bit Sub = !Magnitude && k == Rows - 1;
      logic [W-1:0] a;
      if (k == 1) begin : gen_mask
        assign a = half & {W{w_i[0]}};
      end else begin : gen_half
        assign a = half;
      end
      qs_sum2 #(.Width(W), .Kind(0), .Plain(Plain)) u_sum (
        .a_i(a), .b_i(wide), .c_i({W{w[k]}}), .d_i({W{Sub & w[k]}}), .carry_i(Sub & w[k]), .y_o(sum));
    end

    if (k == Rows - 1) begin : gen_last
      assign p = {sum, low};
    end
  end

  always_ff @(posedge clk_i) if (en_i) p_o <= p;

`ifndef SYNTHESIS
  initial begin
    if (InWidth < 2) $fatal(1, "%m: InWidth is at least 2");
    if (Rows < (Magnitude ? 1 : 2)) $fatal(1, "%m: a magnitude has at least one bit, a signed weight two");
  end
`endif
endmodule
