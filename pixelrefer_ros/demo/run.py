# SPDX-License-Identifier: Apache-2.0
"""A run of the script on either robot, from the first frame to the verdict and the pictures."""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

from pixelrefer_ros.demo.grading import RIGHT_SHARE
from pixelrefer_ros.demo.masks import MaskVerdict, judge_masks
from pixelrefer_ros.demo.pictures import Drawn, write_sheet, write_video
from pixelrefer_ros.demo.report import Report
from pixelrefer_ros.demo.robot import Robot
from pixelrefer_ros.demo.script import Planner
from pixelrefer_ros.demo.truth import Truth

PACKAGED_BAG = Path(__file__).parent / 'bag'
CAMERA = '/camera/image_raw'
WELL, FAILED, NO_RUN = 0, 1, 2


def options(parser: argparse.ArgumentParser) -> None:
    """What every way of running it takes."""
    parser.add_argument('--bag', type=Path, default=PACKAGED_BAG,
                        help='folder of the bag, with truth.json and truth.npz in it')
    parser.add_argument('--out', type=Path, default=Path('demo_output'),
                        help='folder for the pictures (default: ./demo_output)')
    parser.add_argument('--tracker-model', default='tiny', help='tiny, or a checkpoint folder')
    parser.add_argument('--refer-model', default='tiny', help='tiny, or a checkpoint folder')


def play(robot: Robot, truth: Truth, report: Report, out: Path | None,
         measured: Callable[[Planner], list[tuple[str, str]]] = lambda _: []) -> int:
    """Run the script, judge it, draw it; WELL or FAILED.

    out: folder for the pictures, None for none of them.
    measured: what else to print of the run, as (name, text). Raises RobotError.
    """
    planner = Planner(robot, truth, report)
    planner.run()
    masks = judge_masks(robot.recording, truth, planner.objects)
    report.heading(f'Masks against the truth, on the last {len(masks[0].ious)} frames in sight')
    for verdict in masks:
        report.fact(verdict.object_id, _ious(verdict), verdict.right)
    lines = measured(planner)
    if lines:
        report.heading('The run')
        for name, text in lines:
            report.fact(name, text)
    if out is not None:
        draw(planner, truth, report, out)
    return conclude(planner, masks, report)


def draw(planner: Planner, truth: Truth, report: Report, out: Path) -> None:
    """Write the pictures of a run and say where they are."""
    report.heading('Pictures')
    drawn = Drawn(planner.robot.recording, list(planner.objects), planner.asked,
                  int(truth.stamps_ns[0]))
    out.mkdir(parents=True, exist_ok=True)
    report.fact('video', str(write_video(drawn, out)))
    title = f'PixelRefer · {planner.right} of {len(planner.asked)} answers right'
    report.fact('sheet', str(write_sheet(drawn, out / 'contact_sheet.png', title)))


def conclude(planner: Planner, masks: list[MaskVerdict], report: Report) -> int:
    """The verdict in a sentence; WELL when the answers and all masks are right."""
    share = planner.right / len(planner.asked)
    faults = [verdict.fault for verdict in masks if verdict.fault]
    if share < RIGHT_SHARE:
        faults.insert(0, f'{planner.right} of {len(planner.asked)} answers are right, and '
                         f'{RIGHT_SHARE:.0%} have to be')
    report.line()
    if faults:
        report.fact('failed', '; '.join(faults) + '.', False)
        return FAILED
    report.fact('well', f'{planner.right} of {len(planner.asked)} answers are right and every mask '
                        'holds.', True)
    return WELL


def latency(planner: Planner) -> list[tuple[str, str]]:
    """How long answers took, as the planner saw it."""
    seconds = [a.reply.latency_s for a in planner.asked if a.reply.latency_s is not None]
    if not seconds:
        return []
    return [('answers', f'{len(seconds)} asked; latency median '
                        f'{statistics.median(seconds) * 1e3:.0f} ms, '
                        f'worst {max(seconds) * 1e3:.0f} ms')]


def _ious(verdict: MaskVerdict) -> str:
    text = f'IoU {min(verdict.ious, default=0.0):.2f} at least'
    return f'{text} · {verdict.fault}' if verdict.fault else text
