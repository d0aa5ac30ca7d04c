# SPDX-License-Identifier: Apache-2.0
"""The one door to PyTorch: what the node needs of the models, imported when it is called for.

Messages, launch files, and a node that is not configured need no PyTorch.
"""

from dataclasses import replace
from typing import Any

from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros.parameters import Settings


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


def tune(engine: Any, settings: Settings) -> None:
    """Let an engine follow the live ones of the settings. It may be at work: what it has begun to
    answer it may end by the old ones."""
    engine.settings = replace(engine.settings, **_live(settings))


def _live(settings: Settings) -> dict[str, Any]:
    """Those of the engine's settings that may change at any time."""
    from pixelrefer_model.language import Greedy, Sample
    from pixelrefer_model.language.sampling import LEAST_TEMPERATURE
    from pixelrefer_model.memory import EveryInterval
    return {
        'keyframes': EveryInterval(settings.keyframe_interval), 'max_frames': settings.max_frames,
        'abstain_below': settings.abstain_below, 'abstain_under_px': settings.abstain_under_px,
        'sampling': Sample(settings.temperature, settings.top_p, seed=settings.sampling_seed)
        if settings.temperature >= LEAST_TEMPERATURE else Greedy()}


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
