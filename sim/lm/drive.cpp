// Drives the bench of a language-model core by the commands of a file: registers, prompt tokens in, generated tokens out.
//
//   qs_bench SCRIPT LOG +verilator+...
//
// A line of the script is a command, of the log what came of it (cycles are counted from the last reset):
//   set NAME VALUE               a setting of the bench: seed, often, latency, share, mute, bad
//   reset                        five cycles; whatever was under way is forgotten
//   prompt LAST T T ...          tokens to be offered from now on, TLAST with the last of them if LAST is 1
//   drop                         the tokens that are still offered are withdrawn
//   write ADDR VALUE             AXI4-Lite                                   -> write ADDR RESP
//   read ADDR                                                                -> read ADDR VALUE RESP CYCLE
//   until ADDR MASK VALUE LIMIT  reads until (register & MASK) == VALUE      -> until OK VALUE CYCLE
//   tokens COUNT PATIENCE        until COUNT more tokens have come, or for so many cycles none went in or out
//                                                                            -> tokens OK COUNT CYCLE
//   wait COUNT                   cycles
//   (at any time)                                                            -> token VALUE LAST CYCLE; taken CYCLE (of the prompt)
// Offered beats are held, and the core's are watched: what it has once offered it may not change or withdraw.
#include <cstdint>
#include <deque>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include "Vtop.h"
#include "verilated.h"

namespace {
using u32 = std::uint32_t;
using u64 = std::uint64_t;
constexpr int kResetCycles = 5;
constexpr u64 kBusLimit = 100000;  // cycles in which a register answers

struct Beat { u32 data; bool last; };

class Driver {
public:
    Driver(VerilatedContext& context, Vtop& top, std::ostream& log) : context_(context), top_(top), log_(log) {
        top_.rst_ni = 1;
        top_.mute_i = top_.bad_i = ~0u;
        half(0);
    }

    bool carry_out(const std::string& line) {
        std::istringstream in(line);
        std::string verb;
        in >> verb;
        if (verb == "set") { std::string name; u32 value; in >> name >> value; return set(name, value); }
        if (verb == "reset") { reset(); return true; }
        if (verb == "prompt") { bool last; in >> last; for (u32 t; in >> t;) prompt_.push_back({t, false}); if (!prompt_.empty()) prompt_.back().last = last; return true; }
        if (verb == "drop") { prompt_.clear(); offered_ = false; return true; }
        if (verb == "wait") { u64 n; in >> n; while (n--) step(); return true; }
        if (verb == "write") { u32 a, v; in >> a >> v; const u32 resp = write(a, v); log_ << "write " << a << ' ' << resp << '\n'; return true; }
        if (verb == "read") { u32 a; in >> a; const auto [v, resp] = read(a); log_ << "read " << a << ' ' << v << ' ' << resp << ' ' << cycle_ << '\n'; return true; }
        if (verb == "until") { u32 a, mask, want; u64 limit; in >> a >> mask >> want >> limit; until(a, mask, want, limit); return true; }
        if (verb == "tokens") { u64 n, limit; in >> n >> limit; tokens(n, limit); return true; }
        return false;
    }

    bool stopped() const { return context_.gotFinish() || context_.errorCount() || broken_; }
    bool broken() const { return broken_; }

private:
    struct Answer { u32 value, resp; };

    void half(int clock) {
        top_.clk_i = clock;
        top_.eval();
        context_.timeInc(1);
    }

    // A clock cycle: what the streams offer and take is settled in its low half, handshakes are made at the rising edge.
    void step() {
        top_.s_axis_tvalid = offered_;
        if (offered_) { top_.s_axis_tdata = prompt_.front().data; top_.s_axis_tlast = prompt_.front().last; }
        top_.m_axis_tready = !stalled();
        half(0);
        const bool took = top_.s_axis_tvalid && top_.s_axis_tready, got = top_.m_axis_tvalid && top_.m_axis_tready;
        const Beat beat{static_cast<u32>(top_.m_axis_tdata), static_cast<bool>(top_.m_axis_tlast)};
        if (waiting_ && (!top_.m_axis_tvalid || beat.data != held_.data || beat.last != held_.last)) {
            log_ << "broken the token stream withdrew or changed a beat at cycle " << cycle_ << '\n';
            broken_ = true;
        }
        waiting_ = top_.m_axis_tvalid && !top_.m_axis_tready;
        held_ = beat;
        half(1);
        if (got) { log_ << "token " << beat.data << ' ' << beat.last << ' ' << cycle_ << '\n'; ++count_; }
        if (took) { log_ << "taken " << cycle_ << '\n'; prompt_.pop_front(); offered_ = false; }
        if (got || took) last_ = cycle_;
        if (!offered_ && !prompt_.empty()) offered_ = !stalled();
        ++cycle_;
    }

    void reset() {
        top_.s_axis_tvalid = top_.s_axil_awvalid = top_.s_axil_wvalid = top_.s_axil_arvalid = top_.s_axil_bready = top_.s_axil_rready = 0;
        top_.m_axis_tready = 0;
        half(0);
        top_.rst_ni = 0;  // between two edges: it asserts asynchronously
        half(0);
        for (int k = 0; k < kResetCycles; ++k) { half(1); half(0); }
        top_.rst_ni = 1;
        half(0);
        prompt_.clear();
        offered_ = waiting_ = false;
        cycle_ = count_ = 0;
        log_ << "reset\n";
    }

    u32 write(u32 address, u32 value) {
        top_.s_axil_awaddr = address;
        top_.s_axil_wdata = value;
        top_.s_axil_wstrb = 15;
        top_.s_axil_awvalid = top_.s_axil_wvalid = top_.s_axil_bready = 1;
        for (u64 k = 0; k < kBusLimit; ++k) {
            top_.clk_i = 0;
            top_.eval();
            const bool a = top_.s_axil_awvalid && top_.s_axil_awready, w = top_.s_axil_wvalid && top_.s_axil_wready, b = top_.s_axil_bvalid;
            const u32 resp = top_.s_axil_bresp;
            step();
            if (a) top_.s_axil_awvalid = 0;
            if (w) top_.s_axil_wvalid = 0;
            if (b) { top_.s_axil_bready = 0; return resp; }
        }
        return dead("write", address);
    }

    Answer read(u32 address) {
        top_.s_axil_araddr = address;
        top_.s_axil_arvalid = top_.s_axil_rready = 1;
        for (u64 k = 0; k < kBusLimit; ++k) {
            top_.clk_i = 0;
            top_.eval();
            const bool a = top_.s_axil_arvalid && top_.s_axil_arready, r = top_.s_axil_rvalid;
            const Answer answer{static_cast<u32>(top_.s_axil_rdata), static_cast<u32>(top_.s_axil_rresp)};
            step();
            if (a) top_.s_axil_arvalid = 0;
            if (r) { top_.s_axil_rready = 0; return answer; }
        }
        return {0, dead("read", address)};
    }

    u32 dead(const char* what, u32 address) {
        log_ << "broken the register at " << address << " does not answer a " << what << '\n';
        broken_ = true;
        return 3;
    }

    void until(u32 address, u32 mask, u32 want, u64 limit) {
        u32 value;
        const u64 end = cycle_ + limit;
        do value = read(address).value; while ((value & mask) != want && cycle_ < end && !stopped());
        log_ << "until " << ((value & mask) == want) << ' ' << value << ' ' << cycle_ << '\n';
    }

    void tokens(u64 count, u64 patience) {
        const u64 want = count_ + count;
        last_ = cycle_;
        while (count_ < want && cycle_ - last_ < patience && !stopped()) step();
        log_ << "tokens " << (count_ >= want) << ' ' << count_ << ' ' << cycle_ << '\n';
    }

    bool set(const std::string& name, u32 value) {
        if (name == "seed") { top_.seed_i = value; state_ = value * 0x9e3779b1u | 1u; }
        else if (name == "often") top_.often_i = value;
        else if (name == "latency") top_.latency_i = value;
        else if (name == "share") top_.share_i = value;
        else if (name == "mute") top_.mute_i = value;
        else if (name == "bad") top_.bad_i = value;
        else return false;
        return true;
    }

    // In often of 256 cycles (xorshift32); never without a seed.
    bool stalled() {
        if (!top_.seed_i) return false;
        state_ ^= state_ << 13;
        state_ ^= state_ >> 17;
        state_ ^= state_ << 5;
        return (state_ >> 16 & 255) < top_.often_i;
    }

    VerilatedContext& context_;
    Vtop& top_;
    std::ostream& log_;
    std::deque<Beat> prompt_;
    Beat held_{0, false};
    u64 cycle_ = 0, count_ = 0, last_ = 0;  // of the last token in or out
    u32 state_ = 1;
    bool offered_ = false, waiting_ = false, broken_ = false;
};
}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) return 2;
    VerilatedContext context;
    context.commandArgs(argc, argv);
    std::ifstream script(argv[1]);
    std::ofstream log(argv[2]);
    if (!script || !log) return 3;
    Vtop top{&context};
    Driver driver(context, top, log);
    for (std::string line; std::getline(script, line) && !driver.stopped();)
        if (!driver.carry_out(line)) { std::cerr << "%Error: unknown command: " << line << '\n'; return 4; }
    top.final();
    return context.errorCount() > 0 || driver.broken();
}
