// Control and status over AXI4-Lite (AMBA AXI, B1): what a design is, whether its frames were whole, how fast it runs.
//
//   0x00 r  ID           0x51534152
//   0x04 r  GRAPH        the first 32 bits of the graph's hash
//   0x08 w  CONTROL      ones: bit 0 clears the frame error, bit 1 resets the design, bit 2 clears the counters
//   0x0c r  STATUS       bit 0 frame error, bit 1 busy: a frame is inside, bit 2 the design is in reset
//   0x10 r  CYCLES       since the counters were cleared, low half; the high half is kept with it and read at 0x14
//   0x18 r  FRAMES_IN    whose first beat was taken          0x1c r  FRAMES_OUT   whose last beat was taken
//   0x20 r  LATENCY      cycles from the first beat in to the last beat out, of the last frame that entered an empty design
//   0x24 r  INTERVAL     cycles between the last beats of the last two frames out
//   0x28 r  IN_WAITED    cycles in which an input was offered and not taken
//   0x2c r  OUT_WAITED   cycles in which the output was offered and not taken
//
// Any other address answers SLVERR.  Byte strobes: a byte that is not strobed counts as zeros.
module qs_axil #(
  parameter logic [31:0] Graph   = '0,
  parameter int unsigned InBeats = 1,     // of a frame, at the input that is watched
  parameter bit          CheckLast = 1    // whether a frame ends with in_last_i, or with its last beat
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        s_axil_awvalid,
  output logic        s_axil_awready,
  input  logic [7:0]  s_axil_awaddr,
  input  logic        s_axil_wvalid,
  output logic        s_axil_wready,
  input  logic [31:0] s_axil_wdata,
  input  logic [3:0]  s_axil_wstrb,
  output logic        s_axil_bvalid,
  input  logic        s_axil_bready,
  output logic [1:0]  s_axil_bresp,
  input  logic        s_axil_arvalid,
  output logic        s_axil_arready,
  input  logic [7:0]  s_axil_araddr,
  output logic        s_axil_rvalid,
  input  logic        s_axil_rready,
  output logic [31:0] s_axil_rdata,
  output logic [1:0]  s_axil_rresp,
  input  logic        in_valid_i,
  input  logic        in_ready_i,
  input  logic        in_last_i,
  input  logic        out_valid_i,
  input  logic        out_ready_i,
  input  logic        out_last_i,
  input  logic        error_i,
  output logic        clear_o,      // of the frame error, for a cycle
  output logic        design_rst_no // reset of the design, from a register
);
  localparam logic [31:0] Id        = 32'h51534152;
  localparam logic [1:0]  Okay      = 2'b00, Slverr = 2'b10;
  localparam logic [7:0]  Control   = 8'h08;
  localparam int unsigned BeatWidth = InBeats > 1 ? $clog2(InBeats) : 1;

  // Writes: address and data come in any order, each is kept until the other is there.
  logic        have_addr, have_data, write, control, clear_counts;
  logic [7:0]  waddr;
  logic [2:0]  wbits;
  assign s_axil_awready = !have_addr;
  assign s_axil_wready  = !have_data;
  assign write          = have_addr && have_data && (!s_axil_bvalid || s_axil_bready);
  assign control        = write && waddr == Control;
  assign clear_o        = control && wbits[0];
  assign clear_counts   = control && wbits[2];

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      have_addr     <= 1'b0;
      have_data     <= 1'b0;
      s_axil_bvalid <= 1'b0;
    end else begin
      have_addr     <= !write && (have_addr || s_axil_awvalid);
      have_data     <= !write && (have_data || s_axil_wvalid);
      s_axil_bvalid <= write || (s_axil_bvalid && !s_axil_bready);
    end
  end

  always_ff @(posedge clk_i) begin
    if (s_axil_awready) waddr <= s_axil_awaddr;
    if (s_axil_wready) wbits <= s_axil_wstrb[0] ? s_axil_wdata[2:0] : '0;
    if (write) s_axil_bresp <= waddr == Control ? Okay : Slverr;
  end

  // Reset of the design, for eight cycles.  `off` is the same for the logic here: the other one is an asynchronous reset.
  logic [2:0] resetting;
  logic       off;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      resetting     <= '1;
      design_rst_no <= 1'b0;
      off           <= 1'b1;
    end else begin
      if (control && wbits[1]) resetting <= '1;
      else if (resetting != '0) resetting <= resetting - 1'b1;
      design_rst_no <= resetting == '0 && !(control && wbits[1]);
      off           <= !(resetting == '0 && !(control && wbits[1]));
    end
  end

  // Counters.
  logic [63:0]          cycles;
  logic [31:0]          high, frames_in, frames_out, latency, interval, in_waited, out_waited, since_in, since_out;
  logic [BeatWidth-1:0] beat;
  logic                 in_fire, in_end, middle, first, out_end, alone, started;
  logic [31:0]          held;
  assign in_fire = in_valid_i && in_ready_i;
  assign in_end  = in_fire && (CheckLast ? in_last_i : beat == BeatWidth'(InBeats - 1));
  assign first   = in_fire && !middle;
  assign out_end = out_valid_i && out_ready_i && out_last_i;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      {cycles, frames_in, frames_out, latency, interval, in_waited, out_waited, since_in, since_out, held} <= '0;
      {beat, middle, alone, started} <= '0;
    end else begin
      cycles <= cycles + 1'b1;
      if (in_fire) beat <= in_end ? '0 : beat + 1'b1;
      if (in_fire) middle <= !in_end;
      if (first) frames_in <= frames_in + 1'b1;
      if (out_end) frames_out <= frames_out + 1'b1;
      if (in_valid_i && !in_ready_i) in_waited <= in_waited + 1'b1;
      if (out_valid_i && !out_ready_i) out_waited <= out_waited + 1'b1;
      held   <= held + 32'(first) - 32'(out_end);
      since_in <= since_in + 1'b1;
      if (first && held == '0) begin
        alone    <= 1'b1;
        since_in <= 32'd1;
      end
      if (out_end && alone) begin
        latency <= since_in;
        alone   <= 1'b0;
      end
      since_out <= out_end ? 32'd1 : since_out + 1'b1;
      if (out_end) started <= 1'b1;
      if (out_end && started) interval <= since_out;
      if (clear_counts) begin
        {cycles, frames_in, frames_out, latency, interval, in_waited, out_waited} <= '0;
        {alone, started} <= '0;
      end
      if (off) begin  // what was inside is gone
        {held, beat, middle} <= '0;
        {alone, started} <= '0;
      end
    end
  end

  // Reads.
  logic        read;
  logic [31:0] value;
  logic        known;
  assign s_axil_arready = !s_axil_rvalid || s_axil_rready;
  assign read           = s_axil_arvalid && s_axil_arready;

  always_comb begin
    known = 1'b1;
    unique case (s_axil_araddr)
      8'h00:   value = Id;
      8'h04:   value = Graph;
      8'h0c:   value = {29'b0, off, held != '0, error_i};
      8'h10:   value = cycles[31:0];
      8'h14:   value = high;
      8'h18:   value = frames_in;
      8'h1c:   value = frames_out;
      8'h20:   value = latency;
      8'h24:   value = interval;
      8'h28:   value = in_waited;
      8'h2c:   value = out_waited;
      default: {known, value} = '0;
    endcase
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) s_axil_rvalid <= 1'b0;
    else s_axil_rvalid <= read || (s_axil_rvalid && !s_axil_rready);
  end

  always_ff @(posedge clk_i) begin
    if (read) begin
      s_axil_rdata <= value;
      s_axil_rresp <= known ? Okay : Slverr;
      if (s_axil_araddr == 8'h10) high <= cycles[63:32];
    end
  end

  logic unused;
  assign unused = ^{s_axil_wdata[31:3], s_axil_wstrb[3:1], in_last_i};

`ifndef SYNTHESIS
  initial if (InBeats == 0) $fatal(1, "%m: InBeats is at least 1");
`endif
endmodule
