// y = Lo + number of thresholds that x reaches, found by binary search: a requant to few bits without a multiplier.
//
// Step k finds bit Steps-1-k of the number: 1 if x reaches the threshold that belongs to the bits found before; 2**Steps - 1
// thresholds ascend in all.  File<k> has Rows * 2**k lines, row by row, in a row by the bits found so far; a line holds the
// thresholds of the Lanes of one beat (two's complement if Signed), lane 0 in the lowest bits.  Where a lane of a row falls,
// all bits of the number are turned over, so that y falls as x grows; FallsFile: a line a row, a bit a lane.
// The row advances every Repeat beats and wraps, as in qs_requant.  Latency Steps + 1.
module qs_threshold #(
  parameter int unsigned        Lanes          = 1,
  parameter int unsigned        Steps          = 4,   // 1 to 8
  parameter int unsigned        Rows           = 1,
  parameter int unsigned        Repeat         = 1,
  parameter int unsigned        InWidth        = 16,
  parameter bit                 InSigned       = 1,
  parameter int unsigned        ThresholdWidth = 16,
  parameter bit                 Signed         = 1,
  parameter int unsigned        OutWidth       = 4,
  parameter logic signed [63:0] Lo             = 0,
  parameter bit                 Falls          = 0,   // somewhere; then FallsFile says where
  parameter                     FallsFile      = "",
  parameter                     File0          = "",
  parameter                     File1          = "",
  parameter                     File2          = "",
  parameter                     File3          = "",
  parameter                     File4          = "",
  parameter                     File5          = "",
  parameter                     File6          = "",
  parameter                     File7          = ""
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
  localparam int unsigned RowWidth = Rows > 1 ? $clog2(Rows) : 1;
  localparam int unsigned XWidth   = InWidth + (InSigned ? 0 : 1);
  localparam int unsigned TWidth   = ThresholdWidth + (Signed ? 0 : 1);
  localparam int unsigned Wide     = XWidth > TWidth ? XWidth : TWidth;
  typedef logic [RowWidth-1:0]    row_t;
  typedef logic signed [Wide-1:0] wide_t;
  typedef logic [OutWidth-1:0]    out_t;

  logic [Steps:0] valid;  // bit k: step k has its operands
  logic           advance;
  assign advance   = !m_valid_o || m_ready_i;
  assign s_ready_o = advance;
  assign m_valid_o = valid[Steps];

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) valid <= '0;
    else if (advance) valid <= {valid[Steps-1:0], s_valid_i};
  end

  row_t row;
  if (Rows == 1) begin : gen_one
    assign row = '0;
  end else begin : gen_rows
    localparam int unsigned RepeatWidth = Repeat > 1 ? $clog2(Repeat) : 1;
    logic [RepeatWidth-1:0] beat;
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        row  <= '0;
        beat <= '0;
      end else if (s_valid_i && advance) begin
        beat <= beat == RepeatWidth'(Repeat - 1) ? '0 : beat + 1'b1;
        if (beat == RepeatWidth'(Repeat - 1)) row <= row == row_t'(Rows - 1) ? '0 : row + 1'b1;
      end
    end
  end

  // Registers of step k: the operand, its row, the bits found before, and the thresholds that belong to them.
  logic [Steps-1:0][Lanes*InWidth-1:0]        xs;
  logic [Steps-1:0][RowWidth-1:0]             rows;
  logic [Steps-1:0][Lanes*Steps-1:0]          prefix;
  logic [Steps-1:0][Lanes*ThresholdWidth-1:0] thresholds;
  logic [Steps-1:0][Lanes*Steps-1:0]          found;  // before, and the bit of this step

  for (genvar k = 0; k < Steps; k++) begin : gen_step
    localparam int Words = int'(Rows) << k;
    localparam int Addr  = Words > 1 ? $clog2(Words) : 1;
    logic [Lanes*InWidth-1:0] x_next;
    row_t                     row_next;
    logic [Lanes*Steps-1:0]   prefix_next;
    if (k == 0) begin : gen_first
      assign {x_next, row_next, prefix_next} = {s_data_i, row, (Lanes*Steps)'(0)};
    end else begin : gen_next
      assign {x_next, row_next, prefix_next} = {xs[k-1], rows[k-1], found[k-1]};
    end
    always_ff @(posedge clk_i) begin
      if (advance) {xs[k], rows[k], prefix[k]} <= {x_next, row_next, prefix_next};
    end

    for (genvar l = 0; l < Lanes; l++) begin : gen_lane
      (* rom_style = "logic" *) logic [Lanes*ThresholdWidth-1:0] words [Words];  // each lane has its own, of its bits
      logic [Addr-1:0]                 at;
      logic [InWidth-1:0]              x;
      logic [ThresholdWidth-1:0]       t;
      logic                            reached;
      case (k)
        0: begin : gen_file0 initial $readmemh(File0, words); end
        1: begin : gen_file1 initial $readmemh(File1, words); end
        2: begin : gen_file2 initial $readmemh(File2, words); end
        3: begin : gen_file3 initial $readmemh(File3, words); end
        4: begin : gen_file4 initial $readmemh(File4, words); end
        5: begin : gen_file5 initial $readmemh(File5, words); end
        6: begin : gen_file6 initial $readmemh(File6, words); end
        default: begin : gen_file7 initial $readmemh(File7, words); end
      endcase
      assign at = Addr'(row_next) << k | Addr'(prefix_next[l*Steps+:Steps]);
      always_ff @(posedge clk_i) begin
        if (advance) thresholds[k][l*ThresholdWidth+:ThresholdWidth] <= words[at][l*ThresholdWidth+:ThresholdWidth];
      end
      assign x       = xs[k][l*InWidth+:InWidth];
      assign t       = thresholds[k][l*ThresholdWidth+:ThresholdWidth];
      assign reached = wide_t'(signed'({InSigned & x[InWidth-1], x})) >= wide_t'(signed'({Signed & t[ThresholdWidth-1], t}));
      assign found[k][l*Steps+:Steps] = Steps'({prefix[k][l*Steps+:Steps], reached});
    end
  end

  logic [Lanes-1:0] falls;
  if (Falls) begin : gen_falls
    logic [Lanes-1:0] every [Rows];
    initial $readmemh(FallsFile, every);
    assign falls = every[rows[Steps-1]];
  end else begin : gen_rises
    assign falls = '0;
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_result
    logic [Steps-1:0] number;
    assign number = found[Steps-1][l*Steps+:Steps] ^ {Steps{falls[l]}};
    always_ff @(posedge clk_i) begin
      if (advance) m_data_o[l*OutWidth+:OutWidth] <= out_t'(number) + out_t'(Lo);
    end
  end

  logic unused;
  assign unused = ^{rows, prefix, found};

`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || Rows == 0 || Repeat == 0) $fatal(1, "%m: Lanes, Rows and Repeat are at least 1");
    if (Steps == 0 || Steps > 8) $fatal(1, "%m: Steps=%0d is not 1 to 8", Steps);
  end
`endif
endmodule
