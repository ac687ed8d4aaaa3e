// Line buffer: a feature map comes in pixel by pixel, the windows of a convolution or pool go out element by element.
//
// A pixel is Blocks beats of Lanes channels.  For each position (row by row) the window leaves group by group, in a group
// tap by tap (row by row), at each tap Blocks/Groups beats: Groups=1 for a dense convolution, Groups=Blocks for a depthwise
// one or a pool.  Outside the map stands PadValue.  One axis: InRows=1, KernelRows=1.
// A ring of Depth pixels holds what a window still needs; with StrideRows rows more than the window spans, writing and
// reading overlap fully.  Cycles: the larger of InRows*InCols*Blocks and OutRows*OutCols*KernelRows*KernelCols*Blocks.
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
  parameter int unsigned      Depth      = 32    // pixels in the ring
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
  // Distances in the stream, in beats.
  localparam int Beat   = 1;
  localparam int Pixel  = int'(Blocks);
  localparam int Line   = int'(InCols * Blocks);
  localparam int Frame  = int'(InRows * InCols * Blocks);
  localparam int Ring   = int'(Depth * Blocks);
  localparam int Part   = int'(Blocks / Groups);               // beats of one group at one tap
  localparam int TapCol = int'(DilateCols) * Pixel;
  localparam int TapRow = int'(DilateRows) * Line;
  localparam int Right  = int'(KernelCols - 1) * TapCol;       // first to last tap of a kernel row
  localparam int Down   = int'(KernelRows - 1) * TapRow;
  localparam int ToCol  = int'(StrideCols) * Pixel;
  localparam int ToRow  = int'(StrideRows) * Line;
  localparam int Start  = -(int'(PadTop) * Line + int'(PadLeft) * Pixel);
  localparam int Wide   = int'(OutCols - 1) * ToCol;           // first to last window of a row
  localparam int Tall   = int'(OutRows - 1) * ToRow;
  // What to add to come to the next element, by the innermost loop that is not at its end.
  localparam int StepBeat  = Beat;
  localparam int StepTapC  = TapCol - (Part - 1);
  localparam int StepTapR  = TapRow - Right - (Part - 1);
  localparam int StepGroup = 1 - Down - Right;
  localparam int Whole     = Down + Right + Pixel - 1;         // first to last element of a window
  localparam int StepCol   = ToCol - Whole;
  localparam int StepRow   = ToRow - Wide - Whole;
  localparam int StepFrame = -Tall - Wide - Whole;             // in this frame; the next one starts Frame further on

  localparam int Reach    = Tall + Wide + Down + Right + 2 * Frame + Ring - 2 * Start + 8;
  localparam int PosWidth = $clog2(Reach) + 2;
  localparam int RowReach = int'(PadTop + InRows + (OutRows - 1) * StrideRows + (KernelRows - 1) * DilateRows) + 2;
  localparam int ColReach = int'(PadLeft + InCols + (OutCols - 1) * StrideCols + (KernelCols - 1) * DilateCols) + 2;
  localparam int RowWidth = $clog2(RowReach) + 2;
  localparam int ColWidth = $clog2(ColReach) + 2;
  localparam int RingWidth = $clog2(2 * Ring + 1);
  localparam int BlockBits = Part > 1 ? $clog2(Part) : 1;
  localparam int GroupBits = Groups > 1 ? $clog2(Groups) : 1;
  localparam int KRowBits  = KernelRows > 1 ? $clog2(KernelRows) : 1;
  localparam int KColBits  = KernelCols > 1 ? $clog2(KernelCols) : 1;
  localparam int ORowBits  = OutRows > 1 ? $clog2(OutRows) : 1;
  localparam int OColBits  = OutCols > 1 ? $clog2(OutCols) : 1;
  localparam int AddrWidth = Ring > 1 ? $clog2(Ring) : 1;
  typedef logic signed [PosWidth-1:0]  pos_t;
  typedef logic signed [RowWidth-1:0]  row_t;
  typedef logic signed [ColWidth-1:0]  col_t;
  typedef logic        [RingWidth-1:0] ring_t;

  // A distance as an address difference in the ring.
  localparam ring_t RingStart = ring_t'(((Start % Ring) + Ring) % Ring);
  localparam ring_t RingBeat  = ring_t'(StepBeat % Ring);
  localparam ring_t RingTapC  = ring_t'(((StepTapC % Ring) + Ring) % Ring);
  localparam ring_t RingTapR  = ring_t'(((StepTapR % Ring) + Ring) % Ring);
  localparam ring_t RingGroup = ring_t'(((StepGroup % Ring) + Ring) % Ring);
  localparam ring_t RingCol   = ring_t'(((StepCol % Ring) + Ring) % Ring);
  localparam ring_t RingRow   = ring_t'(((StepRow % Ring) + Ring) % Ring);
  localparam ring_t RingFrame = ring_t'((((StepFrame + Frame) % Ring) + Ring) % Ring);

  logic [Lanes*Width-1:0] mem [Ring];

  // Writer.  `ahead` counts the beats written of the frame that is being read (and of the next one).
  pos_t                 ahead, oldest;
  logic [AddrWidth-1:0] wr;
  logic                 push, issue, go, frame_done;

  assign s_ready_o = ahead - oldest < pos_t'(Ring);
  assign push      = s_valid_i && s_ready_o;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      wr    <= '0;
      ahead <= '0;
    end else begin
      if (push) wr <= wr == AddrWidth'(Ring - 1) ? '0 : wr + AddrWidth'(1);
      ahead <= ahead + (push ? pos_t'(1) : pos_t'(0)) - (frame_done ? pos_t'(Frame) : pos_t'(0));
    end
  end

  always_ff @(posedge clk_i) begin
    if (push) mem[wr] <= s_data_i;
  end

  // Reader: five nested loops and the place they stand for, in the frame (`at`), in the ring, and as row and column.
  logic [BlockBits-1:0] block;
  logic [KColBits-1:0]  kcol;
  logic [KRowBits-1:0]  krow;
  logic [GroupBits-1:0] group;
  logic [OColBits-1:0]  ocol;
  logic [ORowBits-1:0]  orow;
  logic                 end_block, end_kcol, end_krow, end_group, end_ocol, end_orow;
  pos_t                 at, first, line;  // this element; first of this window; first of this row of windows, at column 0
  ring_t                spot, spot_step, spot_next;
  row_t                 row, top;
  col_t                 col, left;
  logic                 in_map;

  assign end_block  = block == BlockBits'(Part - 1);
  assign end_kcol   = end_block && kcol == KColBits'(KernelCols - 1);
  assign end_krow   = end_kcol && krow == KRowBits'(KernelRows - 1);
  assign end_group  = end_krow && group == GroupBits'(Groups - 1);
  assign end_ocol   = end_group && ocol == OColBits'(OutCols - 1);
  assign end_orow   = end_ocol && orow == ORowBits'(OutRows - 1);
  assign in_map     = row >= row_t'(0) && row < row_t'(InRows) && col >= col_t'(0) && col < col_t'(InCols);
  assign go         = !m_valid_o || m_ready_i;
  assign issue      = go && (!in_map || at < ahead);
  assign frame_done = issue && end_orow;

  // Nothing before `oldest` is needed any more.
  always_comb begin
    if (top < row_t'(0)) oldest = '0;
    else if (left < col_t'(0)) oldest = line;
    else if (left >= col_t'(InCols)) oldest = line + pos_t'(Line);
    else oldest = first;
  end

  always_comb begin
    if (end_orow) spot_step = RingFrame;
    else if (end_ocol) spot_step = RingRow;
    else if (end_group) spot_step = RingCol;
    else if (end_krow) spot_step = RingGroup;
    else if (end_kcol) spot_step = RingTapR;
    else if (end_block) spot_step = RingTapC;
    else spot_step = RingBeat;
  end
  assign spot_next = spot + spot_step;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      block <= '0;
      kcol  <= '0;
      krow  <= '0;
      group <= '0;
      ocol  <= '0;
      orow  <= '0;
      at    <= pos_t'(Start);
      first <= pos_t'(Start);
      line  <= pos_t'(-int'(PadTop) * Line);
      spot  <= RingStart;
      row   <= row_t'(-int'(PadTop));
      top   <= row_t'(-int'(PadTop));
      col   <= col_t'(-int'(PadLeft));
      left  <= col_t'(-int'(PadLeft));
    end else if (issue) begin
      spot  <= spot_next >= ring_t'(Ring) ? spot_next - ring_t'(Ring) : spot_next;
      block <= end_block ? '0 : block + BlockBits'(1);
      if (end_block) kcol <= end_kcol ? '0 : kcol + KColBits'(1);
      if (end_kcol) krow <= end_krow ? '0 : krow + KRowBits'(1);
      if (end_krow) group <= end_group ? '0 : group + GroupBits'(1);
      if (end_group) ocol <= end_ocol ? '0 : ocol + OColBits'(1);
      if (end_ocol) orow <= end_orow ? '0 : orow + ORowBits'(1);
      if (end_orow) begin
        at    <= pos_t'(Start);
        first <= pos_t'(Start);
        line  <= pos_t'(-int'(PadTop) * Line);
        row   <= row_t'(-int'(PadTop));
        top   <= row_t'(-int'(PadTop));
        col   <= col_t'(-int'(PadLeft));
        left  <= col_t'(-int'(PadLeft));
      end else if (end_ocol) begin
        at    <= at + pos_t'(StepRow);
        first <= first + pos_t'(ToRow - Wide);
        line  <= line + pos_t'(ToRow);
        row   <= top + row_t'(StrideRows);
        top   <= top + row_t'(StrideRows);
        col   <= col_t'(-int'(PadLeft));
        left  <= col_t'(-int'(PadLeft));
      end else if (end_group) begin
        at    <= at + pos_t'(StepCol);
        first <= first + pos_t'(ToCol);
        row   <= top;
        col   <= left + col_t'(StrideCols);
        left  <= left + col_t'(StrideCols);
      end else if (end_krow) begin
        at    <= at + pos_t'(StepGroup);
        row   <= top;
        col   <= left;
      end else if (end_kcol) begin
        at    <= at + pos_t'(StepTapR);
        row   <= row + row_t'(DilateRows);
        col   <= left;
      end else if (end_block) begin
        at    <= at + pos_t'(StepTapC);
        col   <= col + col_t'(DilateCols);
      end else begin
        at    <= at + pos_t'(StepBeat);
      end
    end
  end

  // Output register: the memory's own, and a flag for padding.
  logic [Lanes*Width-1:0] word;
  logic                     padded;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) m_valid_o <= 1'b0;
    else if (go) m_valid_o <= issue;
  end

  always_ff @(posedge clk_i) begin
    if (issue) word <= mem[spot[AddrWidth-1:0]];
  end

  always_ff @(posedge clk_i) begin
    if (issue) padded <= !in_map;
  end

  assign m_data_o = padded ? {Lanes{PadValue}} : word;

`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || Width == 0) $fatal(1, "%m: Lanes and Width are at least 1");
    if (Groups == 0 || Blocks == 0 || Blocks % Groups != 0) $fatal(1, "%m: Groups=%0d do not divide Blocks=%0d", Groups, Blocks);
    if (OutRows == 0 || OutCols == 0 || KernelRows == 0 || KernelCols == 0 || StrideRows == 0 || StrideCols == 0)
      $fatal(1, "%m: rows, columns, kernel and stride are at least 1");
    if (Ring < (Frame < Down + Right + Pixel ? Frame : Down + Right + Pixel))
      $fatal(1, "%m: Depth=%0d pixels do not hold one window", Depth);
  end
`endif
endmodule
