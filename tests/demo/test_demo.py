# SPDX-License-Identifier: Apache-2.0
"""The packaged bag with the packaged checkpoints, in lockstep: right, and always the same."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest

ROOT = Path(__file__).parents[2]
#: Ends what hangs; nothing is measured against it.
WATCHDOG_S = 900.0


@dataclass(frozen=True)
class Run:
    """One run of the command: exit status, what it printed, and where its pictures are."""

    status: int
    text: str
    errors: str
    out: Path


@pytest.fixture(scope='module')
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """The same command twice, each time in a new process."""
    found = []
    for _ in range(2):
        out = tmp_path_factory.mktemp('demo')
        done = subprocess.run(
            [sys.executable, '-m', 'pixelrefer_ros.demo', '--lockstep', '--out', str(out)],
            cwd=ROOT, capture_output=True, text=True, timeout=WATCHDOG_S)
        found.append(Run(done.returncode, done.stdout.replace(str(out), 'OUT'), done.stderr, out))
    return found


def test_four_answers_of_five_are_right_and_every_mask_holds(runs):
    run = runs[0]
    assert run.status == 0, run.text + run.errors
    right, asked = map(int, re.search(r'(\d+) of (\d+) answers are right', run.text).groups())
    assert right >= 0.8 * asked >= 8
    # Of what is asked after they have gone as many as of what is asked while they are there.
    first, second = run.text.split('Masks against the truth')[0].split('The objects are gone.')
    for act in (first, second):
        good, bad = (len(re.findall(rf'^ *{mark} ', act, re.MULTILINE)) for mark in '✓✗')
        assert good >= 0.8 * (good + bad) and good >= 8, act
    ious = [float(iou) for iou in re.findall(r'✓ \S+ +IoU (\d\.\d+)', run.text)]
    assert len(ious) == 3 and min(ious) >= 0.5


def test_the_same_bag_gives_the_same_text(runs):
    assert runs[0].text == runs[1].text


def test_pictures_are_left_where_it_says(runs):
    out = runs[0].out
    assert 'OUT/contact_sheet.png' in runs[0].text
    assert cv2.imread(str(out / 'contact_sheet.png')) is not None
    [video] = out.glob('overlay.*')
    assert f'OUT/{video.name}' in runs[0].text
    assert cv2.VideoCapture(str(video)).read()[0]


def test_a_bag_without_truth_is_named(tmp_path):
    done = subprocess.run(
        [sys.executable, '-m', 'pixelrefer_ros.demo', '--lockstep', '--bag', str(tmp_path),
         '--out', str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=WATCHDOG_S)
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr and 'Traceback' not in done.stderr
