// Ternary matrix times vector: Engines engines in lockstep, each with its stream of weights, and one buffer memory of activations.
//
// x: codes, Lanes positions of all Batch vectors a beat, {buf, first, vectors' data, the first lowest}; positions ascend, `first` marks
//    position 0.  A beat of x holds Trits positions; what lies behind the last position counts for nothing, its weights being zero.
// c: {rows, beats of a row, buf}: the rows of the product with that buffer.  Row m is made by engine m mod Engines; rows of
//    the last group that are not asked for are dropped.  A command is taken while the rows of the one before come out.
// s: a stream of beats an engine, taken in lockstep; want_o: a beat of each would be taken.
// m: {row, sums of Batch vectors, the first lowest}, in ascending order, a row a cycle at most.
// busy_o: not all rows of the commands taken have left.  error_o: a beat held an illegal code; stays high until reset.
module qs_lm_gemv #(
  parameter int unsigned Engines   = 1,
  parameter int unsigned Trits     = 80,    // of a beat
  parameter int unsigned ActWidth  = 8,
  parameter int unsigned Batch     = 1,
  parameter int unsigned AccWidth  = 20,
  parameter int unsigned Encoding  = 0,     // of weights, as in qs_lm_unpack
  parameter int unsigned Lanes     = 1,     // positions written at once: a divisor of Trits
  parameter int unsigned Bufs      = 3,
  parameter int unsigned Depth     = 2,     // beats of the longest vector
  parameter int unsigned RowBits   = 16,
  parameter int unsigned BeatWidth = Encoding == 1 ? 2 * Trits : Trits / 5 * 8,
  parameter int unsigned BufBits   = Bufs > 1 ? $clog2(Bufs) : 1,
  parameter int unsigned BeatsBits = $clog2(Depth + 1)
) (
  input  logic                                    clk_i,
  input  logic                                    rst_ni,
  input  logic                                    x_valid_i,
  output logic                                    x_ready_o,
  input  logic [BufBits+Batch*Lanes*ActWidth:0]   x_data_i,
  input  logic                                    c_valid_i,
  output logic                                    c_ready_o,
  input  logic [RowBits+BeatsBits+BufBits-1:0]    c_data_i,
  input  logic [Engines-1:0]                      s_valid_i,
  output logic [Engines-1:0]                      s_ready_o,
  input  logic [Engines-1:0][BeatWidth-1:0]       s_data_i,
  output logic                                    want_o,
  output logic                                    m_valid_o,
  input  logic                                    m_ready_i,
  output logic [RowBits+Batch*AccWidth-1:0]       m_data_o,
  output logic                                    busy_o,
  output logic                                    error_o
);
  localparam int unsigned Words     = Bufs * Depth;
  localparam int unsigned AddrBits  = Words > 1 ? $clog2(Words) : 1;
  localparam int unsigned LaneBits  = Engines > 1 ? $clog2(Engines) : 1;
  localparam int unsigned SlotWidth = Batch * Lanes * ActWidth;
  localparam int unsigned Slots     = Trits / Lanes;
  typedef logic [AddrBits-1:0]  addr_t;
  typedef logic [BeatsBits-1:0] beats_t;
  typedef logic [LaneBits-1:0]  lane_t;

  function automatic addr_t start_of(logic [BufBits-1:0] b);
    start_of = '0;
    for (int unsigned k = 0; k < Bufs; k++) if (b == BufBits'(k)) start_of = addr_t'(k * Depth);
  endfunction

  // Activations: a memory for each slot of Lanes positions, written one at a time, read all at once.
  logic [Slots-1:0]                    slot, slot_now;   // one-hot: that is written next, now
  addr_t                               word, word_now, at;
  logic                                x_first;
  logic [BufBits-1:0]                  x_buf;
  logic [SlotWidth-1:0]                x_codes;
  logic [Batch*Trits*ActWidth-1:0]     x;
  assign x_ready_o                 = 1'b1;
  assign {x_buf, x_first, x_codes} = x_data_i;
  assign slot_now                  = x_first ? Slots'(1) : slot;
  assign word_now                  = x_first ? start_of(x_buf) : word;
  always_ff @(posedge clk_i) begin
    if (x_valid_i) begin
      word <= slot_now[Slots-1] ? word_now + 1'b1 : word_now;
      slot <= slot_now << 1;
      slot[0] <= slot_now[Slots-1];
    end
  end
  for (genvar k = 0; k < Slots; k++) begin : gen_slot
    logic [SlotWidth-1:0] codes;
    qs_weights #(.Depth(Words), .Width(SlotWidth), .Kind(Words <= 64 ? 2 : 0), .Loadable(1)) u_mem (
      .clk_i, .en_i(1'b1), .addr_i(at), .data_o(codes), .load_valid_i(x_valid_i && slot_now[k]), .load_addr_i(word_now), .load_data_i(x_codes));
    for (genvar b = 0; b < Batch; b++) begin : gen_vector
      assign x[(b*Trits+k*Lanes)*ActWidth+:Lanes*ActWidth] = codes[b*Lanes*ActWidth+:Lanes*ActWidth];
    end
  end

  // Entrance: beats of rows of commands.  A row starts only when there is room for its sums.
  typedef logic [RowBits-1:0] row_t;
  logic   run, first, last, go, start, last_group, taken;
  row_t   rows, c_rows;                 // still to be made, this group included
  beats_t beats, c_beats, beat;
  addr_t  base, addr;
  logic [BufBits-1:0] c_buf;
  assign {c_rows, c_beats, c_buf} = c_data_i;
  assign c_ready_o                = !run;
  assign start                    = c_valid_i && c_ready_o;
  assign last_group               = rows <= row_t'(Engines);
  assign last                     = beat == beats;
  assign want_o                   = run && (!first || !taken);
  assign go                       = want_o && (&s_valid_i);
  assign s_ready_o                = {Engines{go}};
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      run <= 1'b0;
    end else begin
      if (start) run <= 1'b1;
      else if (go && last && last_group) run <= 1'b0;
    end
  end
  always_ff @(posedge clk_i) begin
    if (start) begin
      rows  <= c_rows;
      beats <= c_beats - 1'b1;
      beat  <= '0;
      first <= 1'b1;
      base  <= start_of(c_buf);
      addr  <= start_of(c_buf);
    end else if (go) begin
      beat  <= last ? '0 : beat + 1'b1;
      first <= last;
      addr  <= last ? base : addr + 1'b1;
      if (last) rows <= rows - row_t'(Engines);
    end
    at <= addr;
  end

  // Engines.
  logic [Engines-1:0]                     sum_valid, bad;
  logic [Engines-1:0][Batch*AccWidth-1:0] sums;
  for (genvar e = 0; e < Engines; e++) begin : gen_engine
    qs_lm_engine #(.Trits(Trits), .ActWidth(ActWidth), .Batch(Batch), .AccWidth(AccWidth), .Encoding(Encoding)) u_engine (
      .clk_i, .rst_ni, .valid_i(go), .first_i(first), .last_i(last), .beat_i(s_data_i[e]), .x_i(x), .valid_o(sum_valid[e]), .acc_o(sums[e]),
      .error_o(bad[e]));
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) error_o <= 1'b0;
    else if (|bad) error_o <= 1'b1;
  end

  // Room: rows of groups that are on their way or wait to leave.
  localparam int unsigned Room     = 16;
  localparam int unsigned RoomBits = $clog2(Room + 1);
  logic [RoomBits-1:0] claimed;
  logic                claim, give;
  assign claim  = go && first;
  assign busy_o = run || claimed != '0;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      claimed <= '0;
      taken   <= 1'b0;
    end else begin
      claimed <= claimed + RoomBits'(claim) - RoomBits'(give);
      taken   <= claimed + RoomBits'(claim) - RoomBits'(give) == RoomBits'(Room);
    end
  end
  // What else is told of a group: which engine made its last row, and whether that is the last of the command.
  lane_t                               last_lane;
  assign last_lane = last_group ? lane_t'(rows - 1'b1) : lane_t'(Engines - 1);
  logic                                group_valid, group_ready, tag_valid, tag_ready, end_now, unused;
  lane_t                               keep, lane;
  logic [Engines-1:0][Batch*AccWidth-1:0] group;
  qs_fifo #(.DataWidth(LaneBits + 1), .Depth(Room)) u_tags (
    .clk_i, .rst_ni, .s_valid_i(go && last), .s_ready_o(tag_ready), .s_data_i({last_group, last_lane}),
    .m_valid_o(tag_valid), .m_ready_i(give), .m_data_o({end_now, keep}));
  qs_fifo #(.DataWidth(Engines*Batch*AccWidth), .Depth(Room)) u_groups (
    .clk_i, .rst_ni, .s_valid_i(sum_valid[0]), .s_ready_o(group_ready), .s_data_i(sums), .m_valid_o(group_valid), .m_ready_i(give), .m_data_o(group));
  assign unused = &{group_ready, tag_ready, tag_valid, sum_valid};   // there is room for both; a tag comes long before its group

  row_t row;
  logic whole;
  assign m_valid_o = group_valid;
  assign m_data_o  = {row, group[lane]};
  assign whole     = lane == keep;
  assign give      = m_valid_o && m_ready_i && whole;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      row  <= '0;
      lane <= '0;
    end else if (m_valid_o && m_ready_i) begin
      row  <= whole && end_now ? '0 : row + 1'b1;
      lane <= whole ? '0 : lane + 1'b1;
    end
  end

`ifndef SYNTHESIS
  initial begin
    if (Engines == 0 || Lanes == 0 || Bufs == 0 || Depth == 0) $fatal(1, "%m: Engines, Lanes, Bufs and Depth are at least 1");
    if (Trits % Lanes != 0) $fatal(1, "%m: Trits=%0d is no multiple of Lanes=%0d", Trits, Lanes);
  end
`endif
endmodule
