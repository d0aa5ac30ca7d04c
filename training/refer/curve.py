# SPDX-License-Identifier: Apache-2.0
"""The learning curve as a picture."""

import json
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt

HEADS = ('category', 'colour', 'pattern', 'size', 'support', 'motion')
ANSWERS = ('category', 'colour', 'pattern', 'relation', 'support', 'same_colour', 'motion',
           'detailed')


def draw_curve(log: Path, picture: Path) -> None:
    """Draw held-out accuracy over minutes of training from a run's log.jsonl."""
    points = [json.loads(line) for line in log.read_text().splitlines()]
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    for axis, names, prefix, title in (
            (axes[0], HEADS, '', 'auxiliary heads'),
            (axes[1], ANSWERS, 'answer:', 'whole answers, teacher-forced')):
        for name in names:
            known = [p for p in points if prefix + name in p['held_out']]
            axis.plot([p['seconds'] / 60 for p in known],
                      [p['held_out'][prefix + name] for p in known], marker='.', label=name)
        axis.set(title=title, xlabel='minutes of training', ylim=(0, 1))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    axes[0].set_ylabel('right on held-out scenes')
    figure.tight_layout()
    figure.savefig(picture, dpi=90)
    plt.close(figure)
