"""The verb that proves the modules of a design."""
from pathlib import Path
from typing import Annotated

import typer


def prove(build: Annotated[Path, typer.Argument(help="folder of a SystemVerilog design")],
          module: Annotated[list[str], typer.Option("--module", "-m", help="only this one; may be repeated")] = [],  # noqa: B006
          limit: Annotated[float, typer.Option(help="seconds for each module")] = 60.0) -> None:
    """Prove the streams of a design's modules: the handshake, order and values of the beats, no deadlock; one line a property."""
    from hw.proof import prove_design, rows
    for row in rows(prove_design(build, limit, module)):
        where = f"{row['module']} {row['parameters']}".strip()
        print(f"{where}: {row['property']}: {row['proof']} ({row['seconds']:.1f} s)" if row["property"] else f"{where}: {row['proof']}", flush=True)
