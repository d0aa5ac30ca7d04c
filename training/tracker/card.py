# SPDX-License-Identifier: Apache-2.0
"""The model card of a tiny SAM 2: what it is, what it learned from, how well it does.

`python -m training.tracker.card --run DIR --figures FILE --checkpoint DIR` writes it anew from the
JSON of training/evaluate.py.
"""

import json
import shutil
import textwrap
from pathlib import Path

from pixelrefer_model.sam2.checkpoint import load_model, look_of
from training.card_arguments import card_arguments
from training.tracker.measure import (
    BACK_WITHIN, LEAST_JUDGED, LEAST_PROMPTED, MOST_OBJECTS, Figure)
from training.tracker.sources import FRAMES

MEANINGS = {
    'box_prompt_frame': 'mean IoU on the prompted frame, box off by up to 2 px',
    'box_next_10': 'mean IoU over the next 10 frames (1 s)',
    'box_next_30': 'mean IoU over the next 30 frames (3 s)',
    'click_prompt_frame': 'one click on the inner half of the object',
    'click_next_10': 'mean IoU over the next 10 frames',
    'click_next_30': 'mean IoU over the next 30 frames',
    'mask_prompt_frame': 'the true mask given (what resampling costs)',
    'mask_next_10': 'mean IoU over the next 10 frames',
    'mask_next_30': 'mean IoU over the next 30 frames',
    'absent_empty': 'frames with nothing of the object in view: share without a mask',
    'refound': f'returns into view: share with IoU 0.5 within {BACK_WITHIN} frames',
    'swapped': 'frames where the mask lies on another object',
    'swapped_clips': 'clips where one that was prompted by a box lies there in the end',
}


#: What the card says of a run that began with the weights of another.
BEGUN = 'It began with the weights of a checkpoint. '


def learner(training: dict) -> str:
    """What did the training, in words."""
    return f'{training["processes"]} processes of one CPU thread each' \
        if training['device'] == 'cpu' else f'one {training["device"]}'


def table(figures: dict[str, Figure | None]) -> str:
    """The figures as a Markdown table."""
    rows = ['| figure | value | n | 95 % interval | meaning |', '|---|---|---|---|---|']
    for name, meaning in MEANINGS.items():
        figure = figures.get(name)
        rows.append(f'| {name} | – | 0 | – | {meaning} |' if figure is None else
                    f'| {name} | {figure.value:.3f} | {figure.n} | {figure.low:.3f} to '
                    f'{figure.high:.3f} | {meaning} |')
    return '\n'.join(rows)


def write_card(folder: Path, training: dict, figures: dict[str, Figure | None], seed: int,
               scenes: int, note: str = '') -> None:
    """Write README.md beside the weights in `folder`.

    training: what the trainer wrote to training.json. figures: of `scenes` test scenes made from
    `seed`. note: what else a reader should know of the run.
    """
    model = load_model(folder)
    count = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    side, look = model.config.image_size, look_of(folder, model.config)
    size = (folder / 'model.safetensors').stat().st_size / 1e6
    phases = '\n'.join(
        f'| to {phase["until"]:.0%} | {phase["size"]} | {phase["frames"]} | {phase["clips"]} x '
        f'{phase["objects"]} | {phase["narrow"]:g} to {phase["wide"]:g} |'
        for phase in training['phases'])
    (folder / 'README.md').write_text(f'''\
# sam2-tiny

SAM 2.1 (arXiv:2408.00714) in its real architecture and at a small size, trained from scratch on the
packaged small world of rendered table-tops. It exists so that the whole way from a camera to an
answer can be run and tested without a download and without a GPU. It is not a general segmenter:
for real cameras use `facebook/sam2.1-hiera-*`, which load into the same code.

* {count:.2f} M parameters, {size:.1f} MB (float16 on disk, float32 when loaded), input
  {side} x {side} px, masks at stride 4.
* config.json is that of transformers' `Sam2VideoModel`: Hiera encoder, two-way mask decoder, memory
  attention of {model.config.memory_attention_num_layers} layers, memory of the prompted frames and
  {model.config.num_maskmem - 1} others, {model.config.max_object_pointers_in_encoder} pointers.
* `prompt_look` in config.json (`LookPolicy`): what a box or a click selects is looked at once more, enlarged,
  before it is followed; and what is followed once more in every frame, at an input of {look.following} px, for the
  mask that is given out.

## Data

{training['clips']['world']} clips of {FRAMES} frames of training scenes of `training/world` (10 Hz or
5 Hz) and {training['clips']['shapes']} clips of flat textured shapes (`training/tracker/shapes.py`), cut by
random windows, flipped, recoloured, reversed in time. Test scenes and the held-out pairs of
category and colour were never trained on. Data, prompts and weights: seed {training['seed']}.

## Training

`./run python training/tracker/train.py --out DIR --minutes {training['minutes']:g} --seed \
{training['seed']}{' --start FOLDER' if training['started'] else ''}\
{'' if training['device'] == 'cpu' else ' --device cuda'}`: {training['steps']} steps in
{training['minutes']:g} minutes of {learner(training)}, torch
{training['torch']}. BCE by object area + dice, L1 of the predicted IoU, BCE of the object score;
Muon for the matrices of the layers, AdamW for the rest, cosine; the weights are a running average.
Box, click and mask prompts. The budget is time, so another machine takes another number of steps.

{textwrap.fill((BEGUN if training['started'] else '') + note, 100)}

| of the time | input px | frames | clips x objects | window, in widths |
|---|---|---|---|---|
{phases}

![learning curve](curve.png)

## Held-out figures

{scenes} test scenes made from seed {seed}, 320x240, 31 frames at 10 Hz, {MOST_OBJECTS} object of a
scene, of those that show {LEAST_PROMPTED} px or more, run through `ObjectTracker` as shipped; frames where an
object shows less than {LEAST_JUDGED} px are not judged; no mask counts as IoU 0. Intervals:
by resampling scenes.
`./run python training/evaluate.py --parts tracker --seed {seed} --scenes {scenes}`

{table(figures)}

## Limits

* Has seen the small world and flat shapes only; photographs were not measured.
* Masks are predicted on a grid of {side // 4} x {side // 4} over the whole image: an object of 150 px
  at 320x240 is about three cells wide, and its IoU is accordingly low.
* Look-alikes that pass close to one another can take over each other's mask (see `swapped`).
* The predicted IoU of so small a network is a rough guide; UNCERTAIN is to be read as such.
''', encoding='utf-8')


def main() -> None:
    given = card_arguments()
    figures = json.loads(given.figures.read_text())['tracker']
    write_card(given.checkpoint, json.loads((given.run / 'training.json').read_text()),
               {name: figure and Figure(**figure) for name, figure in figures.items()},
               given.seed, given.scenes, given.note)
    shutil.copy(given.run / 'curve.png', given.checkpoint / 'curve.png')


if __name__ == '__main__':
    main()
