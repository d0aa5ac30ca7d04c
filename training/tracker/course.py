# SPDX-License-Identifier: Apache-2.0
"""What a training of the tracker goes through: phases of its time, and how fast it learns."""

from dataclasses import dataclass, replace

from training.tracker.clips import Cut
from training.tracker.config import SIZE


@dataclass(frozen=True)
class Phase:
    """A part of the training, until `until` of the time: S, T, clips, objects per clip, window."""

    until: float
    size: int
    frames: int
    clips: int
    objects: int
    narrow: float
    wide: float

    @property
    def cut(self) -> Cut:
        """How its clips are cut."""
        return Cut(self.size, self.frames, self.objects, self.narrow, self.wide)


@dataclass(frozen=True)
class Course:
    """The phases of a training; how often the memory is given the true mask at its beginning, and
    a first mask is hinted at; the highest learning rate."""

    phases: tuple[Phase, ...]
    forced: float
    hint: float
    rate: float

    def phase(self, progress: float) -> Phase:
        """The one at `progress` of the time, 0 to 1."""
        return next((p for p in self.phases if progress < p.until), self.phases[-1])


#: Windows of half size show objects as large as whole frames do, at a quarter of the cost.
FROM_NOTHING = Course((
    Phase(0.12, 128, 1, 10, 3, 0.25, 0.60),
    Phase(0.18, 256, 1, 4, 4, 0.40, 1.05),
    Phase(0.34, 128, 3, 6, 2, 0.25, 0.60),
    Phase(0.55, 128, 6, 5, 2, 0.25, 0.60),
    Phase(0.82, 160, 5, 4, 3, 0.35, 0.80),
    Phase(1.00, SIZE, 6, 2, 3, 0.60, 1.05),
), 0.9, 0.35, 8e-4)
#: Clips are long, for it is the following that is left to learn, and windows as wide as frames are.
FROM_WEIGHTS = Course((
    Phase(0.25, 160, 12, 2, 3, 0.40, 0.95),
    Phase(1.00, SIZE, 8, 2, 3, 0.65, 1.05),
), 0.15, 0.0, 5e-4)
#: On a GPU a step of many more clips takes hardly longer, so that frames cost, not clips. It took up
#: to 55 GB of an NVIDIA H200; what begins from nothing was never run there.
FROM_WEIGHTS_ON_GPU = Course((
    Phase(0.40, SIZE, 8, 40, 4, 0.45, 1.05),
    Phase(1.00, SIZE, 14, 32, 4, 0.60, 1.05),
), 0.1, 0.0, 8e-4)
FROM_NOTHING_ON_GPU = replace(FROM_NOTHING, phases=tuple(
    replace(phase, clips=8 * phase.clips) for phase in FROM_NOTHING.phases))


def course(started: bool, on_gpu: bool) -> Course:
    """What a run goes through that is started from weights or not, on a GPU or not."""
    if on_gpu:
        return FROM_WEIGHTS_ON_GPU if started else FROM_NOTHING_ON_GPU
    return FROM_WEIGHTS if started else FROM_NOTHING
