# SPDX-License-Identifier: Apache-2.0
"""PerceptionEngine: frame, tracker, memory, language, answer, as one object.

A script calls `process`, `describe` and `ask` in lockstep. The node drives the same parts from
three workers: `tracker` (with `due`), `observe`, and `prepare` with `answer`; each of these
touches one model only, so that no model ever has two owners.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pixelrefer_model.answer import Answer, Question
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import Frame
from pixelrefer_model.language import (
    Evidence, LanguageModel, compose, mentions, task_prompt)
from pixelrefer_model.language.generate import least_sure
from pixelrefer_model.memory import (
    EveryInterval, KeepLast, KeyframePolicy, Now, ObjectMemory, Observation, Window)
from pixelrefer_model.pixelrefer import EncodePolicy, PixelReferLite, RegionEncoder
from pixelrefer_model.prompt import MaskPrompt, Prompt
from pixelrefer_model.sam2 import (
    ComputePolicy, MemoryPolicy, ObjectTracker, Track, TrackState)

CHECKPOINTS = Path(__file__).parent / 'checkpoints'
#: The packaged checkpoints: real architectures, small sizes.
TINY = {'tracker': CHECKPOINTS / 'sam2-tiny', 'refer': CHECKPOINTS / 'pixelrefer-lite-tiny'}
#: What `describe` may be asked for; each is a published task prompt.
DETAILS = ('category', 'phrase', 'sentence', 'detailed')
CANNOT_TELL = 'I cannot tell.'
#: The most tokens an answer may be given, and what it gets when nobody says.
MOST_NEW_TOKENS, USUAL_NEW_TOKENS = 2048, 64


@dataclass(frozen=True)
class EngineSettings:
    """Policies of the engine. max_frames: observations of one object in one prompt.
    abstain_below: an answer of less confidence becomes "I cannot tell." (0: never).
    abstain_under_px: so does one about an object whose mask has fewer pixels in every observation
    that the answer would rest on; the model is not asked then. encode: an object with an empty
    mask is left out of an observation, and the others are observed. tracker_input_size: side in
    pixels of what the tracker sees, None as its checkpoint says; tracker_memory, tracker_compute:
    its policies."""

    keyframes: KeyframePolicy = EveryInterval(0.5)
    keep: KeepLast = KeepLast(32)
    max_frames: int = 4
    abstain_below: float = 0.0
    abstain_under_px: int = 100
    encode: EncodePolicy = EncodePolicy.robot(empty='skip')
    tracker_input_size: int | None = None
    tracker_memory: MemoryPolicy = MemoryPolicy.good()
    tracker_compute: ComputePolicy = ComputePolicy()


class PerceptionEngine:
    """Tracks selected objects through frames and answers questions about them."""

    def __init__(self, tracker: ObjectTracker, encoder: RegionEncoder, language: LanguageModel,
                 settings: EngineSettings = EngineSettings()) -> None:
        self.tracker = tracker
        self.encoder = encoder
        self.language = language
        self.settings = settings
        self.memory = ObjectMemory(settings.keep)
        #: Of objects that `track` and `process` follow; whoever drives the parts has his own.
        self._states: dict[str, TrackState] = {}

    @classmethod
    def from_checkpoints(cls, tracker: str | Path = 'tiny', refer: str | Path = 'tiny', *,
                         device: str = 'cpu', dtype: torch.dtype = torch.float32,
                         settings: EngineSettings = EngineSettings()) -> 'PerceptionEngine':
        """Load both models. `tiny` names a packaged checkpoint, anything else a folder.

        Raises PixelReferError CHECKPOINT with the file and the reason.
        """
        model = PixelReferLite.from_checkpoint(
            checkpoint_folder(refer, 'refer'), device=device, dtype=dtype)
        return cls(
            ObjectTracker.from_checkpoint(
                checkpoint_folder(tracker, 'tracker'), device=device, dtype=dtype,
                input_size=settings.tracker_input_size, memory=settings.tracker_memory,
                compute=settings.tracker_compute),
            RegionEncoder(model, settings.encode), LanguageModel(model), settings)

    def warm_up(self) -> None:
        """Run every model once on an empty frame and keep nothing of it.

        Libraries choose kernels and reserve memory at their first use; afterwards the first
        object and the first question take no longer than later ones.
        """
        frames = [Frame(np.zeros((240, 320, 3), np.uint8), stamp_ns) for stamp_ns in (0, 1)]
        mask = np.zeros((240, 320), bool)
        mask[60:180, 80:240] = True
        self.tracker.add('it', MaskPrompt(mask), frames[0])
        self.tracker.step(frames[1])
        self.tracker.reset()
        prompt = compose('What is <object:it>?', [
            Evidence('it', self.encoder.encode(frames[0].image, [mask]), None)])
        for _ in self.language.generate([prompt], max_new_tokens=2):
            continue

    # --- lockstep: every frame, in order, in the caller's thread

    def track(self, object_id: str, prompt: Prompt, frame: Frame) -> Track:
        """Select an object on a frame; it is observed there at once.

        On a past frame the track is of the newest one, and `process` observes it on the next.
        """
        track = self.tracker.add(object_id, prompt, frame)
        self._note([track])
        if track.stamp_ns == frame.stamp_ns:
            self.memory.observe(self.observe(frame, self.due([track], 0), 0))
        return track

    def untrack(self, object_id: str) -> None:
        """Stop tracking an object and drop its observations. Raises UNKNOWN_ID."""
        self.tracker.remove(object_id)
        self.forget(object_id)

    def process(self, frame: Frame) -> list[Track]:
        """Track every object on `frame` and observe those that are due."""
        tracks = self.tracker.step(frame)
        self._note(tracks)
        self.memory.observe(self.observe(frame, self.due(tracks, 0), 0))
        return tracks

    def describe(self, object_ids: list[str] | None = None, detail: str = 'sentence',
                 window: Window = Now()) -> list[Answer]:
        """One answer for each object (all of them for None)."""
        ids = self.tracker.ids if object_ids is None else object_ids
        return [self.answer(self.prepare_description(i, detail, window)) for i in ids]

    def ask(self, question: str, object_ids: list[str], window: Window = Now(), *,
            max_new_tokens: int = USUAL_NEW_TOKENS) -> Answer:
        """Answer `question` about objects; see `prepare` for what may be wrong with it."""
        return self.answer(self.prepare(question, object_ids, window,
                                        max_new_tokens=max_new_tokens))

    def _note(self, tracks: list[Track]) -> None:
        """Remember each object's newest state, for answers to carry."""
        self._states.update({track.object_id: track.state for track in tracks})

    # --- the parts, one owner each

    def forget(self, object_id: str) -> None:
        """Drop an object's observations and state."""
        self.memory.forget(object_id)
        self._states.pop(object_id, None)

    def due(self, tracks: list[Track], epoch: int) -> list[Track]:
        """The tracks that deserve an observation now. Only clear sight counts: a doubtful mask
        would be remembered as if it were the object."""
        return [
            track for track in tracks
            if track.state is TrackState.TRACKED and track.mask is not None
            and self.settings.keyframes.due(
                track.stamp_ns, self.memory.last_ns(track.object_id, epoch))]

    def observe(self, frame: Frame, tracks: list[Track], epoch: int) -> list[Observation]:
        """Encode the objects' tokens on one frame, in one pass of the vision tower. What the
        encode policy skips has no observation."""
        if not tracks:
            return []
        made = self.encoder.encode_regions(
            [frame.image], [track.mask for track in tracks], [0] * len(tracks))
        seen = [tracks[k] for k in made.index]
        return [
            Observation(track.object_id, frame.stamp_ns, frame.camera, epoch, track.box,
                        track.area, tokens.clone(), self.encoder.key)
            for track, tokens in zip(seen, made.tokens, strict=True)]

    def prepare(self, question: str, object_ids: list[str], window: Window = Now(), *,
                max_frames: int | None = None,
                max_new_tokens: int = USUAL_NEW_TOKENS) -> Question:
        """Check a question and gather what it rests on; no model runs.

        Raises PixelReferError: BAD_BUDGET, UNKNOWN_ID, EMPTY_QUESTION, SPECIAL_TOKEN,
        UNKNOWN_OBJECT_REFERENCE, UNMENTIONED_ID, NO_OBSERVATION, QUESTION_TOO_LONG. What is wrong
        with the question is said before what was not seen.
        """
        if not 1 <= max_new_tokens <= MOST_NEW_TOKENS:
            raise PixelReferError(
                'BAD_BUDGET', f'{max_new_tokens} answer tokens asked for; 1 to {MOST_NEW_TOKENS} '
                'are allowed')
        tracked = self.tracker.ids
        for object_id in object_ids:
            if object_id not in tracked:
                raise PixelReferError(
                    'UNKNOWN_ID', f'no object {object_id!r} is tracked; tracked are: '
                    f'{", ".join(tracked) or "none"}')
        mentions(question, object_ids)
        most = self.settings.max_frames if max_frames is None else max_frames
        chosen = [self.memory.select(i, window, most, self.encoder.key) for i in object_ids]
        evidence = []
        for object_id, selection in zip(object_ids, chosen):
            kept = selection.observations
            seconds = None if isinstance(window, Now) else [
                (o.stamp_ns - selection.origin_ns) / 1e9 for o in kept]
            evidence.append(Evidence(object_id, torch.stack([o.tokens for o in kept]), seconds))
        prompt = compose(question, evidence)
        self.language.check(prompt, max_new_tokens)
        return Question(question, list(object_ids), [s.observations for s in chosen],
                        sum(s.left_out for s in chosen), prompt, max_new_tokens)

    def prepare_description(self, object_id: str, detail: str, window: Window = Now(), *,
                            max_frames: int | None = None) -> Question:
        """As `prepare`, for a description. Raises PixelReferError BAD_DETAIL as well."""
        if detail not in DETAILS:
            raise PixelReferError(
                'BAD_DETAIL', f'detail {detail!r}; {", ".join(DETAILS)} are allowed')
        return self.prepare(task_prompt(detail), [object_id], window, max_frames=max_frames)

    def answer(self, question: Question, cancel: Callable[[], bool] = lambda: False) -> Answer:
        """Decode the answer. Where too little is seen (`abstain_under_px`), and for an answer
        without a word or less sure than `abstain_below`, it is "I cannot tell."; a model may say
        that by itself too. `cancel` is asked before every token."""
        text, probabilities, reason = '', [], 'stop'
        for event in () if self._too_small(question) else self.language.generate(
                [question.prompt], max_new_tokens=question.max_new_tokens, cancel=cancel):
            text += event.text_delta
            if event.token_id is not None:
                probabilities.append(event.probability)
            if event.finished:
                reason = event.reason
        confidence = least_sure(probabilities)
        text = text.strip()
        abstained = reason != 'cancelled' and (
            text in ('', CANNOT_TELL) or confidence < self.settings.abstain_below)
        unknown = TrackState.LOST
        return Answer(
            CANNOT_TELL if abstained else text, confidence, abstained,
            question.object_ids,
            [self._states.get(i, unknown).name for i in question.object_ids],
            question.stamps_ns, question.left_out, reason, len(probabilities))

    def _too_small(self, question: Question) -> bool:
        """Whether next to nothing of one of the objects was seen wherever the answer looks."""
        return any(max(o.area for o in kept) < self.settings.abstain_under_px
                   for kept in question.observations)


def checkpoint_folder(name: str | Path, kind: str) -> Path:
    """The folder of a checkpoint: `tiny` is packaged, anything else is a path; of the tracker that
    may be a .pt file.

    Raises PixelReferError CHECKPOINT when there is no such folder.
    """
    folder = TINY[kind] if str(name) == 'tiny' else Path(name).expanduser()
    if not folder.is_dir() and not (kind == 'tracker' and folder.suffix == '.pt'
                                    and folder.is_file()):
        raise PixelReferError(
            'CHECKPOINT', f'{kind} checkpoint {str(name)!r}: {folder} is no folder; `tiny` or a '
            'folder with config.json and the weights is allowed')
    return folder
