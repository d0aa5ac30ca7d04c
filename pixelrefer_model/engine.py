# SPDX-License-Identifier: Apache-2.0
"""PerceptionEngine: frame, tracker, memory, language, answer, as one object.

A script calls `process`, `describe` and `ask` in lockstep. The node drives the same parts from
three workers: `tracker` (with a `Watch`), `observe`, and `prepare` with `answer`; each of these
touches one model only, so that no model ever has two owners.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pixelrefer_model import rle
from pixelrefer_model.answer import Answer, Progress, Question
from pixelrefer_model.detection.match import Detector, Match
from pixelrefer_model.device import choose_device
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import Frame
from pixelrefer_model.language import (
    Evidence, LanguageModel, RenderedPrompt, compose, mentions, task_prompt)
from pixelrefer_model.language.events import Generation
from pixelrefer_model.language.generate import Ended, collect, never
from pixelrefer_model.language.images import with_images
from pixelrefer_model.language.quantize import Quantization, quantize
from pixelrefer_model.memory import (
    KeepLast, Now, ObjectMemory, Observation, Rle, Selection, Window)
from pixelrefer_model.memory.watch import Due, Watch
from pixelrefer_model.pixelrefer import PixelReferModel, RegionEncoder, encoder_for
from pixelrefer_model.pixelrefer.attention import Attention, use_attention
from pixelrefer_model.prompt import MaskPrompt, Prompt
from pixelrefer_model.sam2 import ObjectTracker, Track, TrackState
from pixelrefer_model.settings import EngineSettings
from pixelrefer_model.weights import TINY, checkpoint_folder  # noqa: F401 (TINY is asked for here)

#: The usual levels of detail; every published task prompt may be asked for.
DETAILS = ('category', 'phrase', 'sentence', 'detailed')
CANNOT_TELL = 'I cannot tell.'
#: The most tokens an answer may be given, and what it gets when nobody says.
MOST_NEW_TOKENS, USUAL_NEW_TOKENS = 2048, 64
#: No moment's time is written in more tokens, commas included.
MOST_TIME_TOKENS = 24


class PerceptionEngine:
    """Tracks selected objects through frames and answers questions about them."""

    def __init__(self, tracker: ObjectTracker, encoder: RegionEncoder, language: LanguageModel,
                 settings: EngineSettings = EngineSettings()) -> None:
        self.tracker = tracker
        self.encoder = encoder
        self.language = language
        self.settings = settings
        # Whole images are too large for one more that nobody asks about.
        self.memory = ObjectMemory(settings.keep if encoder.moments is None else KeepLast(
            min(settings.keep.observations, settings.keep_images.observations), first=False))
        #: Finds what words name, for `find`; None: nothing does.
        self.detector: Detector | None = None
        #: By camera, all with one network; the first camera has `tracker`.
        self._trackers: dict[str, ObjectTracker] = {}
        self._watches: dict[str, Watch] = {}
        #: Of objects that `track` and `process` follow; whoever drives the parts has his own.
        self._states: dict[str, TrackState] = {}

    @classmethod
    def from_checkpoints(cls, tracker: str | Path = 'tiny', refer: str | Path = 'tiny', *,
                         device: str = 'cpu', dtype: torch.dtype = torch.float32,
                         quantization: Quantization = 'none', attention: Attention = 'sdpa',
                         settings: EngineSettings = EngineSettings()) -> 'PerceptionEngine':
        """Load both models. `tiny` names a packaged checkpoint, anything else a folder or the
        name of one that was downloaded (`pixelrefer download`); nothing is downloaded here. device:
        as PyTorch names it, or auto: a CUDA GPU where there is one, else the CPU. refer:
        a PixelRefer-Lite, or a PixelRefer, whose questions cost the tokens of the whole image too
        and rest on one moment of each object. quantization: of the language model's weights, see
        `quantize`.

        Raises PixelReferError CHECKPOINT with the file and the reason, UNSUPPORTED for a device or
        a library that is not here, or OUT_OF_MEMORY.
        """
        # What may be missing is found before gigabytes are read.
        device = choose_device(device)
        tracker, refer = checkpoint_folder(tracker, 'tracker'), checkpoint_folder(refer, 'refer')
        model = PixelReferModel.from_checkpoint(refer, device=device, dtype=dtype)
        use_attention(model, attention)
        quantize(model, quantization)
        language = LanguageModel(model, prefixes=settings.prefixes, steps=settings.steps)
        return cls(
            ObjectTracker.from_checkpoint(
                tracker, device=device, dtype=dtype,
                input_size=settings.tracker_input_size, memory=settings.tracker_memory,
                look=settings.tracker_look, compute=settings.tracker_compute),
            encoder_for(model, settings.encode), language, settings)

    def tracker_of(self, camera: str) -> ObjectTracker:
        """The tracker of a camera's frames. Ids are to differ from those of other cameras."""
        if camera not in self._trackers:
            self._trackers[camera] = self.tracker.beside() if self._trackers else self.tracker
        return self._trackers[camera]

    @property
    def ids(self) -> list[str]:
        """The objects that are tracked, of every camera."""
        return [object_id for tracker in list(self._trackers.values()) or [self.tracker]
                for object_id in tracker.ids]

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
        seen = self.encoder.encode_regions([frames[0].image], [mask], [0])
        prompt = with_images(compose('What is <object:it>?', [
            Evidence('it', seen.tokens[0][None])]), seen.images)
        collect(self.language.generate([prompt], max_new_tokens=2), 1)
        self.language.prefixes.clear()
        if self.detector is not None:
            self.detector.detect(frames[0].image, 'mug')

    # --- lockstep: every frame, in order, in the caller's thread

    def find(self, words: str, frame: Frame) -> Match:
        """What words name on a frame; its box selects it. Raises PixelReferError UNSUPPORTED where
        there is no detector, what `Detector.detect` raises, or NotSelected (NO_MATCH,
        SEVERAL_MATCHES, UNSURE_MATCH) with the candidates."""
        if self.detector is None:
            raise PixelReferError('UNSUPPORTED', 'there is no detector to look for words; one of '
                                                 '`load_detector` is allowed as engine.detector')
        return self.detector.policy.choose(words, self.detector.detect(frame.image, words))

    def track(self, object_id: str, prompt: Prompt, frame: Frame) -> Track:
        """Select an object on a frame; it is observed there at once.

        On a past frame the track is of the newest one, and `process` observes it on the next.
        """
        track = self.tracker_of(frame.camera).add(object_id, prompt, frame)
        self._note([track])
        self.memory.pointed_at(object_id, frame.stamp_ns)
        if track.stamp_ns == frame.stamp_ns:
            self.remember(frame, [track])
        return track

    def untrack(self, object_id: str) -> None:
        """Stop tracking an object; a LongMemory keeps what it was, another drops its observations.
        Raises UNKNOWN_ID."""
        tracker = next((one for one in self._trackers.values() if object_id in one.ids),
                       self.tracker)
        tracker.remove(object_id)
        self.release(object_id)

    def process(self, frame: Frame) -> list[Track]:
        """Track every object on `frame` and observe those that are due."""
        tracks = self.tracker_of(frame.camera).step(frame)
        self._note(tracks)
        due, happened = self._watch(frame.camera).see(
            frame.image, tracks, self.settings.keyframes)
        self.memory.record(happened)
        self.memory.observe(self.observe(frame, due, 0))
        return tracks

    def describe(self, object_ids: list[str] | None = None, detail: str = 'sentence',
                 window: Window = Now()) -> list[Answer]:
        """One answer for each object (all of them for None), decoded together."""
        ids = self.ids if object_ids is None else object_ids
        return self.answers([self.prepare_description(i, detail, window) for i in ids])

    def ask(self, question: str, object_ids: list[str], window: Window = Now(), *,
            max_new_tokens: int = USUAL_NEW_TOKENS) -> Answer:
        """Answer `question` about objects; see `prepare` for what may be wrong with it."""
        return self.answer(self.prepare(question, object_ids, window,
                                        max_new_tokens=max_new_tokens))

    def remember(self, frame: Frame, tracks: Sequence[Track]) -> None:
        """Observe objects on the frame that they were selected on, where they are clearly seen."""
        watch, every = self._watch(frame.camera), []
        for track in tracks:
            due, happened = watch.selected(track)
            self.memory.record(happened)
            every += due
        self.memory.observe(self.observe(frame, every, 0))

    def _watch(self, camera: str) -> Watch:
        return self._watches.setdefault(camera, Watch())

    def _note(self, tracks: list[Track]) -> None:
        """Remember each object's newest state, for answers to carry."""
        self._states.update({track.object_id: track.state for track in tracks})

    # --- the parts, one owner each

    def erase(self, object_id: str) -> None:
        """Another object takes this id: drop what is remembered under it, and its state."""
        self.memory.erase(object_id)
        self._states.pop(object_id, None)

    def release(self, object_id: str) -> None:
        """An object is tracked no longer: drop its state, and what the memory does not keep."""
        self.memory.release(object_id)
        self._states.pop(object_id, None)
        for watch in self._watches.values():
            watch.gone(object_id)

    def observe(self, frame: Frame, due: Sequence[Due], epoch: int) -> list[Observation]:
        """Encode the objects' tokens on one frame, in one pass of the vision tower. What the
        encode policy skips has no observation."""
        if not due:
            return []
        made = self.encoder.encode_regions(
            [frame.image], [one.track.mask for one in due], [0] * len(due))
        image = made.images[0] if made.images else None
        return [
            Observation(
                one.track.object_id, frame.stamp_ns, frame.camera, epoch, one.track.box,
                one.track.area, tokens.clone(), self.encoder.key, image, one.where, one.reason,
                Rle(rle.encode(one.track.mask), frame.height, frame.width))
            for one, tokens in zip((due[k] for k in made.index), made.tokens, strict=True)]

    def prepare(self, question: str, object_ids: list[str], window: Window = Now(), *,
                max_frames: int | None = None, max_new_tokens: int = USUAL_NEW_TOKENS,
                facts: Sequence[str] = ()) -> Question:
        """Check a question and gather what it rests on; no model runs. facts: sentences that the
        prompt is to carry besides, see `compose`.

        Raises PixelReferError: BAD_BUDGET, UNKNOWN_ID, EMPTY_QUESTION, SPECIAL_TOKEN,
        UNKNOWN_OBJECT_REFERENCE, UNMENTIONED_ID, NO_OBSERVATION, QUESTION_TOO_LONG. What is wrong
        with the question is said before what was not seen.
        """
        if not 1 <= max_new_tokens <= MOST_NEW_TOKENS:
            raise PixelReferError(
                'BAD_BUDGET', f'{max_new_tokens} answer tokens asked for; 1 to {MOST_NEW_TOKENS} '
                'are allowed')
        tracked = self.ids
        for object_id in object_ids:
            if object_id not in tracked and not self.memory.knows(object_id):
                raise PixelReferError(
                    'UNKNOWN_ID', f'no object {object_id!r} is tracked or remembered; tracked '
                    f'are: {", ".join(tracked) or "none"}')
        mentions(question, object_ids)
        most = self.settings.max_frames if max_frames is None else max_frames
        if self.encoder.moments is not None:
            most = min(most, self.encoder.moments)
        if window == Now():
            window = self.now if most > 1 else replace(self.now, looks=1)
        chosen = self.memory.select_all(object_ids, window, most, self.encoder.key)
        timed = not isinstance(window, Now) and self.encoder.moments != 1
        chosen, prompt = self._fitting(question, object_ids, chosen, timed, facts)
        self.language.check(prompt, max_new_tokens)
        return Question(question, list(object_ids), [s.observations for s in chosen],
                        sum(s.left_out for s in chosen), prompt, max_new_tokens, tuple(facts),
                        isinstance(window, Now))

    @property
    def now(self) -> Now:
        """What a question about now rests on: as the settings say, or else the checkpoint."""
        taught = self.language.model.config
        return Now(self.settings.now_looks or taught.now_looks,
                   self.settings.now_likeness or taught.now_likeness)

    def _fitting(self, question: str, object_ids: Sequence[str], chosen: Sequence[Selection],
                 timed: bool, facts: Sequence[str]) -> tuple[Sequence[Selection], RenderedPrompt]:
        """The prompt, with as many of the observations as the model has positions for."""
        while True:
            prompt = with_images(compose(question, [
                Evidence(object_id, torch.stack([o.tokens for o in one.observations]),
                         one.seconds if timed else None)
                for object_id, one in zip(object_ids, chosen, strict=True)],
                self.settings.placing, facts), images_of(
                    [o for one in chosen for o in one.observations]))
            over = self.language.count(prompt) - self.language.longest_prompt
            if over <= 0:
                return chosen, prompt
            # More than a moment with its time takes, so that none is left out in vain.
            most = len(chosen[0].observations[0].tokens) + MOST_TIME_TOKENS
            less = self.settings.too_long.leave_out(
                [[o.stamp_ns for o in s.observations] for s in chosen], -(-over // most))
            if not any(less):
                return chosen, prompt
            chosen = [s.without(n) for s, n in zip(chosen, less, strict=True)]

    def prepare_description(self, object_id: str, detail: str, window: Window = Now(), *,
                            max_frames: int | None = None) -> Question:
        """As `prepare`, for a description: any of the published task prompts, in the words in which
        the model was asked them. Raises PixelReferError BAD_DETAIL as well."""
        question = task_prompt(detail, full=self.encoder.moments is not None)
        return self.prepare(question, [object_id], window, max_frames=max_frames)

    def answer(self, question: Question, ended: Ended = never) -> Answer:
        """As `answers`, for one question."""
        return self.answers([question], ended)[0]

    def answers(self, questions: Sequence[Question], ended: Ended = never) -> list[Answer]:
        """The answers, as `stream` makes them; they are remembered."""
        made: dict[int, Answer] = {told.index: told.answer for told in
                                   self.stream(questions, ended) if told.answer is not None}
        answers = [made[index] for index in range(len(questions))]
        self.memory.record([
            answer.told(question.text, 0, self.encoder.key)
            for question, answer in zip(questions, answers)])
        return answers

    def stream(self, questions: Sequence[Question], ended: Ended = never) -> Iterator[Progress]:
        """Decode the answers, those of `batch` questions together. Where too little is seen
        (`abstain_under_px`), and for an answer without a word or less sure than `abstain_below`,
        it is "I cannot tell."; a model may say that by itself too. `ended` is asked of each
        question before every token, see `LanguageModel.generate`; an answer that it ends keeps
        what it has so far.

        Raises PixelReferError OUT_OF_MEMORY.
        """
        asked = []
        for index, question in enumerate(questions):
            if self._too_small(question):
                yield Progress(index, '', 0, self._answer(question, Generation(reason='stop')))
            else:
                asked.append(index)
        for at in range(0, len(asked), self.settings.batch):
            yield from self._stream(questions, asked[at:at + self.settings.batch], ended)

    def _stream(self, questions: Sequence[Question], batch: Sequence[int], ended: Ended
                ) -> Iterator[Progress]:
        made = [Generation() for _ in batch]
        for event in self.language.generate(
                [questions[i].prompt for i in batch],
                max_new_tokens=[questions[i].max_new_tokens for i in batch],
                sampling=self.settings.sampling, ended=lambda row: ended(batch[row])):
            one, index = made[event.index], batch[event.index]
            one.add(event)
            yield Progress(index, event.text_delta, len(one.probabilities),
                           self._answer(questions[index], one) if event.finished else None)

    def _answer(self, question: Question, said: Generation) -> Answer:
        text = said.text.strip()
        abstained = said.reason not in ('cancelled', 'deadline') and (
            text in ('', CANNOT_TELL) or said.confidence < self.settings.abstain_below)
        unknown = TrackState.LOST
        return Answer(
            CANNOT_TELL if abstained else text, said.confidence, abstained,
            question.object_ids,
            [self._states.get(i, unknown).name for i in question.object_ids],
            question.stamps_ns, question.left_out, said.reason, len(said.probabilities),
            question.facts)

    def _too_small(self, question: Question) -> bool:
        """Whether next to nothing of one of the objects was seen wherever the answer looks; of now
        its newest sight counts, however much of it the first showed."""
        return any(max(o.area for o in (kept[-1:] if question.about_now else kept))
                   < self.settings.abstain_under_px for kept in question.observations)


def images_of(observations: list[Observation]) -> list[torch.Tensor]:
    """Tokens of the whole images that observations hold, oldest first, each image once."""
    ordered = sorted(observations, key=lambda o: o.stamp_ns)
    return list({id(o.image): o.image for o in ordered if o.image is not None}.values())
