// y[m, n] = sum_k a[m, k] * b[k, n].  Meaning: ir/interpret.py, MatMul.  Leading axes are successive frames.
//
// a flows row by row, KLanes elements a beat (KLanes divides K); b row by row and y row by row, Lanes elements a beat
// (Lanes divides N).  A row of a and the whole of b are double-buffered; KLanes * Lanes multipliers work at once, and a
// frame takes M * (N / Lanes) * (K / KLanes) cycles.  OutWidth holds every y; partial sums are taken modulo 2**OutWidth.
module qs_matmul #(
  parameter int unsigned M        = 2,
  parameter int unsigned K        = 4,
  parameter int unsigned N        = 4,
  parameter int unsigned KLanes   = 1,
  parameter int unsigned Lanes    = 1,
  parameter int unsigned AWidth   = 8,
  parameter bit          ASigned  = 1,
  parameter int unsigned BWidth   = 8,
  parameter bit          BSigned  = 1,
  parameter int unsigned OutWidth = 18
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      a_valid_i,
  output logic                      a_ready_o,
  input  logic [KLanes*AWidth-1:0]  a_data_i,
  input  logic                      b_valid_i,
  output logic                      b_ready_o,
  input  logic [Lanes*BWidth-1:0]   b_data_i,
  output logic                      m_valid_o,
  input  logic                      m_ready_i,
  output logic [Lanes*OutWidth-1:0] m_data_o
);
  localparam int unsigned KBeats = K / KLanes;
  localparam int unsigned NBeats = N / Lanes;
  localparam int unsigned KWidth = KBeats > 1 ? $clog2(KBeats) : 1;
  localparam int unsigned NWidth = NBeats > 1 ? $clog2(NBeats) : 1;
  localparam int unsigned MWidth = M > 1 ? $clog2(M) : 1;
  localparam int unsigned BWords = KBeats * NBeats;  // of each of the KLanes memories of b
  localparam int unsigned BAddrWidth = BWords > 1 ? $clog2(BWords) : 1;
  localparam int unsigned TurnWidth = KLanes > 1 ? $clog2(KLanes) : 1;
  typedef logic signed [OutWidth-1:0] sum_t;

`ifndef SYNTHESIS
  initial begin
    if (K % KLanes != 0) $fatal(1, "%m: KLanes=%0d does not divide K=%0d", KLanes, K);
    if (N % Lanes != 0) $fatal(1, "%m: Lanes=%0d does not divide N=%0d", Lanes, N);
  end
`endif

  // What to read: k innermost, then the beats of y, then the rows of a.
  logic                  advance, read, k_last, n_last, m_last;
  logic [KWidth-1:0]     k_at;
  logic [NWidth-1:0]     n_at;
  logic [MWidth-1:0]     m_at;
  logic [BAddrWidth-1:0] b_addr;  // k_at * NBeats + n_at
  assign k_last = k_at == KWidth'(KBeats - 1);
  assign n_last = n_at == NWidth'(NBeats - 1);
  assign m_last = m_at == MWidth'(M - 1);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      k_at   <= '0;
      n_at   <= '0;
      m_at   <= '0;
      b_addr <= '0;
    end else if (read) begin
      k_at   <= k_last ? '0 : k_at + 1'b1;
      b_addr <= !k_last ? b_addr + BAddrWidth'(NBeats) : n_last ? '0 : BAddrWidth'(n_at) + 1'b1;
      if (k_last) n_at <= n_last ? '0 : n_at + 1'b1;
      if (k_last && n_last) m_at <= m_last ? '0 : m_at + 1'b1;
    end
  end

  logic                     a_have;
  logic [KLanes*AWidth-1:0] a;
  qs_frame #(
    .Width    (KLanes * AWidth),
    .Beats    (KBeats),
    .AddrWidth(KWidth)
  ) u_a (
    .clk_i    (clk_i),
    .rst_ni   (rst_ni),
    .s_valid_i(a_valid_i),
    .s_ready_o(a_ready_o),
    .s_data_i (a_data_i),
    .have_o   (a_have),
    .read_i   (read),
    .addr_i   (k_at),
    .done_i   (read && k_last && n_last),
    .data_o   (a)
  );

  // Row k of b goes to memory k % KLanes, so that one address reads KLanes rows.
  logic [NWidth-1:0]    b_beat;
  logic [TurnWidth-1:0] b_turn;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      b_beat <= '0;
      b_turn <= '0;
    end else if (b_valid_i && b_ready_o) begin
      b_beat <= b_beat == NWidth'(NBeats - 1) ? '0 : b_beat + 1'b1;
      if (b_beat == NWidth'(NBeats - 1)) b_turn <= b_turn == TurnWidth'(KLanes - 1) ? '0 : b_turn + 1'b1;
    end
  end

  logic [KLanes-1:0]                   b_have, b_ready;
  logic [KLanes-1:0][Lanes*BWidth-1:0] b;
  for (genvar k = 0; k < KLanes; k++) begin : gen_b
    qs_frame #(
      .Width    (Lanes * BWidth),
      .Beats    (BWords),
      .AddrWidth(BAddrWidth)
    ) u_b (
      .clk_i    (clk_i),
      .rst_ni   (rst_ni),
      .s_valid_i(b_valid_i && b_turn == TurnWidth'(k)),
      .s_ready_o(b_ready[k]),
      .s_data_i (b_data_i),
      .have_o   (b_have[k]),
      .read_i   (read),
      .addr_i   (b_addr),
      .done_i   (read && k_last && n_last && m_last),
      .data_o   (b[k])
    );
  end
  assign b_ready_o = b_ready[b_turn];
  assign advance   = !m_valid_o || m_ready_i;
  assign read      = a_have && (&b_have) && advance;

  // Three stages: operands (in the memories' output registers), dot products of KLanes, sums.
  logic have_ops, have_dots, first_ops, last_ops, first_dots, last_dots;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) {m_valid_o, have_dots, have_ops} <= 3'b000;
    else if (advance) {m_valid_o, have_dots, have_ops} <= {have_dots && last_dots, have_ops, read};
  end
  always_ff @(posedge clk_i) begin
    if (advance) {first_dots, last_dots, first_ops, last_ops} <= {first_ops, last_ops, k_at == '0, k_last};
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    sum_t dot, dot_q, sum, sum_q;
    always_comb begin
      dot = '0;
      for (int unsigned k = 0; k < KLanes; k++)
        dot += sum_t'(signed'({ASigned & a[k*AWidth+AWidth-1], a[k*AWidth+:AWidth]}))
             * sum_t'(signed'({BSigned & b[k][l*BWidth+BWidth-1], b[k][l*BWidth+:BWidth]}));
    end
    assign sum = first_dots ? dot_q : sum_q + dot_q;
    always_ff @(posedge clk_i) begin
      if (advance) dot_q <= dot;
      if (advance && have_dots) sum_q <= sum;
      if (advance && have_dots && last_dots) m_data_o[l*OutWidth+:OutWidth] <= sum;
    end
  end
endmodule
