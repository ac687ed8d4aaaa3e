// Arithmetic of the core: Pe dot products of Simd elements a cycle, or Simd sums lane by lane; Simd accumulators.
//
// s_data_i = {level, final, last, again, first, second, outside, second_signed, signed, mode, w, x}.
// mode 0: acc[p] += sum of w[p][k] * x[k], p < Pe.  mode 1: acc[k] += w[0][k] * x[k].  mode 2: acc[k] += x[k].
// mode 3: acc[k] = max(acc[k], x[k]); an `outside` x never wins.  mode 4: acc[k] += a[k] * x[k], with a the x of the step before:
// the step with `second` low only brings it (only with Products set).
// `first`: the accumulators start anew; `again`: they are shifted left by WWidth first, for weights of several digits.
// The result leaves after a step with `last`; m_data_o = {level, final, accumulators}.  Sums are taken modulo 2**AccWidth.
module qs_core_array #(
  parameter int unsigned Pe       = 2,
  parameter int unsigned Simd     = 4,
  parameter int unsigned XWidth   = 8,
  parameter int unsigned WWidth   = 8,    // signed
  parameter int unsigned AccWidth = 24,
  parameter bit          Products = 0
) (
  input  logic                                   clk_i,
  input  logic                                   rst_ni,
  input  logic                                   s_valid_i,
  output logic                                   s_ready_o,
  input  logic [Pe*Simd*WWidth+Simd*XWidth+12:0] s_data_i,
  output logic                                   m_valid_o,
  input  logic                                   m_ready_i,
  output logic [Simd*AccWidth+2:0]               m_data_o
);
  localparam int unsigned FactorWidth = Products && XWidth + 1 > WWidth ? XWidth + 1 : WWidth;
  localparam int unsigned ProdWidth   = FactorWidth + XWidth + 1;
  localparam int unsigned Chunk       = 8;                                   // products that one register sums up
  localparam int unsigned Chunks      = (Simd + Chunk - 1) / Chunk;
  typedef logic signed [XWidth:0]          x_t;
  typedef logic signed [FactorWidth-1:0]   factor_t;
  typedef logic signed [ProdWidth-1:0]     prod_t;
  typedef logic signed [AccWidth-1:0]      acc_t;
  localparam logic [2:0] Matrix = 3'd0, Sum = 3'd2, Max = 3'd3, Product = 3'd4;

  logic [Simd*XWidth-1:0]    x;
  logic [Pe*Simd*WWidth-1:0] w;
  logic [1:0]                level;
  logic                      finish, last, again, first, second, outside, second_signed, is_signed;
  logic [2:0]                mode;
  assign {level, finish, last, again, first, second, outside, second_signed, is_signed, mode, w, x} = s_data_i;

  // Stage 1: factors.
  logic                           go, valid1, only_brings, starts;
  logic [9:0]                     flags1;   // {level, finish, last, again, starts, outside, mode}
  logic [Simd*(XWidth+1)-1:0]     x1;
  logic [Pe*Simd*FactorWidth-1:0] w1;
  assign s_ready_o   = go;
  assign only_brings = mode == Product && !second;
  assign starts      = first && second == (mode == Product);
  for (genvar k = 0; k < Simd; k++) begin : gen_x
    logic [XWidth-1:0] own;
    x_t                wide;
    factor_t           brought;
    assign own  = x[k*XWidth+:XWidth];
    assign wide = {(second ? second_signed : is_signed) && own[XWidth-1], own};
    if (Products) begin : gen_brought
      factor_t kept;
      always_ff @(posedge clk_i) if (go && s_valid_i && only_brings) kept <= factor_t'(wide);
      assign brought = kept;
    end else begin : gen_none
      assign brought = '0;
    end
    always_ff @(posedge clk_i) begin
      if (go) begin
        x1[k*(XWidth+1)+:XWidth+1] <= wide;
        w1[k*FactorWidth+:FactorWidth] <= mode == Product ? brought : mode == Sum || mode == Max ? factor_t'(1)
                                        : factor_t'(signed'(w[k*WWidth+:WWidth]));
      end
    end
    for (genvar p = 1; p < Pe; p++) begin : gen_w
      always_ff @(posedge clk_i) if (go) w1[(p*Simd+k)*FactorWidth+:FactorWidth] <= factor_t'(signed'(w[(p*Simd+k)*WWidth+:WWidth]));
    end
  end

  // Stages 2 to 4: products, sums of chunks, sums of rows; row 0 also passes lane by lane.
  logic                      valid2, valid3, valid4;
  logic [9:0]                flags2, flags3, flags4;
  logic [Pe*AccWidth-1:0]    dot4;
  logic [Simd*ProdWidth-1:0] lanes2, lanes3, lanes4;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) {valid4, valid3, valid2, valid1} <= 4'b0000;
    else if (go) {valid4, valid3, valid2, valid1} <= {valid3, valid2, valid1, s_valid_i && !only_brings};
  end
  always_ff @(posedge clk_i) begin
    if (go) begin
      flags1 <= {level, finish, last, again, starts, outside, mode};
      flags2 <= flags1;
      flags3 <= flags2;
      flags4 <= flags3;
      lanes3 <= lanes2;
      lanes4 <= lanes3;
    end
  end
  for (genvar p = 0; p < Pe; p++) begin : gen_row
    logic [Simd*ProdWidth-1:0]  products;
    logic [Chunks*AccWidth-1:0] parts;
    acc_t                       sum;
    for (genvar k = 0; k < Simd; k++) begin : gen_product
      x_t      xk;
      factor_t wk;
      assign xk = x1[k*(XWidth+1)+:XWidth+1];
      assign wk = w1[(p*Simd+k)*FactorWidth+:FactorWidth];
      always_ff @(posedge clk_i) if (go) products[k*ProdWidth+:ProdWidth] <= prod_t'(xk) * prod_t'(wk);
    end
    if (p == 0) begin : gen_lanes
      assign lanes2 = products;
    end
    for (genvar c = 0; c < Chunks; c++) begin : gen_chunk
      localparam int unsigned Size = Simd - c * Chunk < Chunk ? Simd - c * Chunk : Chunk;
      acc_t total;
      always_comb begin
        total = '0;
        for (int i = 0; i < int'(Size); i++) total = total + acc_t'(signed'(products[(c*int'(Chunk)+i)*ProdWidth+:ProdWidth]));
      end
      always_ff @(posedge clk_i) if (go) parts[c*AccWidth+:AccWidth] <= total;
    end
    always_comb begin
      sum = '0;
      for (int c = 0; c < int'(Chunks); c++) sum = sum + acc_t'(parts[c*AccWidth+:AccWidth]);
    end
    always_ff @(posedge clk_i) if (go) dot4[p*AccWidth+:AccWidth] <= sum;
  end

  // Stage 5: accumulators; the result's register, which may be full while the next group is summed up.
  logic       full, finish4, last4, again4, first4, outside4;
  logic [1:0] level4;
  logic [2:0] mode4;
  assign {level4, finish4, last4, again4, first4, outside4, mode4} = flags4;
  assign go        = !(full && !m_ready_i && valid4 && last4);
  assign m_valid_o = full;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) full <= 1'b0;
    else if (!full || m_ready_i) full <= valid4 && last4;
  end
  localparam acc_t Lowest = {1'b1, {(AccWidth-1){1'b0}}};
  for (genvar k = 0; k < Simd; k++) begin : gen_acc
    acc_t  acc, start, term, next;
    prod_t own;
    assign own = lanes4[k*ProdWidth+:ProdWidth];
    if (k < Pe) begin : gen_both
      assign term = mode4 == Matrix ? acc_t'(dot4[k*AccWidth+:AccWidth]) : acc_t'(own);
    end else begin : gen_lane
      assign term = acc_t'(own);
    end
    assign start = first4 ? (mode4 == Max ? Lowest : '0) : again4 ? acc_t'(acc << WWidth) : acc;
    assign next  = mode4 != Max ? start + term : !outside4 && term > start ? term : start;
    always_ff @(posedge clk_i) begin
      if (go && valid4) acc <= next;
      if (go && valid4 && last4) m_data_o[k*AccWidth+:AccWidth] <= next;
    end
  end
  always_ff @(posedge clk_i) if (go && valid4 && last4) m_data_o[Simd*AccWidth+:3] <= {level4, finish4};

`ifndef SYNTHESIS
  initial begin
    if (Pe == 0 || Pe > Simd || XWidth == 0 || WWidth < 2) $fatal(1, "%m: Pe=%0d Simd=%0d XWidth=%0d WWidth=%0d", Pe, Simd, XWidth, WWidth);
  end
`endif
endmodule
