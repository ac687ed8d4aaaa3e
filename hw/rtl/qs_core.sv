// Sequential core: one array of multipliers that a microprogram leads through a whole network, pass by pass.
//
// A pass reads the scratchpad (or the input stream) along six loops, sums up products with weights from a memory, brings each
// result to a narrow integer and writes it to the scratchpad (or to the output stream).  The program is a list of register
// writes; a write to register 0 is a command: HALT, RUN (a pass), FETCH (weights from the outer memory, while the core goes on),
// SYNC (wait for them).  Whatever a pass reads has been written: the next word is taken when the pass is over.
// Registers: loops 8.., drain 48.., fetch 80.. (see there); 64 mode, 65 the element that stands outside, 66 shift, 67 zero, 68 lo,
// 69 hi, 70 base of the table.
// mode: [2:0] of the array, [3] x is signed, [4] x is signed where the innermost loop is not at its start, [5] from the input stream,
// [6] to the output stream, [7] one element, in all lanes, [9:8] format of the weights, [10] table, [11] where the innermost loop is
// not at its start, the address of the weights is one of the scratchpad (of a whole word): the other factor of mode 4.
module qs_core #(
  parameter int unsigned Lanes     = 4,     // elements of a word: a power of two
  parameter int unsigned Pe        = 2,     // rows at once: a power of two, at most Lanes
  parameter int unsigned Out       = 2,     // results a cycle: divides Pe
  parameter int unsigned InLanes   = 4,     // elements of an input beat
  parameter int unsigned InWidth   = 8,
  parameter bit          InSigned  = 0,
  parameter int unsigned OutWidth  = 8,
  parameter int unsigned ActWidth  = 8,     // of an element of the scratchpad
  parameter int unsigned ActWords  = 16,
  parameter int unsigned WWidth    = 8,
  parameter int unsigned Halvings  = 0,
  parameter int unsigned WWords    = 16,
  parameter int unsigned AccWidth  = 24,
  parameter int unsigned BiasWidth = 24,
  parameter int unsigned MulWidth  = 16,
  parameter int unsigned ShiftBits = 5,
  parameter int unsigned ResWidth  = 8,     // of a result, and zero, lo and hi in one bit more
  parameter int unsigned Params    = 4,
  parameter int unsigned Entries   = 1,
  parameter int unsigned PosBits   = 8,
  parameter int unsigned CountBits = 12,
  parameter bit          Products  = 0,
  parameter bit          Fetch     = 0,
  parameter int unsigned FarBits   = 1,
  parameter int unsigned ValueBits = 24,
  parameter int unsigned ProgWords = 4,
  parameter              ProgFile   = "",
  parameter              WeightFile = "",
  parameter              ParamFile  = "",
  parameter              TableFile  = "",
  parameter int unsigned WordBits  = Pe * Lanes * WWidth,
  parameter int unsigned NearBits  = WWords > 1 ? $clog2(WWords) : 1,
  parameter int unsigned PcBits    = ProgWords > 1 ? $clog2(ProgWords) : 1
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,
  input  logic                       s_valid_i,
  output logic                       s_ready_o,
  input  logic [InLanes*InWidth-1:0] s_data_i,
  output logic                       m_valid_o,
  input  logic                       m_ready_i,
  output logic [OutWidth-1:0]        m_data_o,
  output logic                       a_valid_o,   // requests to the outer memory of weights, and its words
  input  logic                       a_ready_i,
  output logic [FarBits+NearBits:0]  a_data_o,
  input  logic                       d_valid_i,
  output logic                       d_ready_o,
  input  logic [WordBits-1:0]        d_data_i,
  output logic                       busy_o,      // a pass runs
  output logic                       done_o,      // HALT: a frame is through
  output logic [31:0]                cycles_o,    // of the last frame, from HALT to HALT
  output logic [PcBits-1:0]          pc_o,
  output logic [2:0]                 error_o,     // sticky: {address of weights, address of an element, program}
  output logic                       tap_valid_o, // a result of Out elements, wherever it goes: what a test looks at
  output logic [Out*ResWidth-1:0]    tap_data_o
);
  localparam int unsigned RegBits   = 7;
  localparam int unsigned LaneBits  = $clog2(Lanes);
  localparam int unsigned WordAddr  = ActWords > 1 ? $clog2(ActWords) : 1;
  localparam int unsigned XBits     = WordAddr + LaneBits + 1;   // a bit more than needed, so that what is beyond is seen
  localparam int unsigned WUnits    = WWords * (Pe << Halvings);
  localparam int unsigned WAddr     = Products && $clog2(WUnits + 1) < XBits ? XBits : $clog2(WUnits + 1);
  localparam int unsigned WUnitAddr = $clog2(WUnits + 1);
  localparam int unsigned PBits     = Params > 1 ? $clog2(Params) : 1;
  localparam int unsigned TBits     = Entries > 1 ? $clog2(Entries) : 1;
  localparam int unsigned TagWidth  = Out + XBits + 1;

  // The program, and the registers that concern no one unit.
  logic                         word_valid, accept, taken, program_error, fetch_ready, run;
  logic [RegBits+ValueBits-1:0] word;
  logic [RegBits-1:0]           register;
  logic [ValueBits-1:0]         value;
  assign {register, value} = word;
  assign accept = !busy_o && (fetch_ready || register != '0 && register < RegBits'(80) || register == '0 && value == ValueBits'(1));
  assign taken  = word_valid && accept;
  assign run    = taken && register == '0 && value == ValueBits'(1);

  qs_core_seq #(.Words(ProgWords), .RegBits(RegBits), .ValueBits(ValueBits), .File(ProgFile)) u_seq (
    .clk_i, .rst_ni, .m_valid_o(word_valid), .m_ready_i(accept), .m_data_o(word), .pc_o, .done_o, .error_o(program_error)
  );

  logic [11:0]          mode;
  logic [ActWidth-1:0]  outside;
  logic [ShiftBits-1:0] shift;
  logic [ResWidth:0]    zero, lo, hi;
  logic [TBits-1:0]     base;
  always_ff @(posedge clk_i) begin
    if (taken) begin
      unique case (register)
        7'd64: mode    <= 12'(value);
        7'd65: outside <= ActWidth'(value);
        7'd66: shift   <= ShiftBits'(value);
        7'd67: zero    <= (ResWidth+1)'(value);
        7'd68: lo      <= (ResWidth+1)'(value);
        7'd69: hi      <= (ResWidth+1)'(value);
        7'd70: base    <= TBits'(value);
        default: ;
      endcase
    end
  end

  logic [2:0] array_mode;
  logic       is_signed, second_signed, from_stream, to_stream, by_element, use_table, apart;
  logic [1:0] format;
  assign {apart, use_table, format, by_element, to_stream, from_stream, second_signed, is_signed, array_mode} = mode;

  // Steps of the loops, and the words that they read.
  logic             loops_ready, step_valid, step, go, have;
  logic             finish, last, again, first, second, is_in;
  logic [1:0]       level;
  logic [WAddr-1:0] waddr;
  logic [XBits-1:0] xaddr;
  qs_core_loops #(
    .XBits(XBits), .WBits(WAddr), .PosBits(PosBits), .CountBits(CountBits), .RegBits(RegBits), .ValueBits(ValueBits)
  ) u_loops (
    .clk_i, .rst_ni, .c_valid_i(taken), .c_ready_o(loops_ready), .c_data_i(word), .m_valid_o(step_valid), .m_ready_i(step),
    .m_data_o({finish, level, last, again, first, second, is_in, waddr, xaddr})
  );
  logic array_ready;
  assign go        = !have || array_ready;
  assign step      = go && (!from_stream || s_valid_i);
  assign s_ready_o = go && from_stream && step_valid;

  logic [Lanes*ActWidth-1:0] kept, fresh, read, x;
  logic                      outside_q, second_q;
  logic [5:0]                flags_q;
  logic [LaneBits:0]         lane_q;
  for (genvar l = 0; l < Lanes; l++) begin : gen_in
    if (l < InLanes) begin : gen_element
      logic [InWidth-1:0] element;
      assign element = s_data_i[l*InWidth+:InWidth];
      assign fresh[l*ActWidth+:ActWidth] = ActWidth'(signed'({InSigned && element[InWidth-1], element}));
    end else begin : gen_filling
      assign fresh[l*ActWidth+:ActWidth] = '0;
    end
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) have <= 1'b0;
    else if (go) have <= step_valid && step;
  end
  always_ff @(posedge clk_i) begin
    if (go) begin
      kept      <= fresh;
      outside_q <= !is_in;
      second_q  <= second;
      flags_q   <= {level, finish, last, again, first};
      lane_q    <= (LaneBits+1)'(xaddr & XBits'(Lanes - 1));
    end
  end

  logic [XBits-1:0]          raddr;
  if (Products) begin : gen_apart
    assign raddr = apart && second ? XBits'(waddr) : xaddr;
  end else begin : gen_one_walk
    assign raddr = xaddr;
  end

  logic [Lanes-1:0]          write;
  logic [XBits-1:0]          yaddr;
  logic [Lanes*ActWidth-1:0] written;
  qs_core_spad #(.Lanes(Lanes), .Width(ActWidth), .Words(ActWords)) u_spad (
    .clk_i, .read_i(go), .raddr_i(WordAddr'(raddr >> LaneBits)), .rdata_o(read), .write_i(write),
    .waddr_i(WordAddr'(yaddr >> LaneBits)), .wdata_i(written)
  );

  logic [Lanes*ActWidth-1:0] source;
  assign source = from_stream ? kept : read;
  always_comb begin
    x = source;
    if (by_element && !(apart && second_q))
      for (int l = 0; l < int'(Lanes); l++) if (lane_q == (LaneBits+1)'(l)) x = {Lanes{source[l*int'(ActWidth)+:ActWidth]}};
    if (outside_q) x = {Lanes{outside}};
  end

  logic [WordBits-1:0] w;
  logic                fill;
  logic [NearBits+WordBits-1:0] filling;
  qs_core_weights #(.Pe(Pe), .Simd(Lanes), .Width(WWidth), .Halvings(Halvings), .Words(WWords), .File(WeightFile)) u_weights (
    .clk_i, .read_i(go), .addr_i(WUnitAddr'(waddr)), .format_i(format), .one_row_i(array_mode != '0), .w_o(w), .write_i(fill),
    .waddr_i(filling[WordBits+:NearBits]), .wdata_i(filling[WordBits-1:0])
  );
  if (Fetch) begin : gen_fetch
    qs_core_fetch #(.WordBits(WordBits), .FarBits(FarBits), .NearBits(NearBits), .RegBits(RegBits), .ValueBits(ValueBits)) u_fetch (
      .clk_i, .rst_ni, .c_valid_i(taken), .c_ready_o(fetch_ready), .c_data_i(word), .a_valid_o, .a_ready_i, .a_data_o,
      .s_valid_i(d_valid_i), .s_ready_o(d_ready_o), .s_data_i(d_data_i), .m_valid_o(fill), .m_ready_i(1'b1), .m_data_o(filling)
    );
  end else begin : gen_no_fetch
    logic unused;
    assign unused = ^{a_ready_i, d_valid_i, d_data_i};
    assign {fetch_ready, a_valid_o, d_ready_o, fill} = 4'b1000;
    assign a_data_o = '0;
    assign filling  = '0;
  end

  // Sums, results, and where they go.
  logic                                    sums_valid, sums_ready, part_valid, part_ready, res_valid, res_ready, drain_ready;
  logic [Lanes*AccWidth+2:0]               sums;
  logic [Out*AccWidth+PBits+XBits+Out:0]   part;
  logic [TagWidth+Out*ResWidth-1:0]        res;
  qs_core_array #(.Pe(Pe), .Simd(Lanes), .XWidth(ActWidth), .WWidth(WWidth), .AccWidth(AccWidth), .Products(Products)) u_array (
    .clk_i, .rst_ni, .s_valid_i(have), .s_ready_o(array_ready),
    .s_data_i({flags_q, second_q, outside_q, second_signed, is_signed, array_mode, w, x}),
    .m_valid_o(sums_valid), .m_ready_i(sums_ready), .m_data_o(sums)
  );
  qs_core_drain #(
    .Lanes(Lanes), .Out(Out), .AccWidth(AccWidth), .YBits(XBits), .PBits(PBits), .RowBits(CountBits), .RegBits(RegBits), .ValueBits(ValueBits)
  ) u_drain (
    .clk_i, .rst_ni, .c_valid_i(taken), .c_ready_o(drain_ready), .c_data_i(word), .s_valid_i(sums_valid), .s_ready_o(sums_ready),
    .s_data_i(sums), .m_valid_o(part_valid), .m_ready_i(part_ready), .m_data_o(part)
  );
  qs_core_epilogue #(
    .Out(Out), .AccWidth(AccWidth), .BiasWidth(BiasWidth), .MulWidth(MulWidth), .ShiftBits(ShiftBits), .OutWidth(ResWidth),
    .TagWidth(TagWidth), .Params(Params), .Entries(Entries), .ParamFile(ParamFile), .TableFile(TableFile)
  ) u_epilogue (
    .clk_i, .rst_ni, .shift_i(shift), .zero_i(zero), .lo_i(lo), .hi_i(hi), .table_i(use_table), .base_i(base),
    .s_valid_i(part_valid), .s_ready_o(part_ready),
    .s_data_i({part[Out*AccWidth+PBits+:TagWidth], part[Out*AccWidth+:PBits], part[Out*AccWidth-1:0]}),
    .m_valid_o(res_valid), .m_ready_i(res_ready), .m_data_o(res)
  );

  logic               res_final, out_ready;
  logic [Out-1:0]     res_mask;
  assign {res_final, res_mask, yaddr} = res[Out*ResWidth+:TagWidth];
  assign res_ready = !to_stream || out_ready;
  for (genvar l = 0; l < Lanes; l++) begin : gen_write
    logic [LaneBits:0] from;   // which of the results lane l takes
    assign from = (LaneBits+1)'((XBits'(l) - yaddr) & XBits'(Lanes - 1));
    always_comb begin
      write[l] = 1'b0;
      written[l*ActWidth+:ActWidth] = ActWidth'(res[ResWidth-1:0]);
      for (int e = 0; e < int'(Out); e++) begin
        if (from == (LaneBits+1)'(e)) begin
          write[l] = res_valid && !to_stream && res_mask[e];
          written[l*ActWidth+:ActWidth] = ActWidth'(res[e*int'(ResWidth)+:ResWidth]);
        end
      end
    end
  end

  logic [Out*OutWidth-1:0] leaving;
  for (genvar e = 0; e < Out; e++) begin : gen_leaving
    assign leaving[e*OutWidth+:OutWidth] = OutWidth'(res[e*ResWidth+:ResWidth]);
  end
  qs_core_out #(.In(Out), .Width(OutWidth)) u_out (
    .clk_i, .rst_ni, .s_valid_i(res_valid && to_stream), .s_ready_o(out_ready), .s_data_i({res_mask, leaving}),
    .m_valid_o, .m_ready_i, .m_data_o
  );

  // Status.
  logic [31:0] cycles;
  logic        beyond_x, beyond_w;
  assign beyond_x    = step_valid && step && is_in && !from_stream && (raddr >> LaneBits) >= XBits'(ActWords)
                       || |write && (yaddr >> LaneBits) >= XBits'(ActWords);
  assign beyond_w    = step_valid && step && array_mode[2:1] == '0 && waddr >= WAddr'(WUnits);
  assign tap_valid_o = res_valid && res_ready && res_mask[0];
  assign tap_data_o  = res[Out*ResWidth-1:0];
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      busy_o   <= 1'b0;
      cycles   <= '0;
      cycles_o <= '0;
      error_o  <= '0;
    end else begin
      if (run) busy_o <= 1'b1;
      else if (res_valid && res_ready && res_final) busy_o <= 1'b0;
      cycles <= done_o ? '0 : cycles + 1;
      if (done_o) cycles_o <= cycles + 1;
      error_o <= error_o | {beyond_w, beyond_x, program_error};
    end
  end
  logic unused_ready;
  assign unused_ready = ^{loops_ready, drain_ready};   // both are whenever no pass runs

`ifndef SYNTHESIS
  initial begin
    if (Pe % Out != 0 || Lanes % Pe != 0 || InLanes > Lanes || InWidth > ActWidth)
      $fatal(1, "%m: Lanes=%0d Pe=%0d Out=%0d InLanes=%0d InWidth=%0d ActWidth=%0d", Lanes, Pe, Out, InLanes, InWidth, ActWidth);
  end
`endif
endmodule
