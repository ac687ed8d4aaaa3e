// Products of Pe*Simd weights with Simd inputs, Stages clocks.
//
// Weight (pe, simd) stands at bits (pe*Simd + simd)*WeightWidth.  A product may come as an operand that is still to be
// inverted (flip_o) and to get a carry (carry_o), which the adders behind do for nothing: -p = ~p + 1.
// Kind 0: a multiplication as it stands; weights in two's complement.
// Kind 1: rows of adders.  With Magnitude a weight is {negative, magnitude}, zero not being negative: a row less than in two's
//         complement; magnitude of no bits: every weight is 1 or -1.
// Kind 2: a multiplication for a multiplier block.
// Kind 3: one for two: PEs 2k and 2k+1 share the multiplication x * (w0 + (w1 << ProdWidth)); in the place of w1 stands
//         w1 - (w0 < 0).  A multiplier of 18 by 18 bits takes two 5-bit weights with 8-bit inputs, one of 25 by 18 two of 8.
module qs_products #(
  parameter int unsigned Pe          = 2,
  parameter int unsigned Simd        = 2,
  parameter int unsigned InWidth     = 8,
  parameter bit          InSigned    = 0,
  parameter int unsigned WeightWidth = 4,
  parameter int unsigned ProdWidth   = 12,   // a product, signed
  parameter int unsigned Kind        = 1,
  parameter bit          Magnitude   = 1,
  parameter bit          Plain       = 0
) (
  input  logic                           clk_i,
  input  logic                           en_i,
  input  logic [Simd*InWidth-1:0]        x_i,
  input  logic [Pe*Simd*WeightWidth-1:0] w_i,
  output logic [Pe*Simd*ProdWidth-1:0]   p_o,
  output logic [Pe*Simd-1:0]             flip_o,
  output logic [Pe*Simd-1:0]             carry_o
);
  localparam int unsigned Rows   = Magnitude ? WeightWidth - 1 : WeightWidth;
  localparam int unsigned Stages = Rows == 0 ? 0 : Rows < 5 ? 1 : (Rows + 1) / 3;  // as in qs_rows

  if (Kind == 1 && Stages == 0) begin : gen_no_register
    logic unused;
    assign unused = clk_i ^ en_i;
  end

  if (Kind == 1) begin : gen_rows
    for (genvar i = 0; i < Pe * Simd; i++) begin : gen_product
      logic [WeightWidth-1:0] w;
      logic [InWidth-1:0]     x;
      assign w = w_i[i*WeightWidth+:WeightWidth];
      assign x = x_i[(i%Simd)*InWidth+:InWidth];

      if (Rows == 0) begin : gen_unit
        assign p_o[i*ProdWidth+:ProdWidth] = {{(ProdWidth-InWidth){InSigned & x[InWidth-1]}}, x};
      end else begin : gen_some
        localparam int unsigned Full   = InWidth + Rows;
        localparam bit          Signed = InSigned || !Magnitude;
        logic [Full-1:0] p;
        qs_rows #(.InWidth(InWidth), .InSigned(InSigned), .Rows(Rows), .Magnitude(Magnitude), .Plain(Plain)) u_rows (
          .clk_i, .en_i, .x_i(x), .w_i(w[Rows-1:0]), .p_o(p));
        if (ProdWidth > Full) begin : gen_wider
          assign p_o[i*ProdWidth+:ProdWidth] = {{(ProdWidth-Full){Signed & p[Full-1]}}, p};
        end else if (ProdWidth == Full) begin : gen_whole
          assign p_o[i*ProdWidth+:ProdWidth] = p;
        end else begin : gen_part
          logic unused;
          assign unused = ^p[Full-1:ProdWidth];
          assign p_o[i*ProdWidth+:ProdWidth] = p[ProdWidth-1:0];
        end
      end

      if (!Magnitude) begin : gen_signed
        assign flip_o[i] = 1'b0;
      end else if (Stages == 0) begin : gen_now
        assign flip_o[i] = w[WeightWidth-1];
      end else begin : gen_late
        logic [Stages-1:0] late;
        always_ff @(posedge clk_i) if (en_i) late <= Stages'({late, w[WeightWidth-1]});
        assign flip_o[i] = late[Stages-1];
      end
      assign carry_o[i] = flip_o[i];
    end
  end else if (Kind == 3) begin : gen_packed
    for (genvar k = 0; k < (Pe + 1) / 2; k++) begin : gen_pair
      for (genvar i = 0; i < Simd; i++) begin : gen_product
        localparam int unsigned Low = 2 * k * Simd + i;
        localparam bit          Two = 2 * k + 1 < Pe;
        localparam int unsigned High = Two ? Low + Simd : Low;
        localparam int unsigned PortWidth = Two ? ProdWidth + WeightWidth : WeightWidth;
        localparam int unsigned BothWidth = PortWidth + InWidth + 1;
        logic signed [InWidth:0]     x;
        logic signed [PortWidth-1:0] both;
        logic [WeightWidth-1:0]      w;
        assign x = {InSigned & x_i[(i+1)*InWidth-1], x_i[i*InWidth+:InWidth]};
        assign w = w_i[Low*WeightWidth+:WeightWidth];
        (* use_dsp = "yes", syn_multstyle = "block_mult", multstyle = "dsp" *)
        logic signed [BothWidth-1:0] p;
        always_ff @(posedge clk_i) if (en_i) p <= BothWidth'(x) * BothWidth'(both);
        assign flip_o[Low]  = 1'b0;
        assign carry_o[Low] = 1'b0;
        if (Two) begin : gen_two
          assign both = {w_i[High*WeightWidth+:WeightWidth], {(ProdWidth-WeightWidth){w[WeightWidth-1]}}, w};
          assign p_o[Low*ProdWidth+:ProdWidth] = p[ProdWidth-1:0];
          assign p_o[High*ProdWidth+:ProdWidth] = p[2*ProdWidth-1:ProdWidth];
          logic unused;
          assign unused = ^p[BothWidth-1:2*ProdWidth-1];
          assign flip_o[High]  = 1'b0;
          assign carry_o[High] = p[ProdWidth-1];    // what the lower product borrowed
        end else begin : gen_single
          logic unused;
          assign unused = ^p[BothWidth-1:ProdWidth-1];
          assign both = w;
          assign p_o[Low*ProdWidth+:ProdWidth] = p[ProdWidth-1:0];
        end
      end
    end
  end else begin : gen_multiply
    localparam int unsigned Full = InWidth + 1 + WeightWidth;
    for (genvar i = 0; i < Pe * Simd; i++) begin : gen_product
      logic signed [InWidth:0]       x;
      logic signed [WeightWidth-1:0] w;
      assign x = {InSigned & x_i[(i%Simd+1)*InWidth-1], x_i[(i%Simd)*InWidth+:InWidth]};
      assign w = w_i[i*WeightWidth+:WeightWidth];
      if (Kind == 2) begin : gen_block
        (* use_dsp = "yes", syn_multstyle = "block_mult", multstyle = "dsp" *)
        logic signed [Full-1:0] p;
        always_ff @(posedge clk_i) if (en_i) p <= Full'(x) * (* qs_dsp *) Full'(w);
        logic unused;
        assign unused = ^p[Full-1:ProdWidth-1];
        assign p_o[i*ProdWidth+:ProdWidth] = p[ProdWidth-1:0];
      end else begin : gen_free
        logic signed [Full-1:0] p;
        always_ff @(posedge clk_i) if (en_i) p <= Full'(x) * Full'(w);
        logic unused;
        assign unused = ^p[Full-1:ProdWidth-1];
        assign p_o[i*ProdWidth+:ProdWidth] = p[ProdWidth-1:0];
      end
    end
    assign flip_o  = '0;
    assign carry_o = '0;
  end

`ifndef SYNTHESIS
  initial begin
    if (Pe == 0 || Simd == 0 || InWidth == 0 || WeightWidth == 0 || Kind > 3) $fatal(1, "%m: every number is at least 1, Kind at most 3");
    if (Kind != 1 && ProdWidth > InWidth + WeightWidth) $fatal(1, "%m: ProdWidth=%0d, no product is so wide", ProdWidth);
    if (ProdWidth < InWidth || ProdWidth < WeightWidth) $fatal(1, "%m: ProdWidth=%0d is too narrow", ProdWidth);
  end
`endif
endmodule
