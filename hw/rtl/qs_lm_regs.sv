// Registers of a language-model core on AXI4-Lite (AMBA AXI, B1): 32-bit words, 8-bit byte addresses.
//
//   0x00 r  ID         0x514c4d31
//   0x04 r  MODEL      the first 32 bits of the program's hash
//   0x08 w  CONTROL    ones: bit 0 starts a run (a prompt is taken, then TOKENS tokens are made), bit 1 resets the core, its errors and
//                      the run, bit 2 with bit 0: the states stay, so that the text of the run before goes on
//   0x0c r  STATUS     bit 0 busy, bit 1 done: the last run ended well, bit 2 in reset; errors, until reset: bit 8 illegal code among the weights,
//                      bit 9 memory answered with an error, bit 10 watchdog: nothing moved, bit 11 token out of vocabulary
//   0x10 rw TOKENS     to make; 0 takes a prompt only                  (after reset 1)
//   0x14 rw K          candidates of a draw; 1 takes the largest      (1)
//   0x18 rw INVTEMP    256 / temperature, 16 bits                     (256)
//   0x1c rw SEED       of the generator, loaded where a run starts without bit 2; 0 counts as 1  (1)
//   0x20 r  CYCLES     of the last run, low half; the high half is kept with it and read at 0x24
//   0x28 r  PROMPT     tokens of the prompt that were taken             0x2c r  MADE    tokens that were made
//   0x30 r  LAST       cycles of the last token, from its entry to the answer
//   0x34 r  UNDERRUNS  cycles in which an engine wanted weights that had not come, all engines together
//   0x38 rw TAP        bit 31: the group of taps in bits 4:0 goes to m_axis_tap   (0)
//   0x40 + 8 e rw BASE of engine e's weights in the outer memory, low word, then high word   (0)
//
// Any other address answers SLVERR.  A write counts as a whole word if its lowest byte is strobed, otherwise as nothing.
module qs_lm_regs #(
  parameter int unsigned Engines = 1,       // at most 24
  parameter logic [31:0] Model   = '0
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  input  logic                     s_axil_awvalid,
  output logic                     s_axil_awready,
  input  logic [7:0]               s_axil_awaddr,
  input  logic                     s_axil_wvalid,
  output logic                     s_axil_wready,
  input  logic [31:0]              s_axil_wdata,
  input  logic [3:0]               s_axil_wstrb,
  output logic                     s_axil_bvalid,
  input  logic                     s_axil_bready,
  output logic [1:0]               s_axil_bresp,
  input  logic                     s_axil_arvalid,
  output logic                     s_axil_arready,
  input  logic [7:0]               s_axil_araddr,
  output logic                     s_axil_rvalid,
  input  logic                     s_axil_rready,
  output logic [31:0]              s_axil_rdata,
  output logic [1:0]               s_axil_rresp,
  output logic                     start_o,     // for a cycle
  output logic                     keep_o,
  output logic [31:0]              tokens_o,
  output logic [31:0]              k_o,
  output logic [15:0]              invtemp_o,
  output logic [31:0]              seed_o,
  output logic [31:0]              tap_o,
  output logic [Engines-1:0][63:0] base_o,
  output logic                     core_rst_no, // reset of the core and of the run, from a register
  input  logic                     busy_i,
  input  logic                     done_i,
  input  logic [3:0]               errors_i,
  input  logic [31:0]              prompt_i,
  input  logic [31:0]              made_i,
  input  logic [31:0]              last_i,
  input  logic [31:0]              underruns_i
);
  localparam logic [31:0] Id   = 32'h514c4d31;
  localparam logic [1:0]  Okay = 2'b00, Slverr = 2'b10;

  // Writes: address and data come in any order, each is kept until the other is there.
  logic        have_addr, have_data, write, strobed, known_write, base_write;
  logic [7:0]  waddr;
  logic [31:0] wdata;
  logic [4:0]  engine;
  assign s_axil_awready = !have_addr;
  assign s_axil_wready  = !have_data;
  assign write          = have_addr && have_data && (!s_axil_bvalid || s_axil_bready);
  assign engine         = 5'(waddr[7:3] - 5'd8);
  assign base_write     = waddr[7:6] != '0 && engine < 5'(Engines) && waddr[1:0] == '0;
  always_comb begin
    unique case (waddr)
      8'h08, 8'h10, 8'h14, 8'h18, 8'h1c, 8'h38: known_write = 1'b1;
      default: known_write = base_write;
    endcase
  end

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
    if (s_axil_wready) {strobed, wdata} <= {s_axil_wstrb[0], s_axil_wdata};
    if (write) s_axil_bresp <= known_write ? Okay : Slverr;
  end

  logic set;
  assign set     = write && strobed;
  assign start_o = set && waddr == 8'h08 && wdata[0] && !wdata[1] && core_rst_no && !busy_i;
  assign keep_o  = wdata[2];

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      tokens_o  <= 32'd1;
      k_o       <= 32'd1;
      invtemp_o <= 16'd256;
      seed_o    <= 32'd1;
      tap_o     <= '0;
      base_o    <= '0;
    end else if (set) begin
      if (waddr == 8'h10) tokens_o <= wdata;
      if (waddr == 8'h14) k_o <= wdata;
      if (waddr == 8'h18) invtemp_o <= wdata[15:0];
      if (waddr == 8'h1c) seed_o <= wdata == '0 ? 32'd1 : wdata;
      if (waddr == 8'h38) tap_o <= wdata;
      for (int e = 0; e < int'(Engines); e++) begin
        if (base_write && engine == 5'(e)) base_o[e][32*waddr[2]+:32] <= wdata;
      end
    end
  end

  // Reset of the core, for eight cycles.  `off` is the same for the logic here: the other one is an asynchronous reset.
  logic [2:0] resetting;
  logic       off, stop;
  assign stop = set && waddr == 8'h08 && wdata[1];
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      resetting   <= '1;
      core_rst_no <= 1'b0;
      off         <= 1'b1;
    end else begin
      if (stop) resetting <= '1;
      else if (resetting != '0) resetting <= resetting - 1'b1;
      core_rst_no <= resetting == '0 && !stop;
      off         <= !(resetting == '0 && !stop);
    end
  end

  // Reads.
  logic        read, known;
  logic [31:0] value, high;
  logic [63:0] cycles;
  logic [4:0]  of_engine;
  assign s_axil_arready = !s_axil_rvalid || s_axil_rready;
  assign read           = s_axil_arvalid && s_axil_arready;
  assign of_engine      = 5'(s_axil_araddr[7:3] - 5'd8);

  always_comb begin
    known = 1'b1;
    value = '0;
    unique case (s_axil_araddr)
      8'h00:   value = Id;
      8'h04:   value = Model;
      8'h0c:   value = {20'b0, errors_i, 5'b0, off, done_i, busy_i};
      8'h10:   value = tokens_o;
      8'h14:   value = k_o;
      8'h18:   value = 32'(invtemp_o);
      8'h1c:   value = seed_o;
      8'h20:   value = cycles[31:0];
      8'h24:   value = high;
      8'h28:   value = prompt_i;
      8'h2c:   value = made_i;
      8'h30:   value = last_i;
      8'h34:   value = underruns_i;
      8'h38:   value = tap_o;
      default: known = s_axil_araddr[7:6] != '0 && of_engine < 5'(Engines) && s_axil_araddr[1:0] == '0;
    endcase
    for (int e = 0; e < int'(Engines); e++) begin
      if (s_axil_araddr[7:6] != '0 && of_engine == 5'(e)) value = base_o[e][32*s_axil_araddr[2]+:32];
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) s_axil_rvalid <= 1'b0;
    else s_axil_rvalid <= read || (s_axil_rvalid && !s_axil_rready);
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) cycles <= '0;
    else if (start_o) cycles <= '0;
    else if (busy_i) cycles <= cycles + 1'b1;
  end

  always_ff @(posedge clk_i) begin
    if (read) begin
      s_axil_rdata <= value;
      s_axil_rresp <= known ? Okay : Slverr;
      if (s_axil_araddr == 8'h20) high <= cycles[63:32];
    end
  end

  logic unused;
  assign unused = ^s_axil_wstrb[3:1];

`ifndef SYNTHESIS
  initial if (Engines == 0 || Engines > 24) $fatal(1, "%m: Engines=%0d; registers stand for 1 to 24", Engines);
`endif
endmodule
