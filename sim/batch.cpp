// Runs a bench without a test environment: reset, then clock cycles until stop_o.  A cycle costs what the model costs.
//
//   qs_bench SEED OFTEN BEATS PATIENCE LIMIT RESET [WAVES] +verilator+...     (see sim/testbench.py; RESET in cycles, 0: never)
#include <cstdio>
#include <cstdlib>

#include "Vtop.h"
#include "verilated.h"
#if VM_TRACE_FST
#include "verilated_fst_c.h"
using Trace = VerilatedFstC;
#elif VM_TRACE
#include "verilated_vcd_c.h"
using Trace = VerilatedVcdC;
#endif

namespace {
constexpr int kResetCycles = 5;
unsigned number(const char* text) { return static_cast<unsigned>(std::strtoul(text, nullptr, 10)); }
}  // namespace

int main(int argc, char** argv) {
    if (argc < 7) return 2;
    VerilatedContext context;
    context.commandArgs(argc, argv);
    Vtop top{&context};
#if VM_TRACE
    context.traceEverOn(true);
    Trace trace;
    top.trace(&trace, 99);
    trace.open(argv[7]);
    if (!trace.isOpen()) return 3;
#endif
    const auto half = [&](int clock) {
        top.clk_i = clock;
        top.eval();
#if VM_TRACE
        trace.dump(context.time());
#endif
        context.timeInc(1);
    };
    const auto reset = [&]() {
        top.rst_ni = 0;  // between two edges: it asserts asynchronously
        half(0);
        for (int k = 0; k < kResetCycles; ++k) { half(1); half(0); }
        top.rst_ni = 1;
        half(0);
    };
    top.seed_i = number(argv[1]);
    top.often_i = number(argv[2]);
    top.beats_i = number(argv[3]);
    top.patience_i = number(argv[4]);
    top.limit_i = number(argv[5]);
    unsigned left = number(argv[6]);
    top.rst_ni = 1;
    half(0);
    reset();
    while (!top.stop_o && !context.gotFinish()) {
        half(1);
        half(0);
        if (left && !--left) {
            reset();
            std::puts("reset");
        }
    }
    half(1);
    top.final();
#if VM_TRACE
    trace.close();
#endif
    return context.errorCount() > 0;
}
