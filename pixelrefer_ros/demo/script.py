# SPDX-License-Identifier: Apache-2.0
"""The planner's script: select three objects, ask, wait for things to happen, ask again; and when the
camera has ended and the objects are let go of, ask what they were, and what they did.

The same script runs against a live node and in lockstep. What it selects and when it asks comes
from the truth that lies beside the bag; what it is told is held against that truth.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from pixelrefer_model.prompt import Box, Click, MaskPrompt, Prompt
from pixelrefer_ros.demo import grading
from pixelrefer_ros.demo.grading import Verdict
from pixelrefer_ros.demo.report import Report
from pixelrefer_ros.demo.robot import NS, Reply, Robot
from pixelrefer_ros.demo.truth import Truth

#: Who is compared with whom.
PAIRS = (('clicked', 'boxed'), ('boxed', 'masked'), ('masked', 'clicked'))
#: Seconds after something happened before the planner asks about it, and between questions.
SETTLE_S, PACE_S = 1.0, 0.5
#: After an object is in sight again, so that it has been seen clearly.
RETURN_S = 1.5
#: A window is wider than the move in it by so much on either side, so that it shows the object
#: before and after: observations are half a second apart.
MARGIN_S = 0.5

Step = Callable[[int], None]


@dataclass(frozen=True)
class Asked:
    """A question, the reply to it, the truth in words, what was wrong with the reply, and the
    newest frame seen when it was asked."""

    question: str
    reply: Reply
    truth: str
    verdict: Verdict
    at_ns: int


class Planner:
    """Runs the script on `robot`; `asked` holds every question and its verdict afterwards."""

    def __init__(self, robot: Robot, truth: Truth, report: Report) -> None:
        self.robot = robot
        self.truth = truth
        self.report = report
        self.asked: list[Asked] = []
        #: id -> index of the object in the truth. The ids say how each was selected.
        self.objects = {'clicked': truth.cast.mover, 'boxed': truth.cast.bystander,
                        'masked': truth.cast.hider}

    @property
    def _window(self) -> tuple[int, int]:
        """What is asked about when something has moved: a little more than the move (ns)."""
        start_ns, end_ns = self.truth.cast.moved_ns
        return start_ns - int(MARGIN_S * NS), end_ns + int(MARGIN_S * NS)

    @property
    def right(self) -> int:
        """How many answers were right."""
        return sum(asked.verdict.right for asked in self.asked)

    def run(self) -> None:
        """The whole script, to the end of the bag. Raises RobotError when it cannot go on."""
        for due_ns, step in sorted(self._steps(), key=lambda entry: entry[0]):
            step(self.robot.look(due_ns))
        self.robot.finish()
        self._remember(max(self.robot.recording.pictures))

    def _remember(self, stamp_ns: int) -> None:
        """The second act: nothing is tracked any more, and no image is there."""
        self.robot.let_go(list(self.objects))
        self.report.heading('The objects are gone. What were they, and what have they done?')
        for name in self.objects:
            self._found(name, stamp_ns)
        for name in self.objects:
            self._category(name, stamp_ns)
        for name in ('clicked', 'boxed'):
            self._motion(name, stamp_ns)
        self.report.heading('And over all that is remembered of them?')
        for name in ('clicked', 'boxed'):
            self._moved_since(name, stamp_ns)
        for pair in PAIRS:
            self._side_at_first(*pair, stamp_ns)
        for name in self.objects:
            self._last_seen(name, stamp_ns)

    def _steps(self) -> list[tuple[int, Step]]:
        """What to do from which stamp on. Questions are spread over time, as a person's are."""
        cast = self.truth.cast
        looks: list[Step] = [partial(self._category, name) for name in self.objects]
        looks += [partial(self._detail, name) for name in self.objects]
        looks += [partial(self._side, *pair) for pair in PAIRS]
        moves: list[Step] = [partial(self._motion, name) for name in self.objects]
        again: list[Step] = [partial(self._category, 'masked'), partial(self._detail, 'masked')]
        again += [partial(self._side, *pair) for pair in PAIRS if 'masked' in pair]
        return [
            (cast.select_ns, self._select),
            *self._paced(cast.select_ns + int(SETTLE_S * NS), 'What are they?', looks),
            *self._paced(self._window[1] + int(SETTLE_S * NS),
                         f'What moved between {self._s(self._window[0]):.1f} and '
                         f'{self._s(self._window[1]):.1f} s?', moves),
            *self._paced(cast.hidden_ns[1] + int(RETURN_S * NS),
                         f'masked was out of sight from {self._s(cast.hidden_ns[0]):.1f} to '
                         f'{self._s(cast.hidden_ns[1]):.1f} s. Is it still known?', again)]

    def _paced(self, first_ns: int, heading: str, steps: list[Step]) -> list[tuple[int, Step]]:
        """A heading and then a step every PACE_S seconds."""
        entries: list[tuple[int, Step]] = [(first_ns, lambda _: self.report.heading(heading))]
        return entries + [(first_ns + int(k * PACE_S * NS), step) for k, step in enumerate(steps)]

    # --- the steps, each given the stamp of the newest frame seen

    def _select(self, stamp_ns: int) -> None:
        prompts = {name: prompt_of(name, self.truth.mask(i, stamp_ns))
                   for name, i in self.objects.items()}
        self.report.heading(f'Select three objects on the frame at {self._s(stamp_ns):.1f} s')
        for name, prompt in prompts.items():
            self.report.fact(name, in_words(prompt))
        self.robot.select(prompts, stamp_ns)

    # --- the questions; each is judged by what was true in the newest frame that it rests on

    def _category(self, name: str, stamp_ns: int) -> None:
        [reply] = self.robot.describe([name], 'category')
        truth = self.truth.scene(self.objects[name], _newest(reply, stamp_ns)).category
        self._judge(f'describe {name}: category', reply, truth,
                    grading.judge_category(reply.text, truth), stamp_ns)

    def _detail(self, name: str, stamp_ns: int) -> None:
        [reply] = self.robot.describe([name], 'detailed')
        truth = self.truth.scene(self.objects[name], _newest(reply, stamp_ns))
        self._judge(f'describe {name}: detailed', reply, truth.sentence,
                    grading.judge_description(reply.text, truth), stamp_ns)

    def _side(self, first: str, second: str, stamp_ns: int) -> None:
        i, j = self.objects[first], self.objects[second]
        if not self.truth.side_clear(i, j, stamp_ns):
            return
        question = f'Is <object:{first}> to the left or to the right of <object:{second}>?'
        reply = self.robot.ask(question, [first, second])
        truth = self.truth.side(i, j, _newest(reply, stamp_ns))
        self._judge(question, reply, truth, grading.judge_side(reply.text, truth), stamp_ns)

    def _motion(self, name: str, stamp_ns: int) -> None:
        self._way(f'Which way does <object:{name}> move?', name, self._window, stamp_ns)

    def _moved_since(self, name: str, stamp_ns: int) -> None:
        self._way(f'Which way has <object:{name}> moved since it was first seen?', name,
                  (self.truth.cast.select_ns, stamp_ns), stamp_ns)

    def _way(self, question: str, name: str, window: tuple[int, int], stamp_ns: int) -> None:
        reply = self.robot.ask(question, [name], *window)
        stamps_ns = reply.stamps_ns or list(self.truth.cast.moved_ns)
        truth = self.truth.motion(self.objects[name], stamps_ns[0], stamps_ns[-1])
        self._judge(question, reply, truth, grading.judge_motion(reply.text, truth), stamp_ns)

    def _side_at_first(self, first: str, second: str, stamp_ns: int) -> None:
        i, j, start_ns = self.objects[first], self.objects[second], self.truth.cast.select_ns
        if not self.truth.side_clear(i, j, start_ns):
            return
        question = (f'At first, was <object:{first}> to the left or to the right of '
                    f'<object:{second}>?')
        reply = self.robot.ask(question, [first, second], start_ns, stamp_ns)
        truth = self.truth.side(i, j, start_ns)
        self._judge(question, reply, truth, grading.judge_side(reply.text, truth), stamp_ns)

    def _last_seen(self, name: str, stamp_ns: int) -> None:
        start_ns = self.truth.cast.select_ns
        question = f'When was <object:{name}> seen last?'
        reply = self.robot.ask(question, [name], start_ns, stamp_ns)
        # Times of an object count from its first sighting.
        seconds = (self.truth.last_visible(self.objects[name], stamp_ns) - start_ns) / NS
        self._judge(question, reply, f'at {seconds:.1f} s of its own',
                    grading.judge_time(reply.text, seconds), stamp_ns)

    def _found(self, name: str, stamp_ns: int) -> None:
        words = '{colour} {category}'.format(**self.truth.words[self.objects[name]])
        reply = self.robot.find(words)
        self._judge(f'find: {words}', reply, name, grading.judge_id(reply.text, name), stamp_ns)

    def _judge(self, question: str, reply: Reply, truth: str, verdict: Verdict,
               stamp_ns: int) -> None:
        self.asked.append(Asked(question, reply, truth, verdict, stamp_ns))
        self.report.answered(
            self._s(stamp_ns), question, reply.text or f'({reply.error or "no words"})', truth,
            [self._s(stamp) for stamp in reply.stamps_ns], verdict.wrong)

    def _s(self, stamp_ns: int) -> float:
        """Seconds since the first frame."""
        return (stamp_ns - self.truth.stamps_ns[0]) / NS


def _newest(reply: Reply, stamp_ns: int) -> int:
    """The newest frame that a reply rests on; of one that rests on none, the newest seen."""
    return reply.stamps_ns[-1] if reply.stamps_ns else stamp_ns


def prompt_of(name: str, mask: np.ndarray) -> Prompt:
    """How a person would select the object of a bool [H, W] mask: by a click in its middle, a box
    around it, or its mask."""
    rows, columns = np.nonzero(mask)
    if name == 'boxed':
        return Box(float(columns.min()), float(rows.min()),
                   float(columns.max() + 1), float(rows.max() + 1))
    if name == 'masked':
        return MaskPrompt(mask)
    # A person clicks where the object is broadest, not on a rim and not into a hole.
    inside = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(inside.argmax(), inside.shape)
    return Click.at(column + 0.5, row + 0.5)


def in_words(prompt: Prompt) -> str:
    """A prompt for people."""
    if isinstance(prompt, Click):
        x, y = prompt.points[0]
        return f'by a click at ({x:.0f}, {y:.0f})'
    if isinstance(prompt, Box):
        return (f'by a box from ({prompt.x0:.0f}, {prompt.y0:.0f}) '
                f'to ({prompt.x1:.0f}, {prompt.y1:.0f})')
    return f'by a mask of {int(prompt.mask.sum())} pixels'
