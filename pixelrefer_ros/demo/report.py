# SPDX-License-Identifier: Apache-2.0
"""What the demo prints: short aligned lines, a tick or a cross for each answer."""

import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TextIO

TICK, CROSS = '✓', '✗'
_GREEN, _RED, _BOLD, _PLAIN = '\033[32m', '\033[31m', '\033[1m', '\033[0m'
#: Widths of an answer and a truth that share a line.
_SHORT, _TRUTH = 40, 10
_LONGEST = 160


class Report:
    """Writes to a terminal, or plainly to anything else; `lines` keeps the plain text."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._colour = out.isatty()
        self._width = min(shutil.get_terminal_size((100, 24)).columns, 100) if (
            self._colour) else 100
        self.lines: list[str] = []

    def line(self, text: str = '', style: str = '') -> None:
        """One line; `style` is for terminals only."""
        self.lines.append(text)
        shown = f'{style}{text}{_PLAIN}' if style and self._colour else text
        print(shown, file=self._out, flush=True)

    def heading(self, text: str) -> None:
        """An empty line and a heading."""
        self.line()
        self.line(text, _BOLD)

    def fact(self, name: str, text: str, right: bool | None = None) -> None:
        """An aligned `name  text`, with a tick or a cross if it was judged."""
        if right is None:
            self.line(f'  {name:<10}  {text}')
        else:
            self.line(f'  {TICK if right else CROSS} {name:<8}  {text}', _GREEN if right else _RED)

    def answered(self, at_s: float, question: str, answer: str, truth: str,
                 rests_on: Sequence[float], wrong: Sequence[str]) -> None:
        """A question with the frames its answer rests on (s), the answer, the truth, a verdict."""
        if len(answer) > _LONGEST:
            answer = answer[:_LONGEST].rstrip() + ' ...'
        mark, style = (CROSS, _RED) if wrong else (TICK, _GREEN)
        frames = ', '.join(f'{at:.1f}' for at in rests_on) or '-'
        self.line(f'  {mark} {at_s:4.1f} s  {question}', style)
        detail = f' (wrong: {", ".join(wrong)})' if len(wrong) else ''
        seen = f'frame {frames} s' if len(rests_on) < 2 else f'frames {frames} s'
        if len(answer) <= _SHORT and len(truth) <= _TRUTH:
            self.line(f'            {answer:<{_SHORT}}  truth: {truth:<{_TRUTH}}  {seen}')
        else:
            self._wrapped('            ', answer + detail)
            self._wrapped('            truth: ', f'{truth} · {seen}')

    def _wrapped(self, head: str, text: str) -> None:
        for line in textwrap.wrap(head + text, self._width, subsequent_indent=' ' * 12):
            self.line(line)
