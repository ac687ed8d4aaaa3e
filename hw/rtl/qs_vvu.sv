// Vector-vector unit, for depthwise convolutions: each channel has its own kernel.  Meaning: ir/interpret.py, Conv.
//
// For each of Blocks blocks of Lanes channels in turn, the Taps elements of the window arrive, one a beat in every lane, and
// one beat of results leaves: Blocks * Taps cycles a window.  Sums are taken modulo 2**OutWidth; the final ones fit.
// Memories: one word for each beat, weight of lane l at bits l*WeightWidth; one bias word for each block.
module qs_vvu #(
  parameter int unsigned Lanes       = 1,
  parameter int unsigned Blocks      = 1,
  parameter int unsigned Taps        = 9,
  parameter int unsigned InWidth     = 8,
  parameter bit          InSigned    = 1,
  parameter int unsigned WeightWidth = 8,   // signed
  parameter int unsigned BiasWidth   = 8,   // signed
  parameter int unsigned OutWidth    = 20,
  parameter              WeightFile  = "",
  parameter              BiasFile    = ""
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      s_valid_i,
  output logic                      s_ready_o,
  input  logic [Lanes*InWidth-1:0]  s_data_i,
  output logic                      m_valid_o,
  input  logic                      m_ready_i,
  output logic [Lanes*OutWidth-1:0] m_data_o
);
  localparam int unsigned Words      = Blocks * Taps;
  localparam int unsigned TapWidth   = Taps > 1 ? $clog2(Taps) : 1;
  localparam int unsigned BlockWidth = Blocks > 1 ? $clog2(Blocks) : 1;
  localparam int unsigned AddrWidth  = Words > 1 ? $clog2(Words) : 1;
  localparam int unsigned ProdWidth  = InWidth + 1 + WeightWidth;
  typedef logic [TapWidth-1:0]         tap_t;
  typedef logic [BlockWidth-1:0]       block_t;
  typedef logic [AddrWidth-1:0]        addr_t;
  typedef logic signed [ProdWidth-1:0] prod_t;
  typedef logic signed [OutWidth-1:0]  acc_t;

  logic [Lanes*WeightWidth-1:0] weight [Words];
  logic [Lanes*BiasWidth-1:0]   bias [Blocks];
  initial $readmemh(WeightFile, weight);
  initial $readmemh(BiasFile, bias);

  tap_t   tap;
  block_t block;
  addr_t  addr;
  logic   go, issue, last_tap;

  assign go        = !m_valid_o || m_ready_i;
  assign issue     = go && s_valid_i;
  assign s_ready_o = go;
  assign last_tap  = tap == tap_t'(Taps - 1);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      tap   <= '0;
      block <= '0;
      addr  <= '0;
    end else if (issue) begin
      tap  <= last_tap ? '0 : tap + tap_t'(1);
      addr <= addr == addr_t'(Words - 1) ? '0 : addr + addr_t'(1);
      if (last_tap) block <= block == block_t'(Blocks - 1) ? '0 : block + block_t'(1);
    end
  end

  logic [Lanes*InWidth-1:0]     x1;
  logic [Lanes*WeightWidth-1:0] w1;
  logic [Lanes*BiasWidth-1:0]   bias1, bias2;
  logic                         valid1, first1, last1, valid2, first2, last2;

  always_ff @(posedge clk_i) begin
    if (go) begin
      x1    <= s_data_i;
      w1    <= weight[addr];
      bias1 <= bias[block];
      bias2 <= bias1;
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid1    <= 1'b0;
      valid2    <= 1'b0;
      first1    <= 1'b0;
      first2    <= 1'b0;
      last1     <= 1'b0;
      last2     <= 1'b0;
      m_valid_o <= 1'b0;
    end else if (go) begin
      valid1    <= issue;
      first1    <= tap == '0;
      last1     <= last_tap;
      valid2    <= valid1;
      first2    <= first1;
      last2     <= last1;
      m_valid_o <= valid2 && last2;
    end
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    logic signed [WeightWidth-1:0] w;
    logic signed [InWidth:0]       x;
    logic signed [BiasWidth-1:0]   b;
    prod_t                         product;
    acc_t                          acc, sum;
    assign w   = w1[l*WeightWidth+:WeightWidth];
    assign x   = {InSigned & x1[(l+1)*InWidth-1], x1[l*InWidth+:InWidth]};
    assign b   = bias2[l*BiasWidth+:BiasWidth];
    assign sum = (first2 ? acc_t'(signed'({b[BiasWidth-1], b})) : acc) + acc_t'(signed'({product[ProdWidth-1], product}));

    always_ff @(posedge clk_i) begin
      if (go) begin
        product <= prod_t'(x) * prod_t'(w);
        if (valid2) acc <= sum;
        if (valid2 && last2) m_data_o[l*OutWidth+:OutWidth] <= sum;
      end
    end
  end

`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || Blocks == 0 || Taps == 0 || InWidth == 0 || WeightWidth == 0 || BiasWidth == 0 || OutWidth == 0)
      $fatal(1, "%m: every number is at least 1");
  end
`endif
endmodule
