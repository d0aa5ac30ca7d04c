# SPDX-License-Identifier: Apache-2.0
"""The engine's policies, as one value."""

from dataclasses import dataclass
from typing import Literal

from pixelrefer_model.language import Eager, Greedy, KeepPrefixes
from pixelrefer_model.language.chat import Placing
from pixelrefer_model.language.fit import OldestFirst, TooLong
from pixelrefer_model.language.graphs import Steps
from pixelrefer_model.language.sampling import Sampling
from pixelrefer_model.memory import EveryInterval, KeepLast, KeyframePolicy
from pixelrefer_model.pixelrefer import EncodePolicy
from pixelrefer_model.sam2 import ComputePolicy, LookPolicy, MemoryPolicy


@dataclass(frozen=True)
class EngineSettings:
    """Policies of the engine.

    Tracking. tracker_input_size: side in pixels of what the tracker sees, None as its checkpoint
    says. tracker_memory, tracker_compute: its policies. tracker_look: how closely it looks at what
    is prompted, None as its checkpoint says.

    Memory. keyframes: when an object is observed. keep: which observations of it are kept.
    keep_images: as `keep`, for a model that sees the whole image: each of these observations holds
    its tokens, some MB. encode: how; an object with an empty mask is left out of an observation,
    and the others are observed.

    Answers. max_frames: observations of one object in one prompt. now_looks: of each object, where
    a question is about now, and now_likeness: which of them show it, see `Now`; 0: as the
    checkpoint says. too_long: what is left out of a prompt that is longer than the model's
    positions. placing: where the object tokens stand in it.
    abstain_below: an answer of less confidence becomes "I cannot tell." (0: never).
    abstain_under_px: so does one about an object whose mask has fewer pixels in every observation
    that the answer would rest on, of now in the newest; the model is not asked then. batch:
    questions that are decoded together at most. sampling, steps: how. prefixes: how much of the
    prompts' keys and values is kept for the next question.
    """

    tracker_input_size: int | None = None
    tracker_memory: MemoryPolicy = MemoryPolicy.good()
    tracker_compute: ComputePolicy = ComputePolicy()
    tracker_look: LookPolicy | None = None
    keyframes: KeyframePolicy = EveryInterval(0.5)
    keep: KeepLast = KeepLast(32)
    keep_images: KeepLast = KeepLast(4)
    encode: EncodePolicy = EncodePolicy.robot(empty='skip')
    max_frames: int = 4
    now_looks: Literal[0, 1, 2] = 0
    now_likeness: float = 0.0
    too_long: TooLong = OldestFirst()
    placing: Placing = 'where_named'
    abstain_below: float = 0.0
    abstain_under_px: int = 100
    batch: int = 8
    sampling: Sampling = Greedy()
    steps: Steps = Eager()
    prefixes: KeepPrefixes = KeepPrefixes()
