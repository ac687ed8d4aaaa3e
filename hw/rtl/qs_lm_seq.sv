// Sequencer of a language-model core: hands out the commands of one token in order, each when the units that it waits for are idle.
//
// A word is {op, wait, payload}.  A command is offered to the unit that `op` names once no unit of `wait` is busy; the next word
// follows two cycles after it was taken: it has been read from the memory meanwhile.  Two ops are the sequencer's own: 0 ends the
// token; 1 ends it where its answer is not wanted, and is offered then (the weights of the head are passed over), and otherwise does
// nothing.
module qs_lm_seq #(
  parameter int unsigned Words       = 4,
  parameter int unsigned OpBits      = 4,
  parameter int unsigned Units       = 5,
  parameter int unsigned PayloadBits = 16,
  parameter              File        = "",
  localparam int unsigned AddrWidth  = Words > 1 ? $clog2(Words) : 1
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   start_i,     // a token, while ready_o
  input  logic                   head_i,      // its answer is wanted
  output logic                   ready_o,
  input  logic [Units-1:0]       busy_i,
  output logic                   m_valid_o,
  input  logic                   m_ready_i,   // of the unit that m_op_o names
  output logic [OpBits-1:0]      m_op_o,
  output logic [PayloadBits-1:0] m_payload_o
);
  localparam int unsigned WordBits = OpBits + Units + PayloadBits;
  localparam logic [OpBits-1:0] End = '0, EndUnlessHead = OpBits'(1);

  logic [WordBits-1:0] rom [Words];
  initial $readmemh(File, rom);

  logic [WordBits-1:0]  word, ahead;   // ahead: read from the memory, a command further on
  logic [AddrWidth-1:0] pc;
  logic [Units-1:0]    waiting;
  logic                running, loaded, load, head, idle, own, taken, over;
  assign {m_op_o, waiting, m_payload_o} = word;
  assign load      = running && !loaded;
  assign idle      = (waiting & busy_i) == '0;
  assign own       = m_op_o == End || (m_op_o == EndUnlessHead && head);
  assign m_valid_o = loaded && idle && !own;
  assign taken     = loaded && idle && (own || m_ready_i);
  assign over      = taken && (m_op_o == End || (m_op_o == EndUnlessHead && !head));
  assign ready_o   = !running;

  always_ff @(posedge clk_i) begin
    ahead <= rom[pc];
    if (load) word <= ahead;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      running <= 1'b0;
      loaded  <= 1'b0;
      pc    <= '0;
    end else begin
      loaded <= running && !taken;
      if (over) pc <= '0;
      else if (load) pc <= pc + 1'b1;
      if (start_i && ready_o) running <= 1'b1;
      else if (over) running <= 1'b0;
    end
  end
  always_ff @(posedge clk_i) if (start_i && ready_o) head <= head_i;

`ifndef SYNTHESIS
  initial if (Words == 0 || OpBits == 0 || Units == 0 || PayloadBits == 0) $fatal(1, "%m: Words, OpBits, Units and PayloadBits are at least 1");
`endif
endmodule
