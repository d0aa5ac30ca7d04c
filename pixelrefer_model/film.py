# SPDX-License-Identifier: Apache-2.0
"""A film, as PixelRefer (the variant that reads whole images) was asked about videos: the tokens of
its frames at one a second, static ones left out, and each object masked on one frame.

For files alone: the frames are encoded together once they are all there. PixelRefer-Lite needs none
of it, since it remembers objects as the camera runs.
"""

from dataclasses import dataclass

from pixelrefer_model.answer import Question
from pixelrefer_model.engine import PerceptionEngine
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import Frame
from pixelrefer_model.language import Evidence, RenderedPrompt, compose, mentions
from pixelrefer_model.language.images import with_images
from pixelrefer_model.memory import Observation
from pixelrefer_model.pixelrefer import EncodedRegions
from pixelrefer_model.sam2 import Track, TrackState

#: Nanoseconds between the frames that are shown: the published evaluations take one a second.
STEP_NS = 1_000_000_000
#: Frames that are held at most; of a longer film every second one goes, again and again.
MOST_FRAMES = 64


@dataclass(frozen=True)
class Seen:
    """Where an object was seen clearly last."""

    frame: Frame
    track: Track


class Film:
    """Collects frames and sights, then questions are prepared from all of them, for an engine
    whose model is a PixelRefer. Bounded by MOST_FRAMES frames, and one for each object."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._seen: dict[str, Seen] = {}
        self._step_ns = STEP_NS
        self._encoded: tuple[list[str], int, EncodedRegions] | None = None

    def show(self, frame: Frame, tracks: list[Track]) -> None:
        """The next frame, with what is tracked on it."""
        if not self._frames or frame.stamp_ns - self._frames[-1].stamp_ns >= self._step_ns:
            self._frames.append(frame)
            if len(self._frames) > MOST_FRAMES:
                self._frames = self._frames[::2]
                self._step_ns *= 2
        for track in tracks:
            if track.state is TrackState.TRACKED and track.mask is not None:
                self._seen[track.object_id] = Seen(frame, track)

    def prepare(self, engine: PerceptionEngine, question: str, object_ids: list[str],
                max_new_tokens: int) -> Question:
        """Check a question about objects of the film; the first one encodes it.

        Where it is longer than the model's positions its oldest frames are left out. Raises
        PixelReferError as `PerceptionEngine.prepare` does.
        """
        mentions(question, object_ids)
        for object_id in object_ids:
            if object_id not in self._seen:
                raise PixelReferError(
                    'NO_OBSERVATION', f'object {object_id!r} was never clearly seen in the part of '
                    'the film that was looked at')
        first = 0
        while True:
            ids, made = self._encode(engine, first)
            prompt = self._prompt(engine, question, object_ids, ids, made, first)
            over = engine.language.count(prompt) - engine.language.longest_prompt
            if over <= 0 or first == len(self._frames) - 1:
                break
            gone = 0
            while over > 0 and first < len(self._frames) - 1:
                over -= len(made.images[gone])
                gone, first = gone + 1, first + 1
        engine.language.check(prompt, max_new_tokens)
        return Question(question, list(object_ids), [
            [self._observation(engine, i, made.tokens[ids.index(i)])] for i in object_ids],
            first, prompt, max_new_tokens)

    def _encode(self, engine: PerceptionEngine, first: int) -> tuple[list[str], EncodedRegions]:
        """All objects and the frames from `first` on, in one pass of the vision tower."""
        if self._encoded is None or self._encoded[1] != first:
            ids = list(self._seen)
            seen = [self._seen[i] for i in ids]
            made = engine.encoder.encode_video(
                [frame.image for frame in self._frames[first:]], [one.track.mask for one in seen],
                list(range(len(seen))), mask_frames=[one.frame.image for one in seen])
            self._encoded = [ids[k] for k in made.index.tolist()], first, made
        return self._encoded[0], self._encoded[2]

    def _prompt(self, engine: PerceptionEngine, question: str, object_ids: list[str],
                ids: list[str], made: EncodedRegions, first: int) -> RenderedPrompt:
        for object_id in object_ids:
            if object_id not in ids:
                raise PixelReferError(
                    'NO_OBSERVATION', f'the mask of object {object_id!r} selects no patch of its '
                    'frame; a larger object is allowed')
        start = self._frames[0].stamp_ns
        return with_images(
            compose(question, [Evidence(i, made.tokens[ids.index(i)][None]) for i in object_ids],
                    engine.settings.placing),
            made.images, [(frame.stamp_ns - start) / 1e9 for frame in self._frames[first:]])

    def _observation(self, engine: PerceptionEngine, object_id: str, tokens: object) -> Observation:
        seen = self._seen[object_id]
        return Observation(
            object_id, seen.frame.stamp_ns, seen.frame.camera, 0, seen.track.box, seen.track.area,
            tokens, engine.encoder.key)
