// Line buffer: a feature map comes in pixel by pixel, the windows of a convolution or pool go out element by element.
//
// A pixel is Blocks beats of Lanes channels.  For each position (row by row) the window leaves group by group, in a group
// tap by tap (row by row), at each tap Blocks/Groups beats: Groups=1 for a dense convolution, Groups=Blocks for a depthwise
// one or a pool.  Outside the map stands PadValue.  A map of one axis comes as rows of one pixel.
// A ring of RingRows rows of the map is written row by row, while a row of windows is read from it; a window waits until its
// last pixel has come.  With what a window spans, and the rows on which the next row of windows or the next frame moves,
// neither ever waits for the other's pace: cycles a frame are the larger of InRows*InCols*Blocks and
// OutRows*OutCols*KernelRows*KernelCols*Blocks.
module qs_window #(
  parameter int unsigned      Lanes      = 1,
  parameter int unsigned      Blocks     = 1,
  parameter int unsigned      Groups     = 1,
  parameter int unsigned      Width      = 8,    // of one element
  parameter logic [Width-1:0] PadValue   = '0,
  parameter int unsigned      InRows     = 8,
  parameter int unsigned      InCols     = 8,
  parameter int unsigned      OutRows    = 8,
  parameter int unsigned      OutCols    = 8,
  parameter int unsigned      KernelRows = 3,
  parameter int unsigned      KernelCols = 3,
  parameter int unsigned      StrideRows = 1,
  parameter int unsigned      StrideCols = 1,
  parameter int unsigned      DilateRows = 1,
  parameter int unsigned      DilateCols = 1,
  parameter int unsigned      PadTop     = 1,
  parameter int unsigned      PadLeft    = 1,
  parameter int unsigned      RingRows   = 4
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   s_valid_i,
  output logic                   s_ready_o,
  input  logic [Lanes*Width-1:0] s_data_i,
  output logic                   m_valid_o,
  input  logic                   m_ready_i,
  output logic [Lanes*Width-1:0] m_data_o
);
  // In a row places are counted in beats, from its first pixel.
  localparam int Line   = int'(InCols * Blocks);
  localparam int Part   = int'(Blocks / Groups);                        // beats of one group at one tap
  localparam int TapCol = int'(DilateCols * Blocks);
  localparam int Right  = int'(KernelCols - 1) * TapCol;                // first to last tap of a kernel row
  localparam int Span   = Right + int'(Blocks) - 1;                     // first to last beat of a window in a row
  localparam int Start  = -int'(PadLeft * Blocks);                      // first window
  localparam int Last   = Start + int'((OutCols - 1) * StrideCols * Blocks) + int'(Groups - 1) * Part;  // last group of the last one
  localparam int Tall   = int'((KernelRows - 1) * DilateRows) + 1;
  localparam int Top    = -int'(PadTop);
  localparam int Bottom = Top + int'((OutRows - 1) * StrideRows);
  localparam int Turn   = int'(InRows) - int'((OutRows - 1) * StrideRows);  // rows from the last windows to the next frame's first
  localparam bit Above  = PadTop > 0;                                   // windows reach out of the map there
  localparam bit Below  = Bottom + Tall > int'(InRows);
  localparam bit Before = PadLeft > 0;
  localparam bit Beyond = Last - int'(Groups - 1) * Part + Span >= Line;

  localparam int Ring     = int'(RingRows);
  localparam int RowReach = (Bottom + Tall > int'(InRows) ? Bottom + Tall : int'(InRows)) + int'(PadTop + StrideRows);
  localparam int ColReach = (Last + Span > Line ? Last + Span : Line) - Start + int'((StrideCols + DilateCols) * Blocks);
  localparam int Move     = Turn > int'(StrideRows) ? Turn : int'(StrideRows);
  localparam int RowWidth   = $clog2(RowReach + 1) + 1;
  localparam int ColWidth   = $clog2(ColReach + 1) + 1;
  localparam int LeadWidth  = $clog2((Ring > Move ? Ring : Move) + 1) + 2;
  localparam int BothWidth  = LeadWidth > RowWidth ? LeadWidth : RowWidth;
  localparam int SlotWidth  = Ring > 1 ? $clog2(Ring) : 1;
  localparam int LineWidth  = Line > 1 ? $clog2(Line) : 1;
  localparam int AddrWidth  = Ring * Line > 1 ? $clog2(Ring * Line) : 1;
  localparam int BlockWidth = Part > 1 ? $clog2(Part) : 1;
  localparam int GroupWidth = Groups > 1 ? $clog2(Groups) : 1;
  localparam int KRowWidth  = KernelRows > 1 ? $clog2(KernelRows) : 1;
  localparam int KColWidth  = KernelCols > 1 ? $clog2(KernelCols) : 1;
  typedef logic signed [RowWidth-1:0]  row_t;
  typedef logic signed [ColWidth-1:0]  col_t;
  typedef logic signed [LeadWidth-1:0] lead_t;
  typedef logic signed [BothWidth-1:0] both_t;
  typedef logic [SlotWidth-1:0]        slot_t;
  typedef logic [LineWidth-1:0]        line_t;
  typedef logic [AddrWidth-1:0]        addr_t;

  logic [Lanes*Width-1:0] mem [Ring*Line];

  // A row of the ring and a place in it as an address.
  addr_t base [Ring];
  for (genvar k = 0; k < Ring; k++) begin : gen_base
    assign base[k] = addr_t'(k * Line);
  end

  // Writer.  `lead`: rows that are whole, counted from the first row of the windows that are being read; `room`: rows that may
  // still come, which grows when the last element of a row of windows has been read.
  lead_t lead, room;
  slot_t wslot;
  line_t wat;
  logic  push, whole;

  assign s_ready_o = room > lead_t'(0);
  assign push      = s_valid_i && s_ready_o;
  assign whole     = push && wat == line_t'(Line - 1);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      wslot <= '0;
      wat   <= '0;
    end else if (push) begin
      wat <= whole ? '0 : wat + line_t'(1);
      if (whole) wslot <= wslot == slot_t'(Ring - 1) ? '0 : wslot + slot_t'(1);
    end
  end

  addr_t waddr;
  assign waddr = base[wslot] + addr_t'(wat);

  always_ff @(posedge clk_i) begin
    if (push) mem[waddr] <= s_data_i ^ {Lanes{PadValue}};
  end

  // Reader: nested loops; those over windows are the places themselves.
  logic [BlockWidth-1:0] block;
  logic [KColWidth-1:0]  kcol;
  logic [KRowWidth-1:0]  krow;
  logic [GroupWidth-1:0] group;
  row_t                  row, top;     // of this element; of the first row of this window
  slot_t                 slot, tslot;  // where these rows are in the ring
  col_t                  at, first;    // place of this element; of the first one of this group in this window
  logic                  fresh;        // a window begins
  logic                  end_block, end_kcol, end_krow, end_group, end_ocol, end_orow;
  logic                  there, go, issue;
  logic                  row_read, frame_read;  // what is being addressed is the last of a row of windows, of a frame

  assign end_block = block == BlockWidth'(Part - 1);
  assign end_kcol  = end_block && kcol == KColWidth'(KernelCols - 1);
  assign end_krow  = end_kcol && krow == KRowWidth'(KernelRows - 1);
  assign end_group = end_krow && group == GroupWidth'(Groups - 1);
  assign end_ocol  = end_krow && first == col_t'(Last);
  assign end_orow  = end_ocol && top == row_t'(Bottom);

  // The last pixel of the window that is in the map has come.
  both_t lowest;
  assign lowest = Below && top > row_t'(int'(InRows) - Tall) ? both_t'(int'(InRows) - 1) - both_t'(top) : both_t'(Tall - 1);
  assign there  = both_t'(lead) > lowest || (both_t'(lead) == lowest && col_t'({1'b0, wat}) > first + col_t'(Span));
  assign go     = !m_valid_o || m_ready_i;
  assign issue  = go && (!fresh || there);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      lead <= lead_t'(PadTop);
      room <= lead_t'(Ring - int'(PadTop));
    end else begin
      lead <= lead + (whole ? lead_t'(1) : lead_t'(0)) - (issue && end_ocol ? (end_orow ? lead_t'(Turn) : lead_t'(StrideRows)) : lead_t'(0));
      room <= room - (whole ? lead_t'(1) : lead_t'(0)) + (go && row_read ? (frame_read ? lead_t'(Turn) : lead_t'(StrideRows)) : lead_t'(0));
    end
  end

  function automatic logic [SlotWidth-1:0] moved(input logic [SlotWidth-1:0] from, input int by);
    logic [SlotWidth:0] sum;
    sum = {1'b0, from} + (SlotWidth + 1)'(by % Ring);
    moved = SlotWidth'(sum >= (SlotWidth + 1)'(Ring) ? sum - (SlotWidth + 1)'(Ring) : sum);
  endfunction

  row_t  top_next;
  slot_t tslot_next;
  col_t  first_next;
  assign top_next   = end_orow ? row_t'(Top) : top + row_t'(StrideRows);
  assign tslot_next = end_orow ? moved(tslot, Turn) : moved(tslot, int'(StrideRows));
  assign first_next = end_ocol ? col_t'(Start)
                    : first + (end_group ? col_t'(int'(StrideCols * Blocks) - int'(Groups - 1) * Part) : col_t'(Part));

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      block <= '0;
      kcol  <= '0;
      krow  <= '0;
      group <= '0;
      row   <= row_t'(Top);
      top   <= row_t'(Top);
      slot  <= slot_t'((Ring - int'(PadTop) % Ring) % Ring);
      tslot <= slot_t'((Ring - int'(PadTop) % Ring) % Ring);
      at    <= col_t'(Start);
      first <= col_t'(Start);
      fresh <= 1'b1;
    end else if (issue) begin
      fresh <= end_group;
      block <= end_block ? '0 : block + BlockWidth'(1);
      if (end_block) kcol <= end_kcol ? '0 : kcol + KColWidth'(1);
      if (end_kcol) krow <= end_krow ? '0 : krow + KRowWidth'(1);
      if (end_krow) group <= end_group ? '0 : group + GroupWidth'(1);
      if (end_krow) first <= first_next;
      if (end_ocol) top <= top_next;
      if (end_ocol) tslot <= tslot_next;
      if (end_kcol) row <= !end_krow ? row + row_t'(DilateRows) : end_ocol ? top_next : top;
      if (end_kcol) slot <= !end_krow ? moved(slot, int'(DilateRows)) : end_ocol ? tslot_next : tslot;
      at <= end_krow ? first_next : end_kcol ? first : at + (end_block ? col_t'(TapCol - (Part - 1)) : col_t'(1));
    end
  end

  // An address register, then the memory's own output register, which padding clears: what is kept is the difference to it.
  logic [Lanes*Width-1:0] word;
  addr_t                  addr;
  logic                   outside, addressed, pad;
  assign outside = (Above && row < row_t'(0)) || (Below && row >= row_t'(InRows)) || (Before && at < col_t'(0)) || (Beyond && at >= col_t'(Line));

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) {m_valid_o, addressed, row_read, frame_read} <= 4'b0000;
    else if (go) {m_valid_o, addressed, row_read, frame_read} <= {addressed, issue, issue && end_ocol, end_orow};
  end

  always_ff @(posedge clk_i) begin
    if (go) addr <= base[slot] + addr_t'(at);
    if (go) pad <= outside;
  end

  always_ff @(posedge clk_i) begin
    if (go) begin
      if (pad) word <= '0;
      else word <= mem[addr];
    end
  end

  assign m_data_o = word ^ {Lanes{PadValue}};

`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || Width == 0) $fatal(1, "%m: Lanes and Width are at least 1");
    if (Groups == 0 || Blocks == 0 || Blocks % Groups != 0) $fatal(1, "%m: Groups=%0d do not divide Blocks=%0d", Groups, Blocks);
    if (OutRows == 0 || OutCols == 0 || KernelRows == 0 || KernelCols == 0 || StrideRows == 0 || StrideCols == 0)
      $fatal(1, "%m: rows, columns, kernel and stride are at least 1");
    if (Ring < Tall) $fatal(1, "%m: RingRows=%0d do not hold one window", Ring);
    if (Turn < 1) $fatal(1, "%m: the last windows begin below the map");
  end
`endif
endmodule
