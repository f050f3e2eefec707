"""Makes ops.md from the rows: ``python docs/op_table.py`` writes it, ``--check`` says whether it is stale."""

from __future__ import annotations

import sys
from pathlib import Path

from minigrad.op import OPS, Op

PAGE = Path(__file__).with_name("ops.md")
HEAD = """# The op table

Made from the rows by `docs/op_table.py`; a test fails when it is stale. *Gradient*: the inputs that have a rule, and what
the rules read, which is all that backward keeps. *Flops*: by element, where a number. A call that starts with `·` is not
public under that name: `minigrad/functions/` has PyTorch's spelling.
"""


def gradient(row: Op) -> str:
    """The inputs that have a rule, and the save list."""
    if not row.differentiable:
        return "none"
    by = [n for n in row.inputs if n not in row.constant]
    reads = {
        {"input": "{}", "inputs": "{}", "shape": "{} (shape)", "shapes": "{} (shapes)"}[kind].format(row.inputs[where])
        if kind in ("input", "inputs", "shape", "shapes")
        else row.outputs[where] if kind == "output" else ""
        for rule in row.rules
        for kind, where in rule.reads
    } - {""}  # fmt: skip
    return f"{', '.join(by)} ← {', '.join(sorted(reads)) or 'g alone'}"


def page() -> str:
    """The whole of ops.md."""
    rooms: dict[str, list[Op]] = {}
    for row in OPS.values():
        rooms.setdefault(row.forward.__module__.rsplit(".", 1)[-1], []).append(row)
    parts = [HEAD, f"{len(OPS)} rows.\n"]
    for room, rows in rooms.items():
        parts.append(f"## `ops/{room}.py`\n\n| call | what it is | gradient | flops |\n|---|---|---|---|")
        for row in rows:
            said = row.doc.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
            flops = "by shape" if callable(row.flops) else f"{row.flops:g}"
            dot = "" if row.public else "· "
            parts.append(f"| {dot}`{row.usage()}` | {said} | {gradient(row)} | {flops} |")
        parts.append("")
    return "\n".join(parts)


def main() -> int:
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    fresh = PAGE.exists() and PAGE.read_text(encoding="utf-8") == page()
    print("docs/ops.md is up to date" if fresh else "docs/ops.md is stale: run python docs/op_table.py")
    return 0 if fresh else 1


if __name__ == "__main__":
    sys.exit(main())
