// Matrix-vector unit, folded: y = weight * x + bias, Pe outputs and Simd inputs a cycle.  Meaning: ir/interpret.py, Dense and Conv.
//
// For each of Groups groups in turn, a vector of Cols elements arrives in Cols/Simd beats and Rows results leave in Rows/Pe
// beats: Groups * (Rows/Pe) * (Cols/Simd) cycles in all.  The vector is kept for the second and later turns (`replay`).
// Sums are taken modulo 2**OutWidth; the final ones fit (ir/infer.py proves it), so they are exact.
// Memories: one word for each cycle, weight (pe, simd) at bits (pe*Simd + simd)*WeightWidth; one bias word for each beat of results.
module qs_mvu #(
  parameter int unsigned Groups      = 1,
  parameter int unsigned Rows        = 4,
  parameter int unsigned Cols        = 4,
  parameter int unsigned Pe          = 1,
  parameter int unsigned Simd        = 1,
  parameter int unsigned InWidth     = 8,
  parameter bit          InSigned    = 1,
  parameter int unsigned WeightWidth = 8,   // signed
  parameter int unsigned BiasWidth   = 8,   // signed
  parameter int unsigned OutWidth    = 20,
  parameter              WeightFile  = "",
  parameter              BiasFile    = ""
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,
  input  logic                    s_valid_i,
  output logic                    s_ready_o,
  input  logic [Simd*InWidth-1:0] s_data_i,
  output logic                    m_valid_o,
  input  logic                    m_ready_i,
  output logic [Pe*OutWidth-1:0]  m_data_o
);
  localparam int unsigned Turns       = Rows / Pe;
  localparam int unsigned Beats       = Cols / Simd;
  localparam int unsigned Words       = Groups * Turns * Beats;
  localparam int unsigned BiasWords   = Groups * Turns;
  localparam int unsigned TurnWidth   = Turns > 1 ? $clog2(Turns) : 1;
  localparam int unsigned BeatWidth   = Beats > 1 ? $clog2(Beats) : 1;
  localparam int unsigned AddrWidth   = Words > 1 ? $clog2(Words) : 1;
  localparam int unsigned BAddrWidth  = BiasWords > 1 ? $clog2(BiasWords) : 1;
  localparam int unsigned ProdWidth   = InWidth + 1 + WeightWidth;
  typedef logic [TurnWidth-1:0]         turn_t;
  typedef logic [BeatWidth-1:0]         beat_t;
  typedef logic [AddrWidth-1:0]         addr_t;
  typedef logic [BAddrWidth-1:0]        baddr_t;
  typedef logic signed [ProdWidth-1:0]  prod_t;
  typedef logic signed [OutWidth-1:0]   acc_t;

  logic [Pe*Simd*WeightWidth-1:0] weight [Words];
  logic [Pe*BiasWidth-1:0]        bias [BiasWords];
  initial $readmemh(WeightFile, weight);
  initial $readmemh(BiasFile, bias);

  // Where in the matrix the next cycle's products stand.
  turn_t  turn;
  beat_t  beat;
  addr_t  addr;
  baddr_t baddr;
  logic   go, issue, last_beat;

  assign go        = !m_valid_o || m_ready_i;            // the whole pipeline moves or stands
  assign issue     = go && (turn != '0 || s_valid_i);
  assign s_ready_o = go && turn == '0;
  assign last_beat = beat == beat_t'(Beats - 1);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      turn  <= '0;
      beat  <= '0;
      addr  <= '0;
      baddr <= '0;
    end else if (issue) begin
      beat <= last_beat ? '0 : beat + beat_t'(1);
      addr <= addr == addr_t'(Words - 1) ? '0 : addr + addr_t'(1);
      if (last_beat) begin
        turn  <= turn == turn_t'(Turns - 1) ? '0 : turn + turn_t'(1);
        baddr <= baddr == baddr_t'(BiasWords - 1) ? '0 : baddr + baddr_t'(1);
      end
    end
  end

  // Stage 1: operands.
  logic [Simd*InWidth-1:0]        x1;
  logic [Pe*Simd*WeightWidth-1:0] w1;
  logic [Pe*BiasWidth-1:0]        bias1, bias2;
  logic                           valid1, first1, last1, valid2, first2, last2;

  always_ff @(posedge clk_i) begin
    if (go) begin
      w1    <= weight[addr];
      bias1 <= bias[baddr];
      bias2 <= bias1;
    end
  end

  if (Turns > 1) begin : gen_replay
    logic [Simd*InWidth-1:0] replay [Beats];
    logic [Simd*InWidth-1:0] fresh, kept;
    logic                    is_fresh;
    always_ff @(posedge clk_i) begin
      if (s_valid_i && s_ready_o) replay[beat] <= s_data_i;
    end
    always_ff @(posedge clk_i) begin
      if (go) kept <= replay[beat];
    end
    always_ff @(posedge clk_i) begin
      if (go) begin
        fresh    <= s_data_i;
        is_fresh <= turn == '0;
      end
    end
    assign x1 = is_fresh ? fresh : kept;
  end else begin : gen_no_replay
    always_ff @(posedge clk_i) begin
      if (go) x1 <= s_data_i;
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid1 <= 1'b0;
      valid2 <= 1'b0;
      first1 <= 1'b0;
      first2 <= 1'b0;
      last1  <= 1'b0;
      last2  <= 1'b0;
    end else if (go) begin
      valid1 <= issue;
      first1 <= beat == '0;
      last1  <= last_beat;
      valid2 <= valid1;
      first2 <= first1;
      last2  <= last1;
    end
  end

  // Stage 2: sums of products.  Stage 3: accumulators, and the output register with the last of them.
  for (genvar p = 0; p < Pe; p++) begin : gen_pe
    acc_t                         dot, dot2, acc, sum;
    logic signed [BiasWidth-1:0]  b2;
    assign b2  = bias2[p*BiasWidth+:BiasWidth];
    assign sum = (first2 ? acc_t'(signed'({b2[BiasWidth-1], b2})) : acc) + dot2;

    logic [Simd*ProdWidth-1:0] products;
    for (genvar i = 0; i < Simd; i++) begin : gen_product
      logic signed [WeightWidth-1:0] w;
      logic signed [InWidth:0]       x;
      prod_t                         product;
      assign w       = w1[(p*Simd+i)*WeightWidth+:WeightWidth];
      assign x       = {InSigned & x1[(i+1)*InWidth-1], x1[i*InWidth+:InWidth]};
      assign product = prod_t'(x) * prod_t'(w);
      assign products[i*ProdWidth+:ProdWidth] = product;
    end

    always_comb begin
      dot = '0;
      for (int k = 0; k < int'(Simd); k++) dot = dot + acc_t'(signed'(products[k*ProdWidth+:ProdWidth]));
    end

    always_ff @(posedge clk_i) begin
      if (go) begin
        dot2 <= dot;
        if (valid2) acc <= sum;
        if (valid2 && last2) m_data_o[p*OutWidth+:OutWidth] <= sum;
      end
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) m_valid_o <= 1'b0;
    else if (go) m_valid_o <= valid2 && last2;
  end

`ifndef SYNTHESIS
  initial begin
    if (Groups == 0 || Pe == 0 || Simd == 0 || InWidth == 0 || WeightWidth == 0 || BiasWidth == 0 || OutWidth == 0)
      $fatal(1, "%m: every number is at least 1");
    if (Rows == 0 || Rows % Pe != 0) $fatal(1, "%m: Pe=%0d does not divide Rows=%0d", Pe, Rows);
    if (Cols == 0 || Cols % Simd != 0) $fatal(1, "%m: Simd=%0d does not divide Cols=%0d", Simd, Cols);
  end
`endif
endmodule
