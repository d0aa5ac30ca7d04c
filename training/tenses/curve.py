# SPDX-License-Identifier: Apache-2.0
"""The learning curve of the tenses as a picture."""

import json
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt

from training.tenses.kinds import TENSES

#: Questions of the stages before, one of each sort.
BEFORE = ('category', 'colour', 'relation', 'same_colour', 'support', 'motion', 'count', 'detailed')


def draw_curve(log: Path, picture: Path) -> None:
    """Draw, from a run's log.jsonl, which share of whole answers is right over minutes of training:
    of each tense with the history, and of the questions of before."""
    points = [json.loads(line) for line in log.read_text().splitlines()]
    panels = [*((tense, 'held_out', tuple(kinds)) for tense, kinds in TENSES.items()),
              ('questions of the stages before', 'before', BEFORE)]
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), sharex=True, sharey=True)
    for axis, (title, of, names) in zip(axes.flat, panels, strict=True):
        for name in (name for name in names if any(name in p[of] for p in points)):
            known = [p for p in points if name in p[of]]
            axis.plot([p['seconds'] / 60 for p in known], [p[of][name] for p in known],
                      marker='.', label=name.replace('_', ' '))
        axis.set(title=title, ylim=(0, 1.02))
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize=7)
    for axis in axes[:, 0]:
        axis.set_ylabel('right, teacher-forced')
    for axis in axes[1]:
        axis.set_xlabel('minutes of training')
    figure.tight_layout()
    figure.savefig(picture, dpi=80)
    plt.close(figure)
