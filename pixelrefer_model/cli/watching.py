# SPDX-License-Identifier: Apache-2.0
"""Shows an image or a video to the engine in lockstep: every frame, objects where selected."""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2

from pixelrefer_model.cli.selection import Named, Selection
from pixelrefer_model.detection import NotSelected
from pixelrefer_model.engine import PerceptionEngine
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.film import Film
from pixelrefer_model.frame import Frame
from pixelrefer_model.memory import Now, Span, Window
from pixelrefer_model.prompt import Box, MaskPrompt
from pixelrefer_model.sam2 import Track, TrackState
from pixelrefer_model.sam2.pixels import box_of
from pixelrefer_model.video import VideoFile, is_image, read_image

#: Observations that are kept of an object; what would make more is refused.
MOST_KEPT = 1024
#: Of a long video an object is observed about so often, where nobody says.
USUAL_KEPT = 64
USUAL_EVERY_S = 0.5


class Source:
    """The frames of an image (one, at 0 s) or of a video, or of a part of it. A context manager.

    start_s, stop_s: the part, in the video's own seconds, both ends included. Raises
    PixelReferError BAD_IMAGE for a file that is neither, BAD_WINDOW for a part that is none.
    """

    def __init__(self, path: Path, start_s: float = 0.0, stop_s: float = math.inf) -> None:
        if not 0 <= start_s <= stop_s:  # also where one is NaN
            raise PixelReferError('BAD_WINDOW', f'from {start_s:g} to {stop_s:g} s; a start from 0 '
                                                'on and a stop after it are allowed')
        self.path = path
        self.start_s, self.stop_s = start_s, stop_s
        self.is_image = is_image(path)
        with ExitStack() as opened:
            if self.is_image:
                self._first = Frame(read_image(path), 0)
                self.width, self.height = self._first.width, self._first.height
                self.duration_s = 0.0
            else:
                self._video = opened.enter_context(VideoFile(path))
                self.width, self.height = self._video.size
                self.duration_s = max(0.0, min(stop_s, self._video.duration_s) - start_s)
            self._opened = opened.pop_all()

    def __enter__(self) -> 'Source':
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def frames(self) -> Iterator[tuple[int, Frame]]:
        """Each frame of the part with its number in the whole file."""
        if self.is_image:
            yield 0, self._first
            return
        for number, frame in enumerate(self._video.frames()):
            if frame.at_s > self.stop_s:
                return
            if frame.at_s >= self.start_s:
                yield number, Frame(cv2.cvtColor(frame.bgr, cv2.COLOR_BGR2RGB),
                                    round(frame.at_s * 1e9))

    def every_s(self, asked_s: float | None) -> float:
        """Seconds between observations: what is asked for, or USUAL_EVERY_S and more in a long
        video. Raises PixelReferError BAD_BUDGET where that would be more than can be kept."""
        if asked_s is None:
            return max(USUAL_EVERY_S, self.duration_s / USUAL_KEPT)
        if not 0 <= asked_s < math.inf:
            raise PixelReferError('BAD_BUDGET', f'an observation every {asked_s:g} s; 0 (every '
                                                'frame) and more are allowed')
        least_s = self.duration_s / MOST_KEPT
        frames = 0 if self.is_image else self.duration_s * self._video.fps
        if asked_s < least_s and frames > MOST_KEPT:
            raise PixelReferError(
                'BAD_BUDGET', f'an observation every {asked_s:g} s in {self.duration_s:.1f} s is '
                f'more than the {MOST_KEPT} that are kept; {least_s:.3g} s and more are allowed, '
                'or a part of the video')
        return asked_s


@dataclass(frozen=True)
class Watched:
    """What was seen: the last frame, every object there, on which frame each was selected, and
    the window of time that a question looks back over."""

    frame: Frame
    tracks: list[Track]
    selected_on: dict[str, int]
    window: Window = field(repr=False)


def watch(engine: PerceptionEngine, source: Source, selections: list[Selection],
          film: Film | None = None) -> Watched:
    """Show every frame to `engine`, from the first on which an object is selected.

    A selected mask is observed as it was given, not as the tracker draws it. With a `film` nothing
    is observed, and that is shown every frame with its tracks. Raises
    PixelReferError NO_FRAME when there is no frame in the part, or not one that was named, and
    what `ObjectTracker.add` raises.
    """
    waiting = list(selections)
    selected_on: dict[str, int] = {}
    frame, tracks, first_ns, numbers = None, [], 0, []
    for number, frame in source.frames():
        if not numbers:
            first_ns, numbers = frame.stamp_ns, [number, number]
        numbers[1] = number
        due = [one for one in waiting if one.frame in (None, number)]
        waiting = [one for one in waiting if one not in due]
        selected_on.update((one.object_id, number) for one in due)
        if selected_on:
            tracks = _look(engine, frame, due, observe=film is None)
        if film is not None:
            film.show(frame, tracks)
    if frame is None:
        raise PixelReferError('NO_FRAME', f'{source.path}: no frame from {source.start_s:g} to '
                                          f'{source.stop_s:g} s; a part that has frames is allowed')
    if waiting:
        raise PixelReferError('NO_FRAME', f'{waiting[0].said}: there is no such frame; '
                              f'{numbers[0]} to {numbers[1]} are looked at')
    return Watched(frame, tracks, selected_on,
                   Now() if source.is_image else Span(first_ns, frame.stamp_ns))


def _look(engine: PerceptionEngine, frame: Frame, due: list[Selection], observe: bool
          ) -> list[Track]:
    given: dict[str, Track] = {}
    for one in due:
        prompt = _found(engine, one, frame) if isinstance(one.prompt, Named) else one.prompt
        track = engine.tracker.add(one.object_id, prompt, frame)
        if isinstance(one.prompt, MaskPrompt):
            mask = one.prompt.mask
            given[one.object_id] = replace(track, state=TrackState.TRACKED, mask=mask,
                                           box=box_of(mask), area=int(mask.sum()))
    if observe:
        engine.remember(frame, list(given.values()))
    tracks = engine.process(frame) if observe else engine.tracker.step(frame)
    return [given.get(track.object_id, track) for track in tracks]


def _found(engine: PerceptionEngine, one: Selection, frame: Frame) -> Box:
    """The box of what an object is called. Raises what `PerceptionEngine.find` raises, with the
    boxes of the candidates in words."""
    try:
        return engine.find(one.prompt.words, frame).box
    except NotSelected as error:
        listed = '; '.join(f'--box {box.x0:.0f},{box.y0:.0f},{box.x1:.0f},{box.y1:.0f} '
                           f'({match.score:.2f})' for match in error.candidates
                           for box in [match.box])
        raise PixelReferError(error.code, f'{one.said}: {error.message}'
                              + (f'. Candidates: {listed}' if listed else '')) from None
