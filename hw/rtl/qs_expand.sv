// Every Block beats of x, Repeat times in a row, each beat Copies times side by side.  Meaning: ir/interpret.py, Expand.
//
// An axis of length 1 that becomes longer repeats what flows inside of it: Block is the beats of the axes inside, so that a
// chain of these modules, outermost axis first, expands any axes.  A block of one beat is kept in a register, a longer one
// is double-buffered; without stalls a beat leaves in every cycle.
module qs_expand #(
  parameter int unsigned Width  = 8,  // of a beat of x
  parameter int unsigned Block  = 4,
  parameter int unsigned Repeat = 3,
  parameter int unsigned Copies = 1
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,
  input  logic                    s_valid_i,
  output logic                    s_ready_o,
  input  logic [Width-1:0]        s_data_i,
  output logic                    m_valid_o,
  input  logic                    m_ready_i,
  output logic [Copies*Width-1:0] m_data_o
);
  localparam int unsigned TurnWidth = Repeat > 1 ? $clog2(Repeat) : 1;

  logic [TurnWidth-1:0] turn;
  logic                 last_turn, turned;
  logic [Width-1:0]     beat;
  assign last_turn = turn == TurnWidth'(Repeat - 1);
  assign m_data_o  = {Copies{beat}};

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) turn <= '0;
    else if (turned) turn <= last_turn ? '0 : turn + 1'b1;
  end

  if (Block == 1) begin : gen_one
    assign turned    = m_valid_o && m_ready_i;
    assign s_ready_o = !m_valid_o || (m_ready_i && last_turn);
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) m_valid_o <= 1'b0;
      else if (s_ready_o) m_valid_o <= s_valid_i;
    end
    always_ff @(posedge clk_i) begin
      if (s_ready_o) beat <= s_data_i;
    end
  end else begin : gen_block
    localparam int unsigned AddrWidth = $clog2(Block);
    logic                 advance, have, read, last;
    logic [AddrWidth-1:0] at;
    assign advance = !m_valid_o || m_ready_i;
    assign read    = have && advance;
    assign last    = at == AddrWidth'(Block - 1);
    assign turned  = read && last;

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        m_valid_o <= 1'b0;
        at        <= '0;
      end else if (advance) begin
        m_valid_o <= read;
        if (read) at <= last ? '0 : at + 1'b1;
      end
    end

    qs_frame #(
      .Width    (Width),
      .Beats    (Block),
      .AddrWidth(AddrWidth)
    ) u_frame (
      .clk_i    (clk_i),
      .rst_ni   (rst_ni),
      .s_valid_i(s_valid_i),
      .s_ready_o(s_ready_o),
      .s_data_i (s_data_i),
      .have_o   (have),
      .read_i   (read),
      .addr_i   (at),
      .done_i   (turned && last_turn),
      .data_o   (beat)
    );
  end

`ifndef SYNTHESIS
  initial begin
    if (Width == 0 || Block == 0 || Repeat == 0 || Copies == 0) $fatal(1, "%m: every number is at least 1");
  end
`endif
endmodule
