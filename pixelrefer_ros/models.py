# SPDX-License-Identifier: Apache-2.0
"""The one door to PyTorch: what the node needs of the models, imported when it is called for.

Messages, launch files, and a node that is not configured need no PyTorch.
"""

import os
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.settling import settle
from pixelrefer_ros.parameters import Settings

#: Name of the packaged checkpoints.
PACKAGED = 'tiny'
#: MiB of the memory where the parameter says 0.
RAM_MIB, DISK_MIB = 256, 2048


def load(settings: Settings) -> Any:
    """A PerceptionEngine, warmed up. Raises PixelReferError CHECKPOINT, naming file and reason,
    UNSUPPORTED for a library that is not here or a device that it does not suit, or
    OUT_OF_MEMORY."""
    import torch

    from pixelrefer_model.engine import EngineSettings, PerceptionEngine
    from pixelrefer_model.language import CudaGraphs, Eager, KeepPrefixes
    from pixelrefer_model.memory import KeepLast
    from pixelrefer_model.sam2 import ComputePolicy, MemoryPolicy
    engine = PerceptionEngine.from_checkpoints(
        settings.tracker_model, settings.refer_model, device=settings.device,
        dtype=getattr(torch, settings.dtype), quantization=settings.quantization,
        attention=settings.attention, settings=EngineSettings(
            **_live(settings), keep=KeepLast(settings.keep_observations),
            batch=settings.answer_batch,
            # a kept prefix rounds otherwise than one that is read anew
            prefixes=KeepPrefixes(0 if settings.lockstep else settings.prefix_cache_mib * 2 ** 20),
            steps=CudaGraphs() if settings.cuda_graphs else Eager(),
            tracker_input_size=settings.tracker_input_size or None,
            tracker_memory=MemoryPolicy(spatial=settings.tracker_memory_frames or None,
                                        stride=settings.tracker_memory_stride),
            tracker_compute=ComputePolicy(compile_encoder=settings.tracker_compile)))
    if settings.detector_model:
        from pixelrefer_model.detection import load_detector
        engine.detector = load_detector(
            settings.detector_model, device=settings.device, dtype=getattr(torch, settings.dtype),
            least=settings.detector_score, margin=settings.detector_margin)
    engine.warm_up()
    return engine


def remembering(engine: Any, settings: Settings) -> ExitStack:
    """Give an engine the memory of the settings; leaving the context ends it, and what waits is
    written. Raises PixelReferError MEMORY, naming the folder and the reason."""
    from pixelrefer_model.memory import KeepLast, ObjectMemory
    from pixelrefer_model.memory.bounds import Bounds
    from pixelrefer_model.memory.long_memory import LongMemory
    from pixelrefer_model.memory.recorder import Recorder
    from pixelrefer_model.memory.store import MemoryStore
    with ExitStack() as stack:
        if settings.memory == 'none':
            engine.memory = ObjectMemory(KeepLast(1, first=False))
        else:
            in_ram = settings.memory == 'ram'
            store = stack.enter_context(
                MemoryStore.in_ram() if in_ram else MemoryStore.open(memory_folder(settings)))
            bounds = Bounds((settings.memory_mib or (RAM_MIB if in_ram else DISK_MIB)) << 20,
                            settings.memory_age, settings.memory_observations)
            engine.memory = LongMemory(
                engine.memory.keep, stack.enter_context(Recorder(store, bounds)),
                recall=engine.encoder.moments is None)
        return stack.pop_all()


def memory_folder(settings: Settings) -> Path:
    """Where the memory on disk lies."""
    if settings.memory_folder:
        return Path(settings.memory_folder).expanduser()
    return Path(os.environ.get('ROS_HOME') or '~/.ros').expanduser() / 'pixelrefer' / 'memory'


def tune(engine: Any, settings: Settings) -> None:
    """Let an engine follow the live ones of the settings. It may be at work: what it has begun to
    answer it may end by the old ones."""
    engine.settings = replace(engine.settings, **_live(settings))


def _live(settings: Settings) -> dict[str, Any]:
    """Those of the engine's settings that may change at any time."""
    from pixelrefer_model.language import Greedy, Sample
    from pixelrefer_model.language.sampling import LEAST_TEMPERATURE
    return {
        'keyframes': _keyframes(settings), 'max_frames': settings.max_frames,
        'now_looks': settings.now_looks, 'now_likeness': settings.now_likeness,
        'abstain_below': settings.abstain_below, 'abstain_under_px': settings.abstain_under_px,
        'sampling': Sample(settings.temperature, settings.top_p, seed=settings.sampling_seed)
        if settings.temperature >= LEAST_TEMPERATURE else Greedy()}


def _keyframes(settings: Settings) -> Any:
    from pixelrefer_model.memory import AnyOf, EveryInterval, OnChange, OnEvents
    # Events first: of a frame that shows one it is remembered that it does.
    policies = {'events': OnEvents(), 'change': OnChange(),
                'interval': EveryInterval(settings.keyframe_interval)}
    return AnyOf(tuple(policy for name, policy in policies.items() if name in settings.keyframes),
                 min(settings.keyframe_apart, settings.keyframe_interval))


def watch(epoch: int, fixed_frame: str) -> Any:
    """A new Watch over a camera's tracks."""
    from pixelrefer_model.memory.watch import Watch
    return Watch(epoch, fixed_frame)


def whereabouts(frame_id: str, placed: Any) -> Any:
    """A place as the memory keeps it."""
    from pixelrefer_model.memory import Whereabouts
    return Whereabouts(frame_id, placed.position, placed.covariance)


def lasting(engine: Any) -> Any:
    """The engine's LongMemory. Raises PixelReferError UNSUPPORTED where nothing lasts."""
    from pixelrefer_model.memory.long_memory import LongMemory
    if not isinstance(engine.memory, LongMemory):
        raise PixelReferError(
            'UNSUPPORTED', 'nothing is remembered (parameter memory is none); ram and disk are '
            'allowed')
    return engine.memory


def search(engine: Any, words: str, like_id: str, span: tuple[int, int] | None, frame_id: str,
           center: list[float], radius: float, most: int) -> Callable[[Any], list[Any]]:
    """What looks through a store, see `find`; what is empty does not restrict. Raises
    PixelReferError for what cannot be looked for: UNKNOWN_ID, NO_OBSERVATION, EMPTY_QUESTION,
    BAD_BOX."""
    from pixelrefer_model.memory import Span
    from pixelrefer_model.memory.columns import likeness_of
    from pixelrefer_model.memory.finding import Near, find, terms_of
    if words.strip():
        terms_of(words)
    near = like = None
    if radius:
        near = Near(frame_id, center, radius)
    if like_id:
        if not engine.memory.knows(like_id):
            raise PixelReferError('UNKNOWN_ID', f'no object {like_id[:64]!r} is remembered')
        seen = engine.memory.select(like_id, replace(engine.now, looks=1), 1,
                                    engine.encoder.key)
        like = likeness_of(seen.observations[0].tokens)
    key = engine.encoder.key

    def look(store: Any) -> list[Any]:
        hits = find(store, words, like=like, key=key, span=None if span is None else Span(*span),
                    near=near)
        return [hit for hit in hits if hit.object.object_id != like_id][:most or None]

    return look


def same_gate(settings: Settings) -> Any:
    """What may be offered as the same object; None: nothing, since it was not measured with this
    checkpoint."""
    from pixelrefer_model.memory import sameness
    if settings.same_likeness:
        return sameness.SameGate(settings.same_likeness, sameness.TINY.lead)
    return sameness.TINY if settings.refer_model == PACKAGED else None


def recognize(seen: Any, in_view: list[str], gate: Any, store: Any) -> tuple[float | None, list]:
    """How an object that appeared agrees with what is remembered under its id (None: nothing is),
    and which other ones it may be."""
    from pixelrefer_model.memory.sameness import agreement, offers
    agrees = agreement(store, [seen])
    return agrees, offers(store, [seen], in_view, gate) if agrees is None else []


def history(memory: Any, object_id: str) -> list[str]:
    """What happened to an object, in sentences for a person."""
    from pixelrefer_model.memory import Now
    return [told.replace(f'<object:{object_id}>', object_id)
            for told in memory.history([object_id], Now())]


def undescribed(store: Any, key: str) -> list[tuple[str, int]]:
    """Remembered objects of which nothing was said yet and that can be asked about with tokens of
    this key, those seen last first, and when that was."""
    return store.query(
        'SELECT id, last_ns FROM objects WHERE id NOT IN (SELECT object FROM words) AND id IN ('
        'SELECT o.object FROM observations o JOIN keys k ON k.number = o.key WHERE k.key = ?) '
        'ORDER BY last_line DESC, last_ns DESC', (key,))


def drop_prefixes(engine: Any, language: Any) -> Future:
    """Let go of keys and values of past prompts, by the worker that owns them."""
    try:
        return language.call(engine.language.prefixes.clear)
    except PixelReferError:     # it is being closed, and clears them as it ends
        return settle(Future(), lambda: None)


def limit_threads(threads: int) -> None:
    """Give the calling thread so many of PyTorch's CPU threads; other threads keep theirs."""
    import torch
    torch.set_num_threads(threads)


def on_cpu(device: str) -> bool:
    """Whether the models of this device (parameter `device`) run on the CPU."""
    from pixelrefer_model.device import choose_device
    return choose_device(device) == 'cpu'


def name_of(checkpoint: str) -> str:
    """Identity of a checkpoint in messages: its own name, without where it lies."""
    return checkpoint.rstrip('/').rsplit('/', 1)[-1]


def window(span: tuple[int, int] | None) -> Any:
    """The window from first to last stamp, in nanoseconds; None: now."""
    from pixelrefer_model.memory import Now, Span
    return Now() if span is None else Span(*span)


def check_words(words: str) -> str:
    """Words that name an object. Raises PixelReferError NO_PROMPT, QUESTION_TOO_LONG or
    SPECIAL_TOKEN."""
    from pixelrefer_model.detection import check_words
    return check_words(words)


def check_text(question: str) -> None:
    """Raise PixelReferError EMPTY_QUESTION or SPECIAL_TOKEN."""
    from pixelrefer_model.language.chat import check_text
    check_text(question)


def task(detail: str) -> str:
    """The task prompt of a detail. Raises PixelReferError BAD_DETAIL."""
    from pixelrefer_model.engine import DETAILS
    from pixelrefer_model.language import task_prompt
    if detail not in DETAILS:
        raise PixelReferError(
            'BAD_DETAIL', f'detail {detail[:64]!r}; {", ".join(DETAILS)} are allowed')
    return task_prompt(detail)
