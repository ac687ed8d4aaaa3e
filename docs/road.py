"""Draws docs/road.svg, the picture of the README: `python docs/road.py`."""
from pathlib import Path

INK, PAPER, ACCENT, SOFT = "#1f2933", "#ffffff", "#0b6e99", "#e6f1f5"


def box(x: int, y: int, w: int, title: str, note: str, fill: str = PAPER) -> str:
    return (f'<rect x="{x}" y="{y}" width="{w}" height="54" rx="8" fill="{fill}" stroke="{INK}"/>'
            f'<text x="{x + w / 2}" y="{y + 23}" text-anchor="middle" font-weight="600">{title}</text>'
            f'<text x="{x + w / 2}" y="{y + 41}" text-anchor="middle" font-size="11" fill="#52606d">{note}</text>')


def arrow(x1: int, y1: int, x2: int, y2: int) -> str:
    return f'<path d="M{x1} {y1} L{x2} {y2}" stroke="{INK}" fill="none" marker-end="url(#tip)"/>'


def main() -> None:
    parts = [box(10, 90, 130, "float model", "torch · pt2 · ONNX"), arrow(140, 117, 168, 80), arrow(140, 117, 168, 154),
             box(170, 40, 150, "damage", "what each bit is worth"), box(170, 140, 150, "cost", "bytes · LUT · cycles"),
             arrow(320, 67, 348, 105), arrow(320, 167, 348, 130),
             box(350, 90, 140, "plan", "integer program", SOFT), arrow(490, 117, 518, 117),
             box(520, 90, 140, "integer graph", "one meaning", SOFT)]
    for i, (title, note) in enumerate((("torch", "trains"), ("numpy", "the reference"), ("TVM", "library"), ("ONNX Runtime", "model.onnx"),
                                       ("SystemVerilog", "Verilator · Yosys"))):
        y = 90 + 62 * (i - 2)
        parts += [arrow(660, 117, 728, y + 27), box(730, y, 150, title, note)]
    parts.append(f'<text x="905" y="117" fill="{ACCENT}" font-weight="600" transform="rotate(90 905 117)" text-anchor="middle">'
                 'the same integers, bit for bit</text>')
    Path(__file__).with_name("road.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 -42 930 318" font-family="Helvetica,Arial,sans-serif" font-size="14" fill="{INK}">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 L8 4 L0 8 z" fill="{INK}"/></marker></defs>'
        f'<rect x="0" y="-42" width="930" height="318" fill="{PAPER}"/>' + "".join(parts) + "</svg>\n")


if __name__ == "__main__":
    main()
