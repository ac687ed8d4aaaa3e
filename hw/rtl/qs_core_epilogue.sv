// y = clamp(round_shift((acc + bias) * mul, shift) + zero, lo, hi), then table[base + y] where table_i; Out elements a beat.
//
// Bias and multiplier stand in word p of the parameter memory: element e's bias at bits e*(BiasWidth+MulWidth), its multiplier above.
// s_data_i = {tag, p, Out accumulators}, m_data_o = {tag, Out results}; TagWidth bits travel along.  The rest is constant
// while anything is under way.  Meaning: ir/ops.py, requant().  Six registers.
module qs_core_epilogue #(
  parameter int unsigned Out       = 2,
  parameter int unsigned AccWidth  = 24,
  parameter int unsigned BiasWidth = 24,
  parameter int unsigned MulWidth  = 16,    // signed
  parameter int unsigned ShiftBits = 5,
  parameter int unsigned OutWidth  = 8,     // of results; zero, lo and hi have one bit more
  parameter int unsigned TagWidth  = 4,
  parameter int unsigned Params    = 4,     // words
  parameter int unsigned Entries   = 1,     // of the tables; 1: there is none
  parameter              ParamFile = "",
  parameter              TableFile = "",
  parameter int unsigned PBits     = Params > 1 ? $clog2(Params) : 1,
  parameter int unsigned TBits     = Entries > 1 ? $clog2(Entries) : 1
) (
  input  logic                                   clk_i,
  input  logic                                   rst_ni,
  input  logic [ShiftBits-1:0]                   shift_i,
  input  logic [OutWidth:0]                      zero_i,
  input  logic [OutWidth:0]                      lo_i,
  input  logic [OutWidth:0]                      hi_i,
  input  logic                                   table_i,
  input  logic [TBits-1:0]                       base_i,
  input  logic                                   s_valid_i,
  output logic                                   s_ready_o,
  input  logic [TagWidth+PBits+Out*AccWidth-1:0] s_data_i,
  output logic                                   m_valid_o,
  input  logic                                   m_ready_i,
  output logic [TagWidth+Out*OutWidth-1:0]       m_data_o
);
  localparam int unsigned Stages    = 6;
  localparam int unsigned ProdWidth = AccWidth + MulWidth;
  localparam int unsigned Longest   = 2**ShiftBits > ProdWidth + 1 ? 2**ShiftBits : ProdWidth + 1;
  typedef logic signed [AccWidth-1:0]  acc_t;
  typedef logic signed [MulWidth-1:0]  mul_t;
  typedef logic signed [ProdWidth-1:0] prod_t;
  typedef logic signed [Longest:0]     sum_t;     // a product and half of what is cut off
  typedef logic signed [OutWidth:0]    bound_t;

  logic [Out*(BiasWidth+MulWidth)-1:0] params [Params];
  initial $readmemh(ParamFile, params);

  logic                go;
  logic [Stages-1:0]   valid;
  logic [TagWidth-1:0] tag [Stages];
  assign go        = !m_valid_o || m_ready_i;
  assign s_ready_o = go;
  assign m_valid_o = valid[Stages-1];
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) valid <= '0;
    else if (go) valid <= {valid[Stages-2:0], s_valid_i};
  end
  always_ff @(posedge clk_i) begin
    if (go) begin
      tag[0] <= s_data_i[Out*AccWidth+PBits+:TagWidth];
      for (int k = 1; k < int'(Stages); k++) tag[k] <= tag[k-1];
    end
  end
  assign m_data_o[Out*OutWidth+:TagWidth] = tag[Stages-1];

  logic [Out*(BiasWidth+MulWidth)-1:0] param;
  logic [PBits-1:0]                    p;
  assign p = s_data_i[Out*AccWidth+:PBits];
  always_ff @(posedge clk_i) if (go) param <= params[p];

  sum_t half;
  always_comb begin
    half = '0;
    for (int n = 1; n < 2**int'(ShiftBits); n++) if (shift_i == ShiftBits'(n)) half[n-1] = 1'b1;
  end

  for (genvar e = 0; e < Out; e++) begin : gen_lane
    acc_t   acc, biased;
    mul_t   mul, mul_q;
    prod_t  product;
    sum_t   rounded, moved;
    bound_t y;
    assign mul   = param[e*(BiasWidth+MulWidth)+BiasWidth+:MulWidth];
    assign moved = rounded + sum_t'(signed'(zero_i));
    always_ff @(posedge clk_i) begin
      if (go) begin
        acc     <= s_data_i[e*AccWidth+:AccWidth];
        biased  <= acc + acc_t'(signed'(param[e*(BiasWidth+MulWidth)+:BiasWidth]));
        mul_q   <= mul;
        product <= prod_t'(biased) * prod_t'(mul_q);
        rounded <= (sum_t'(product) + half) >>> shift_i;
        y       <= moved < sum_t'(signed'(lo_i)) ? bound_t'(lo_i) : moved > sum_t'(signed'(hi_i)) ? bound_t'(hi_i) : bound_t'(moved);
      end
    end
    if (Entries > 1) begin : gen_table
      logic [OutWidth-1:0] entries [Entries];
      logic [OutWidth-1:0] found, plain;
      logic                use_table, unused;
      assign unused = y[OutWidth];
      initial $readmemh(TableFile, entries);
      always_ff @(posedge clk_i) begin
        if (go) found <= entries[TBits'(y) + base_i];
      end
      always_ff @(posedge clk_i) begin
        if (go) begin
          plain     <= OutWidth'(y);
          use_table <= table_i;
        end
      end
      assign m_data_o[e*OutWidth+:OutWidth] = use_table ? found : plain;
    end else begin : gen_plain
      logic [OutWidth-1:0] plain;
      always_ff @(posedge clk_i) if (go) plain <= OutWidth'(y);
      assign m_data_o[e*OutWidth+:OutWidth] = plain;
      logic unused;
      assign unused = ^{table_i, base_i, y[OutWidth]};
    end
  end

`ifndef SYNTHESIS
  initial begin
    if (Out == 0 || BiasWidth > AccWidth || ShiftBits == 0) $fatal(1, "%m: Out=%0d BiasWidth=%0d ShiftBits=%0d", Out, BiasWidth, ShiftBits);
  end
`endif
endmodule
