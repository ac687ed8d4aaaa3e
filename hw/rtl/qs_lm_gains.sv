// A vector times the gains of the projections that read it: up to four new vectors and the largest magnitude of each, at least 1.
// v[k] = clamp(round_shift(x[k] * gain[k], shift)) for vectors 0, 1, 2 and 3, the last of which is the norm's.  Meaning: ir/lm/expand.py, gain.
//
// Vectors 0 and 3 are made by every command, 1 and 2 where all_i.  GainFile has lines {gain of 3, gain of 0}, row by row from gain_base_i;
// MoreFile {gain of 2, gain of 1} from more_base_i.  Settings as in qs_lm_epilogue.  v_o comes eight cycles after x_i.
// The quantizer reads Lanes elements of a vector, from Lanes * read_addr_i on, the first in the lowest bits, two cycles after its address.
module qs_lm_gains #(
  parameter int unsigned Dim        = 160,
  parameter int unsigned Depth      = 400,  // elements of vectors 0 and 3; 1 and 2 have Dim
  parameter int unsigned Lanes      = 2,
  parameter int unsigned RowBits    = 9,
  parameter int unsigned XWidth     = 26,
  parameter int unsigned VecWidth   = 26,
  parameter int unsigned GainWidth  = 18,
  parameter int unsigned GainRows   = 3680,
  parameter int unsigned MoreRows   = 640,
  parameter int unsigned ShiftBits  = 6,
  parameter int unsigned ShiftLeast = 0,
  parameter int unsigned ShiftMost  = 63,
  parameter              GainFile   = "",
  parameter              MoreFile   = "",
  parameter int unsigned GainBits   = GainRows > 1 ? $clog2(GainRows) : 1,
  parameter int unsigned MoreBits   = MoreRows > 1 ? $clog2(MoreRows) : 1,
  parameter int unsigned ReadBits   = Depth > Lanes ? $clog2((Depth + Lanes - 1) / Lanes) : 1
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      all_i,
  input  logic [GainBits-1:0]       gain_base_i,
  input  logic [MoreBits-1:0]       more_base_i,
  input  logic [4*ShiftBits-1:0]    shifts_i,     // of vector j at j * ShiftBits
  input  logic                      valid_i,
  input  logic                      first_i,
  input  logic [RowBits-1:0]        row_i,
  input  logic [XWidth-1:0]         x_i,
  output logic [3:0]                v_valid_o,
  output logic [RowBits-1:0]        v_row_o,
  output logic [4*VecWidth-1:0]     v_o,
  output logic [4*(VecWidth-1)-1:0] tops_o,       // VecWidth - 1 bits each; when nothing is busy
  output logic                      busy_o,
  output logic                      begun_o,
  input  logic [1:0]                read_vector_i,
  input  logic [ReadBits-1:0]       read_addr_i,
  output logic [Lanes*VecWidth-1:0] read_data_o
);
  localparam int unsigned Last     = 9;
  localparam int unsigned TopWidth = VecWidth - 1;
  localparam int unsigned LaneBits = Lanes > 1 ? $clog2(Lanes) : 1;
  typedef logic [GainBits-1:0]        gain_addr_t;
  typedef logic [MoreBits-1:0]        more_addr_t;
  typedef logic [TopWidth-1:0]        top_t;
  typedef logic signed [VecWidth-1:0] vec_t;

  logic [Last:1]              valid, first, valid_next, first_next;
  logic [8:1][RowBits-1:0]    row;
  logic                       all8;
  logic [3:0]                 valid9;
  gain_addr_t                 gain_base1;
  more_addr_t                 more_base1;
  logic [4*ShiftBits-1:0]     shifts5;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) {valid, first, busy_o, begun_o} <= '0;
    else begin
      valid   <= valid_next;
      first   <= first_next;
      busy_o  <= |valid_next;
      begun_o <= |first_next;
    end
  end
  always_ff @(posedge clk_i) begin
    row    <= {row[7:1], row_i};
    valid9 <= v_valid_o;
    if (first_i) gain_base1 <= gain_base_i;
    if (first_i) more_base1 <= more_base_i;
    if (first[4]) begin
      for (int j = 0; j < 4; j++) shifts5[j*ShiftBits+:ShiftBits] <= shifts_i[j*ShiftBits+:ShiftBits] - ShiftBits'(ShiftLeast);
    end
    if (first[7]) all8 <= all_i;
  end
  assign valid_next = {valid[Last-1:1], valid_i};
  assign first_next = {first[Last-1:1], first_i};
  assign v_valid_o = {valid[8], {2{valid[8] && all8}}, valid[8]};
  assign v_row_o   = row[8];

  logic [2*GainWidth-1:0] gains, more;
  logic [4*GainWidth-1:0] gains3;
  logic [XWidth-1:0]      x1, x2, x3;
  qs_weights #(
    .Depth(GainRows),
    .Width(2 * GainWidth),
    .Extra(1),
    .File (GainFile)
  ) u_gains (
    .clk_i,
    .en_i        (1'b1),
    .addr_i      (gain_addr_t'(row[1]) + gain_base1),
    .data_o      (gains),
    .load_valid_i(1'b0),
    .load_addr_i ('0),
    .load_data_i ('0)
  );
  qs_weights #(
    .Depth(MoreRows),
    .Width(2 * GainWidth),
    .Extra(1),
    .File (MoreFile)
  ) u_more (
    .clk_i,
    .en_i        (1'b1),
    .addr_i      (more_addr_t'(row[1]) + more_base1),
    .data_o      (more),
    .load_valid_i(1'b0),
    .load_addr_i ('0),
    .load_data_i ('0)
  );
  assign gains3 = {gains[GainWidth+:GainWidth], more, gains[GainWidth-1:0]};
  always_ff @(posedge clk_i) begin
    x1 <= x_i;
    x2 <= x1;
    x3 <= x2;
  end

  logic [1:0]                     read_vector_q, read_vector;
  logic [3:0][Lanes*VecWidth-1:0] words;
  always_ff @(posedge clk_i) begin
    read_vector_q <= read_vector_i;
    read_vector   <= read_vector_q;
  end
  assign read_data_o = words[read_vector];

  for (genvar j = 0; j < 4; j++) begin : gen_vector
    localparam int unsigned Elements = j == 1 || j == 2 ? Dim : Depth;
    localparam int unsigned Words    = (Elements + Lanes - 1) / Lanes;
    localparam int unsigned WordBits = Words > 1 ? $clog2(Words) : 1;
    typedef logic [WordBits-1:0] word_t;

    logic [XWidth+GainWidth-1:0] product;
    vec_t                        v;
    top_t                        magnitude, held, top;
    assign v_o[j*VecWidth+:VecWidth]    = v;
    assign tops_o[j*TopWidth+:TopWidth] = top;
    qs_lm_mul #(
      .AWidth(XWidth),
      .BWidth(GainWidth)
    ) u_mul (
      .clk_i,
      .a_i(x3),
      .b_i(gains3[j*GainWidth+:GainWidth]),
      .p_o(product)
    );
    qs_lm_round #(
      .InWidth  (XWidth + GainWidth),
      .OutWidth (VecWidth),
      .Least    (ShiftLeast),
      .Span     (ShiftMost - ShiftLeast),
      .ShiftBits(ShiftBits),
      .Lo       (64'sd1 - (64'sd1 <<< TopWidth)),
      .Hi       ((64'sd1 <<< TopWidth) - 64'sd1)
    ) u_round (
      .clk_i,
      .x_i     (product),
      .shift_i (shifts5[j*ShiftBits+:ShiftBits]),
      .bounds_i(1'b0),
      .y_o     (v)
    );

    assign held = first[9] ? top_t'(1) : top;
    always_ff @(posedge clk_i) begin
      magnitude <= top_t'(v < 0 ? -v : v);
      if (valid9[j] && valid[9]) top <= magnitude > held ? magnitude : held;
    end

    for (genvar l = 0; l < Lanes; l++) begin : gen_lane
      logic here;
      assign here = Lanes == 1 || row[8][LaneBits-1:0] == LaneBits'(l);
      qs_lm_memory #(
        .Depth(Words),
        .Width(VecWidth)
      ) u_memory (
        .clk_i,
        .we_i   (v_valid_o[j] && here),
        .waddr_i(word_t'(row[8] / RowBits'(Lanes))),
        .wdata_i(v),
        .raddr_i(word_t'(read_addr_i)),
        .rdata_o(words[j][l*VecWidth+:VecWidth])
      );
    end
  end

`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || (Lanes & (Lanes - 1)) != 0) $fatal(1, "%m: Lanes=%0d is no power of two", Lanes);
    if (ShiftMost < ShiftLeast || ShiftMost >= 2**ShiftBits) $fatal(1, "%m: ShiftBits=%0d for shifts of %0d to %0d", ShiftBits, ShiftLeast, ShiftMost);
  end
`endif
endmodule
