"""Where a CPU says that it has an instruction set: the bits that a library reads before it runs any of its code.

Sources: Intel 64 and IA-32 Architectures SDM vol. 2A, CPUID; AMD64 Architecture Programmer's Manual vol. 3, appendix E; Linux arm64 `elf_hwcaps`.
"""
EBX, ECX, EDX, EAX = 1, 2, 3, 0
SCALAR, AVX, AVX512, AMX = 0, 0x6, 0xE6, 0x60000  # what the system must save of it (bits of XCR0)
EXTENDED = 0x80000001
HWCAP, HWCAP2 = 16, 26

# LLVM's name -> (leaf, subleaf, register, bit, XCR0 bits)
X86 = {
    "sse3": (1, 0, ECX, 0, SCALAR), "pclmul": (1, 0, ECX, 1, SCALAR), "ssse3": (1, 0, ECX, 9, SCALAR), "fma": (1, 0, ECX, 12, AVX),
    "cx16": (1, 0, ECX, 13, SCALAR), "sse4.1": (1, 0, ECX, 19, SCALAR), "sse4.2": (1, 0, ECX, 20, SCALAR), "movbe": (1, 0, ECX, 22, SCALAR),
    "popcnt": (1, 0, ECX, 23, SCALAR), "aes": (1, 0, ECX, 25, SCALAR), "avx": (1, 0, ECX, 28, AVX), "f16c": (1, 0, ECX, 29, AVX),
    "bmi": (7, 0, EBX, 3, SCALAR), "avx2": (7, 0, EBX, 5, AVX), "bmi2": (7, 0, EBX, 8, SCALAR), "avx512f": (7, 0, EBX, 16, AVX512),
    "avx512dq": (7, 0, EBX, 17, AVX512), "adx": (7, 0, EBX, 19, SCALAR), "avx512ifma": (7, 0, EBX, 21, AVX512),
    "avx512cd": (7, 0, EBX, 28, AVX512), "sha": (7, 0, EBX, 29, SCALAR), "avx512bw": (7, 0, EBX, 30, AVX512), "avx512vl": (7, 0, EBX, 31, AVX512),
    "avx512vbmi": (7, 0, ECX, 1, AVX512), "avx512vbmi2": (7, 0, ECX, 6, AVX512), "gfni": (7, 0, ECX, 8, SCALAR), "vaes": (7, 0, ECX, 9, AVX),
    "vpclmulqdq": (7, 0, ECX, 10, AVX), "avx512vnni": (7, 0, ECX, 11, AVX512), "avx512bitalg": (7, 0, ECX, 12, AVX512),
    "avx512vpopcntdq": (7, 0, ECX, 14, AVX512), "avx512vp2intersect": (7, 0, EDX, 8, AVX512), "amx-bf16": (7, 0, EDX, 22, AMX),
    "avx512fp16": (7, 0, EDX, 23, AVX512), "amx-tile": (7, 0, EDX, 24, AMX), "amx-int8": (7, 0, EDX, 25, AMX),
    "avxvnni": (7, 1, EAX, 4, AVX), "avx512bf16": (7, 1, EAX, 5, AVX512), "avxifma": (7, 1, EAX, 23, AVX),
    "avxvnniint8": (7, 1, EDX, 4, AVX), "avxneconvert": (7, 1, EDX, 5, AVX), "avxvnniint16": (7, 1, EDX, 10, AVX),
    "lzcnt": (EXTENDED, 0, ECX, 5, SCALAR), "sse4a": (EXTENDED, 0, ECX, 6, SCALAR), "xop": (EXTENDED, 0, ECX, 11, AVX),
    "fma4": (EXTENDED, 0, ECX, 16, AVX), "tbm": (EXTENDED, 0, ECX, 21, SCALAR),
}

# LLVM's name -> (auxiliary vector entry, 0, 0, bit, 0)
AARCH64 = {name: (HWCAP, 0, 0, bit, 0) for name, bit in {
    "neon": 1, "aes": 3, "sha2": 6, "crc": 7, "lse": 8, "fullfp16": 10, "rdm": 12, "jsconv": 13, "complxnum": 14, "rcpc": 15,
    "sha3": 17, "sm4": 19, "dotprod": 20, "sve": 22, "fp16fml": 23}.items()}
AARCH64 |= {name: (HWCAP2, 0, 0, bit, 0) for name, bit in {"sve2": 1, "i8mm": 13, "bf16": 14, "sme": 23}.items()}

KNOWN = {"x86_64": X86, "aarch64": AARCH64}


def needed(machine: str, features) -> list[str]:
    """Those of LLVM's features of a CPU that a compiled graph may use and a machine can be asked for, basic ones first."""
    return [name for name in KNOWN[machine] if name in set(features)]
