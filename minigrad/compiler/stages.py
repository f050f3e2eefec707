"""A program after each pass, to be read beside the one before, and its memory as a picture."""

from __future__ import annotations

from typing import Any

from ..pictures.svg import BLUE, FAINT, GREEN, GRID, INK, SKY, VERMILION, Svg, shortened
from .memory import Plan
from .nests import replaced
from .primitives import Primitive
from .program import HostLine, Line, Program, SetGrad, Value


def described(program: Program) -> list[str]:
    """The lines of a program, a line each."""
    return [_line(line) for line in program.lines]


def _line(line: Any) -> str:
    if isinstance(line, HostLine):
        return f"{line.name}()"
    if isinstance(line, SetGrad):
        return f"{line.name}({line.value})"
    made = [v for v in line.results if v is not None]
    if isinstance(line, Primitive):
        return f"{line.text}({', '.join(map(_operand, line.args))}) → {', '.join(p.value.name for p in line.targets)}"
    given = [v.name for v in dict.fromkeys(line.reads())]
    if isinstance(line, Line):
        shown = replaced(line.args, lambda x: x if isinstance(x, (Value, int, float)) else None)
        given = [_operand(a) for a in shown if a is not None]
    return f"{', '.join(v.name for v in made) or '_'} = {line.name}({', '.join(given)})"


def _operand(x: Any) -> str:
    return getattr(getattr(x, "value", None), "name", None) or (x.name if isinstance(x, Value) else str(x))


class Stages:
    """What the passes made of a program, stage by stage: ``str()``, ``svg()`` in columns, ``memory()`` its places in time."""

    def __init__(self, title: str, stages: list[tuple[str, list[str]]], plan: Plan) -> None:
        self.title, self.stages, self.plan = title, stages, plan

    def __str__(self) -> str:
        return "\n\n".join(
            "\n".join([f"{name} ({len(lines)})", *(f"    {x}" for x in lines)]) for name, lines in self.stages
        )

    def svg(self) -> Svg:
        """A column for each stage that changed something: green is new in it, red is gone in the next."""
        stages = [
            s
            for s, before in zip(self.stages, [None, *self.stages], strict=False)
            if not before or s[1] != before[1]
        ]
        wide, high = 310, 16
        surface = Svg(wide * len(stages) + 16, 64 + high * max(len(lines) for _, lines in stages), self.title)
        surface.text(16, 26, f"{self.title}: the program after each pass", size=14, bold=True)
        for i, (name, lines) in enumerate(stages):
            before = stages[i - 1][1] if i else lines
            after = stages[i + 1][1] if i + 1 < len(stages) else lines
            surface.text(16 + wide * i, 50, f"{name} ({len(lines)})", size=12, bold=True)
            for k, line in enumerate(lines):
                colour = VERMILION if line not in after else GREEN if line not in before else INK
                surface.text(
                    16 + wide * i, 68 + high * k, shortened(line, wide - 16, size=11), size=11, colour=colour
                )
        return surface

    def memory(self) -> Svg:
        """A box for each array with a place: over the lines from its first to its last use, at its bytes in the block."""
        plan, lines = self.plan, self.plan.program.lines
        uses: dict[Value, list[int]] = {}
        for i, line in enumerate(lines):
            for v in line.reads() if isinstance(line, Primitive) else [*line.reads(), *line.results]:
                root = None if v is None else plan.root(v)
                if root in plan.places:
                    uses.setdefault(root, []).append(i)
        left, top, step, high = 96, 44, 34, 260
        surface = Svg(max(left + step * len(lines) + 24, 560), top + high + 44, self.title)
        surface.text(
            16,
            26,
            f"{self.title}: {plan.size:,} bytes planned once, and who has them when",
            size=14,
            bold=True,
        )
        for part in range(5):
            y = top + high - high * part / 4
            surface.line([(left, y), (left + step * len(lines), y)], colour=GRID)
            surface.text(left - 8, y + 4, f"{plan.size * part // 4:,}", size=11, colour=FAINT, anchor="end")
        for i in range(len(lines)):
            surface.text(
                left + step * (i + 0.5), top + high + 16, str(i + 1), size=10, colour=FAINT, anchor="middle"
            )
        surface.text(left, top + high + 34, "line of the program", size=11, colour=FAINT)
        for v, at in uses.items():
            x, width = left + step * at[0], step * (at[-1] - at[0] + 1)
            tall = max(high * v.nbytes / max(plan.size, 1), 3)
            y = top + high - high * plan.places[v] / max(plan.size, 1) - tall
            surface.rect(x + 1, y, width - 2, tall, fill=SKY, stroke=BLUE)
            if tall >= 12:
                surface.text(x + 5, y + tall / 2 + 4, shortened(v.name, width - 8, size=10), size=10)
        return surface
