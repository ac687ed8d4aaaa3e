// s[t] = clamp(round_shift(a[t] * s[t-1] + b[t], Shift), Lo, Hi) for each of Steps rows; s[-1] is c.  Meaning: ir/interpret.py, Recur.
//
// A row flows in Beats beats; c is one row a frame, taken with the first.  The state is a memory of one row.
// Three registers: a, b and the state; product; s.  A beat waits until the one of the row before has left the third, so rows
// of fewer than 3 beats follow each other every 3 cycles; longer ones, and the first of a frame, never wait.
// SumWidth bits hold every a * s + b and the half that is added for rounding, as a signed number, and exceed Shift.
module qs_recur #(
  parameter int unsigned        Lanes     = 1,
  parameter int unsigned        Steps     = 4,
  parameter int unsigned        Beats     = 4,
  parameter int unsigned        AWidth    = 8,
  parameter bit                 ASigned   = 1,
  parameter int unsigned        BWidth    = 8,
  parameter bit                 BSigned   = 1,
  parameter int unsigned        CWidth    = 8,
  parameter bit                 CSigned   = 1,
  parameter int unsigned        OutWidth  = 8,
  parameter bit                 OutSigned = 1,
  parameter int unsigned        SumWidth  = 18,
  parameter int unsigned        Shift     = 7,
  parameter logic signed [63:0] Lo        = -128,
  parameter logic signed [63:0] Hi        = 127
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      a_valid_i,
  output logic                      a_ready_o,
  input  logic [Lanes*AWidth-1:0]   a_data_i,
  input  logic                      b_valid_i,
  output logic                      b_ready_o,
  input  logic [Lanes*BWidth-1:0]   b_data_i,
  input  logic                      c_valid_i,
  output logic                      c_ready_o,
  input  logic [Lanes*CWidth-1:0]   c_data_i,
  output logic                      m_valid_o,
  input  logic                      m_ready_i,
  output logic [Lanes*OutWidth-1:0] m_data_o
);
  localparam int unsigned LastWidth  = OutWidth + (OutSigned ? 0 : 1);
  localparam int unsigned FirstWidth = CWidth + (CSigned ? 0 : 1);
  localparam int unsigned StateWidth = LastWidth > FirstWidth ? LastWidth : FirstWidth;
  localparam int unsigned RoundWidth = SumWidth - Shift;
  localparam int unsigned StepWidth  = Steps > 1 ? $clog2(Steps) : 1;
  localparam int unsigned BeatWidth  = Beats > 1 ? $clog2(Beats) : 1;
  typedef logic signed [SumWidth-1:0]   sum_t;    // modulo 2**SumWidth; the sums themselves fit
  typedef logic signed [StateWidth-1:0] state_t;
  typedef logic signed [RoundWidth-1:0] round_t;
  typedef logic signed [OutWidth-1:0]   out_t;
  typedef logic signed [127:0]          wide_t;   // for constants only

  localparam sum_t   Half     = sum_t'((wide_t'(1) << Shift) >> 1);
  localparam wide_t  RoundMax = (wide_t'(1) <<< (RoundWidth - 1)) - 1;
  localparam wide_t  RoundMin = -RoundMax - 1;
  localparam bit     AlwaysLo = wide_t'(Lo) > RoundMax;  // no sum reaches the bounds
  localparam bit     AlwaysHi = wide_t'(Hi) < RoundMin;
  localparam round_t LoBound  = wide_t'(Lo) < RoundMin ? round_t'(RoundMin) : round_t'(Lo);
  localparam round_t HiBound  = wide_t'(Hi) > RoundMax ? round_t'(RoundMax) : round_t'(Hi);

  logic                 advance, take, first, room, held, multiplied;
  logic [StepWidth-1:0] step;
  logic [BeatWidth-1:0] read_at, write_at;
  assign advance   = !m_valid_o || m_ready_i;
  assign first     = step == '0;
  assign room      = Beats > 2 || (Beats == 2 ? !(held && multiplied) : !(held || multiplied));
  assign take      = advance && a_valid_i && b_valid_i && (first ? c_valid_i : room);
  assign a_ready_o = take;
  assign b_ready_o = take;
  assign c_ready_o = take && first;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      {m_valid_o, multiplied, held} <= 3'b000;
      step                          <= '0;
      read_at                       <= '0;
      write_at                      <= '0;
    end else if (advance) begin
      {m_valid_o, multiplied, held} <= {multiplied, held, take};
      if (take) read_at <= read_at == BeatWidth'(Beats - 1) ? '0 : read_at + 1'b1;
      if (take && read_at == BeatWidth'(Beats - 1)) step <= step == StepWidth'(Steps - 1) ? '0 : step + 1'b1;
      if (multiplied) write_at <= write_at == BeatWidth'(Beats - 1) ? '0 : write_at + 1'b1;
    end
  end

  logic [Lanes*OutWidth-1:0] state [Beats];
  logic [Lanes*OutWidth-1:0] kept, news;
  logic [Lanes*AWidth-1:0]   a_q;
  logic [Lanes*BWidth-1:0]   b_q;
  logic [Lanes*CWidth-1:0]   c_q;
  logic                      first_q;
  always_ff @(posedge clk_i) begin
    if (advance && multiplied) state[write_at] <= news;
  end
  always_ff @(posedge clk_i) begin
    if (take) kept <= state[read_at];
  end
  always_ff @(posedge clk_i) begin
    if (take) begin
      a_q     <= a_data_i;
      b_q     <= b_data_i;
      c_q     <= c_data_i;
      first_q <= first;
    end
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    logic [AWidth-1:0]   a;
    logic [BWidth-1:0]   b;
    logic [CWidth-1:0]   c;
    logic [OutWidth-1:0] s;
    state_t              old;
    sum_t                product, addend;
    round_t              rounded;
    assign a       = a_q[l*AWidth+:AWidth];
    assign b       = b_q[l*BWidth+:BWidth];
    assign c       = c_q[l*CWidth+:CWidth];
    assign s       = kept[l*OutWidth+:OutWidth];
    assign old     = first_q ? state_t'(signed'({CSigned & c[CWidth-1], c})) : state_t'(signed'({OutSigned & s[OutWidth-1], s}));
    assign rounded = round_t'((product + addend) >>> Shift);
    assign news[l*OutWidth+:OutWidth] = AlwaysLo || rounded < LoBound ? out_t'(Lo) : AlwaysHi || rounded > HiBound ? out_t'(Hi) : out_t'(rounded);
    always_ff @(posedge clk_i) begin
      if (advance) begin
        product <= sum_t'(signed'({ASigned & a[AWidth-1], a})) * sum_t'(old);
        addend  <= sum_t'(signed'({BSigned & b[BWidth-1], b})) + Half;
        m_data_o[l*OutWidth+:OutWidth] <= news[l*OutWidth+:OutWidth];
      end
    end
  end

`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || Steps == 0 || Beats == 0) $fatal(1, "%m: Lanes, Steps and Beats are at least 1");
    if (Lo > Hi) $fatal(1, "%m: Lo=%0d is above Hi=%0d", Lo, Hi);
    if (SumWidth <= Shift || SumWidth > 72) $fatal(1, "%m: SumWidth=%0d with Shift=%0d", SumWidth, Shift);
  end
`endif
endmodule
