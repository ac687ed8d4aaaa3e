"""The values of the graph that a traced step keeps: their names in C and in the graph, and how many integers each has."""
ATTN = {  # name in the graph -> (field in C, its size: a macro or 1)
    "norm.u": ("norm_u", "QS_H"), "norm.top": ("norm_top", 1), "norm.root": ("norm_root", 1),
    "g_proj.in": ("g_in", "QS_H"), "g_proj.top": ("g_top", 1), "g_proj.codes": ("g_codes", "QS_H"), "g_proj": ("g", "QS_H"),
    "f_proj.in": ("f_in", "QS_H"), "f_proj.top": ("f_top", 1), "f_proj.codes": ("f_codes", "QS_H"), "f_proj": ("f", "QS_H"),
    "f_proj.factor": ("f_factor", 1), "f_proj.value": ("f_value", "QS_H"), "f_proj.sigmoid": ("f_sigmoid", "QS_H"), "forget": ("forget", "QS_H"),
    "i_proj.in": ("i_in", "QS_H"), "i_proj.top": ("i_top", 1), "i_proj.codes": ("i_codes", "QS_H"), "i_proj": ("i", "QS_H"),
    "i_proj.factor": ("i_factor", 1), "i_proj.value": ("i_value", "QS_H"), "i_proj.silu": ("i_silu", "QS_H"),
    "state": ("state", "QS_H"), "state.gate": ("state_gate", "QS_H"), "state.silu": ("state_silu", "QS_H"), "gated": ("gated", "QS_H"),
    "g_proj.squares": ("squares", 1), "g_proj.root": ("g_root", 1), "gated.eps": ("eps", 1),
    "gated.norm.u": ("gated_norm_u", "QS_H"), "gated.norm.top": ("gated_norm_top", 1), "gated.norm.root": ("gated_norm_root", 1),
    "o_proj.in": ("o_in", "QS_H"), "o_proj.top": ("o_top", 1), "o_proj.codes": ("o_codes", "QS_H"), "o_proj": ("o", "QS_H"),
    "o_proj.factor": ("o_factor", 1), "o_proj.value": ("o_value", "QS_H"), "residual": ("residual", "QS_H")}
MLP = {
    "norm.u": ("norm_u", "QS_H"), "norm.top": ("norm_top", 1), "norm.root": ("norm_root", 1),
    "gate_proj.in": ("gate_in", "QS_H"), "gate_proj.top": ("gate_top", 1), "gate_proj.codes": ("gate_codes", "QS_H"),
    "gate_proj": ("gate", "2 * QS_I"), "gate_proj.factor": ("gate_factor", 1), "gate_proj.value": ("gate_value", "QS_I"),
    "silu": ("silu", "QS_I"), "gated": ("gated", "QS_I"), "gated.eps": ("eps", 1),
    "gated.norm.u": ("gated_norm_u", "QS_I"), "gated.norm.top": ("gated_norm_top", 1), "gated.norm.root": ("gated_norm_root", 1),
    "down_proj.in": ("down_in", "QS_I"), "down_proj.top": ("down_top", 1), "down_proj.codes": ("down_codes", "QS_I"), "down_proj": ("down", "QS_H"),
    "down_proj.factor": ("down_factor", 1), "down_proj.value": ("down_value", "QS_H"), "residual": ("residual", "QS_H")}
WHOLE = {
    "embeddings": ("embeddings", "QS_H"), "norm.u": ("norm_u", "QS_H"), "norm.top": ("norm_top", 1), "norm.root": ("norm_root", 1),
    "lm_head.in": ("head_in", "QS_H"), "lm_head.top": ("head_top", 1), "lm_head.codes": ("head_codes", "QS_H"), "lm_head": ("head", "QS_V"),
    "lm_head.factor": ("head_factor", 1), "lm_head.value": ("head_value", "QS_V")}


def names(layers: int) -> list[str]:
    """Every value that a traced step keeps, by its name in the graph."""
    parts = [[f"layers.{n}.attn.{v}" for v in ATTN] + [f"layers.{n}.mlp.{v}" for v in MLP] for n in range(layers)]
    return [*WHOLE, *(name for part in parts for name in part)]


def structures() -> str:
    """C: what holds the values of a token, and where each of them lies."""
    return "\n".join([_structure("qs_attn_trace", ATTN), _structure("qs_mlp_trace", MLP),
                      "typedef struct { qs_attn_trace attn; qs_mlp_trace mlp; } qs_layer_trace;",
                      _structure("qs_trace", WHOLE, "  qs_layer_trace layers[QS_L];\n"),
                      "typedef struct { const char *name; size_t at, size; } qs_field;",
                      _table("qs_attn_fields", "qs_attn_trace", ATTN), _table("qs_mlp_fields", "qs_mlp_trace", MLP),
                      _table("qs_fields", "qs_trace", WHOLE)]) + "\n"


def _structure(kind: str, values: dict, more: str = "") -> str:
    fields = "".join(f"  int64_t {field}[{size}];\n" for field, size in values.values())
    return f"typedef struct {{\n{fields}{more}}} {kind};"


def _table(table: str, kind: str, values: dict) -> str:
    rows = "".join(f'  {{"{name}", offsetof({kind}, {field}), {size}}},\n' for name, (field, size) in values.items())
    return f"static const qs_field {table}[] = {{\n{rows}  {{NULL, 0, 0}}\n}};"
