# SPDX-License-Identifier: Apache-2.0
"""Writes a checkpoint's model card and learning curve:
`python -m training.refer.card --run DIR --figures FILE --checkpoint DIR`.

DIR is of training/refer or of training/tenses; FILE is the JSON of training/evaluate.py for that
checkpoint. What is said of the stages before the tenses stays as the checkpoint's card has it.
"""

import json
import shutil
import textwrap
from pathlib import Path

from pixelrefer_model.pixelrefer import PixelReferConfig
from training.card_arguments import card_arguments
from training.refer.facts import MOST_FAINT
from training.refer.measure import FIRST_SEED, NAMES
from training.refer.spoil import SPOILED
from training.tenses.curve import draw_curve as draw_tenses
from training.tenses.render import SECONDS

MEANING = {
    'category': 'category, one of 8', 'colour': 'colour, one of 8',
    'pattern': 'pattern, one of 3', 'relation': 'left or right, in front or behind',
    'support': 'what it is on or in (table or object, half and half)',
    'same_colour': 'same colour or not (half and half)',
    'motion': 'still or moving and which way, 4 stamped frames',
    'motion_still': 'of these, the still ones',
    'count': 'how many of 2 to 4 objects are of a kind',
    'caption': 'detailed caption, all six parts right',
    'small_category': 'category, under 400 px', 'small_colour': 'colour, under 400 px',
    'size': 'size, one of 2', 'position': 'which ninth of the image',
    'choice': 'the letter of the right option of 2 to 4',
    'is_so': 'is it of this kind, colour, pattern (half and half)',
    'unseen_category': 'category, in a colour that training never shows it in',
    'unseen_colour': 'colour, of a category that training never shows in it',
    'sure': 'any of these, answered with a confidence of 0.9 and more',
    'faint': 'of an object of 12 to 99 px: "I cannot tell.", by the model alone',
    'not_faint': 'of an object of 100 px and more: an answer instead'}

CARD = '''\
# pixelrefer-lite-tiny

A PixelRefer-Lite of the released architecture and tensor names in a small size, trained from
nothing on the small world of `training/world`. It knows {categories} kinds of things on a table
and nothing else: it is for tests, demos and first steps, not for real images.

## Sizes

| | |
|---|---|
| parameters | {parameters} ({megabytes:.1f} MB, bfloat16) |
| vision tower | {tower} |
| object tokens | {tokens} |
| language model | {language} |

## Figures

`./run python training/evaluate.py --seed {seed} --scenes {scenes}`: scenes from seed {first} on,
never trained on, with the category-colour pairs that training leaves out. Greedy answers of the
shipped inference path. Share right, n, 95 % interval (resampling scenes). In every other scene each
object is still or moves with equal chance, and only there motion is asked about.

| question | true masks | tracked, last clear sight | tracked, very last frame |
|---|---|---|---|
{table}

An object counts as seen from 100 visible pixels on; under that the engine does not ask the model at
all (`abstain_under_px`), and the model was trained to say so by itself under {faint} px. With
tracked masks an object is prompted by a box on the first frame that shows it and followed for up to
24 frames. The engine answers from the last clear sight that it remembers and that looks like the
object (`now_likeness`): here of the frames 0, 8, 16 and 24; the last column counts an object as not
known that has no mask on the very last frame. What has no mask is a wrong answer, but right where
nothing can be told.
{looks}
{training}
## Limits

Eight categories, eight colours, three patterns, one kind of room. Wordings far from those in
`training/refer/wording.py` and `training/refer/paraphrases.py` may be misread. Mostly hidden objects
and those cut by the image edge are named less surely. Where it fails, what its confidence is worth
and what a wording does to an answer, and how often it is right about what was, is and will be:
docs/accuracy.
'''

LOOKS = '''
In all three columns a question about now rests on the first sight of each object as well
(`now_looks` 2): on the first of these frames that shows it; but not where the model alone is to say
that it cannot tell. Of two looks it is the newest that has to show 100 pixels.
'''

TRAINING = '''\
## Training

`./run python training/refer/train.py --out DIR --minutes {minutes:g} --seed {run_seed}
{start}{on}`:
{device}, {steps} steps, {regions} region presentations out of
{shards} shards of 150 rendered scenes ({time}). Two stages: for the first {share:.0f} %
of the time {learning} auxiliary heads (category, colour,
pattern, size, place, support, motion; per token and per cell), then everything learns questions and
answers too.
Muon for the matrices of the layers, AdamW for the rest, rate {rate}, cosine, decay {decay};
batches of {singles} frames and {clips} clips of four in each process; {spoiled:.0f} % of the masks are
spoiled as a tracker would, half of the scenes mirrored, {grey:.0f} % shown without colours.
{note}
![Held-out accuracy over minutes of training](curve.png)
'''

TENSES_HEADING = '### The tenses'
TENSES = '''\
{before}
{heading}

`./run python -m training.tenses.train --out DIR --records DIR --minutes {minutes:g} --seed {run_seed}
--shards {shards}{start}{on}`: from then on the language model alone, with {layers} layers;
{device}, {steps} steps ({time}), {scenes} scenes of {shortest:.0f}
to {longest:.0f} s, every other one a mirror image. Muon and AdamW as before, rate {rate}, cosine, decay {decay}. What it is taught:
docs/accuracy/tenses.md.
{note}
![Held-out accuracy over minutes of the tenses](tenses.png)
'''


def write_card(run: Path, figures: dict, checkpoint: Path, seed: int, scenes: int,
               note: str = '') -> None:
    """README.md and the learning curve in `checkpoint`."""
    recipe = json.loads((run / 'recipe.json').read_text())
    last = json.loads((run / 'log.jsonl').read_text().splitlines()[-1])
    config = PixelReferConfig.from_folder(checkpoint)
    size = (checkpoint / 'model.safetensors').stat().st_size
    table = '\n'.join(
        f'| {MEANING[name]} | ' + ' | '.join(_cell(figures[part].get(name)) for part in (
            'refer_true_masks', 'refer_last_sight', 'refer_tracked_masks')) + ' |' for name in NAMES)
    note = f'\n{textwrap.fill(note, 100)}\n' if note else ''
    tenses = 'layers' in recipe
    training = (_tenses if tenses else _training)(recipe, last, note, checkpoint)
    (checkpoint / 'README.md').write_text(CARD.format(
        categories=8, parameters=f'{size / 2 / 1e6:.2f} M', megabytes=size / 1e6,
        faint=MOST_FAINT, **_sizes(config), seed=seed, scenes=scenes,
        first=FIRST_SEED + seed * 10_000, table=table, training=training,
        looks=LOOKS if config.now_looks == 2 else ''), encoding='utf-8')
    if tenses:
        draw_tenses(run / 'log.jsonl', checkpoint / 'tenses.png')
    else:
        shutil.copy(run / 'curve.png', checkpoint / 'curve.png')


def _training(recipe: dict, last: dict, note: str, checkpoint: Path) -> str:
    return TRAINING.format(
        spoiled=100 * SPOILED, minutes=recipe['minutes'], run_seed=recipe['seed'],
        steps=last['step'], regions=f'{last["regions"]:,}', shards=recipe['shards'],
        time=_time(last['seconds']), share=100 * recipe['vision'], rate=recipe['rate'],
        decay=recipe['decay'], singles=recipe['singles'], clips=recipe['clips'],
        device=_device(recipe), on=_on(recipe), grey=100 * recipe.get('grey', 0.0),
        start=f'--shards {recipe["shards"]}' + ' --start CHECKPOINT' * recipe['started'],
        learning='only the heads learn:' if recipe['started'] else
        'the vision tower and the region encoder learn from', note=note)


def _tenses(recipe: dict, last: dict, note: str, checkpoint: Path) -> str:
    """After what the card that is there says of the stages before."""
    before = (checkpoint / 'README.md').read_text(encoding='utf-8')
    before = before[before.index('## Training'):before.index('## Limits')]
    return TENSES.format(
        before=before.split(TENSES_HEADING)[0].rstrip() + '\n', heading=TENSES_HEADING,
        minutes=recipe['minutes'], run_seed=recipe['seed'], shards=recipe['shards'],
        start='' if recipe.get('start', 'tiny') == 'tiny' else ' --start CHECKPOINT',
        layers=recipe['layers'], device=_device(recipe), on=_on(recipe), steps=last['step'],
        time=_time(last['seconds']), scenes=last['records'], rate=recipe['rate'],
        decay=recipe['decay'], note=note, shortest=SECONDS[0], longest=SECONDS[1])


def _device(recipe: dict) -> str:
    """What a run was made with; runs before there was a choice were made on CPUs."""
    device = recipe.get('device', 'cpu')
    return device if device != 'cpu' else f'{recipe["processes"]} processes of one CPU thread each'


def _on(recipe: dict) -> str:
    """What its command says of the device."""
    return '' if recipe.get('device', 'cpu') == 'cpu' else ' --device cuda'


def _time(seconds: float) -> str:
    return f'{seconds / 3600:.1f} hours' if seconds >= 3600 else f'{seconds / 60:.1f} minutes'


def _sizes(config: PixelReferConfig) -> dict[str, str]:
    v, l = config.vision, config.language
    return {
        'tower': f'width {v.hidden_size}, {v.num_hidden_layers} layers, {v.num_attention_heads} '
                 f'heads, patch {v.patch_size} px',
        'tokens': f'{config.mask_num} per object; crop of at most {config.crop_patches} patches, '
                  f'margin {config.context_patches} patches, local {config.local_image_size} px, '
                  f'global {config.global_image_size} px',
        'language': f'Qwen2, width {l.hidden_size}, {l.num_hidden_layers} layers, '
                    f'{l.num_attention_heads} heads ({l.num_key_value_heads} for keys and '
                    f'values), {l.vocab_size} tokens'}


def _cell(figure: dict | None) -> str:
    if figure is None:
        return 'not measured'
    return f'{figure["value"]:.3f} (n {figure["n"]}, {figure["low"]:.3f} to {figure["high"]:.3f})'


def main() -> None:
    given = card_arguments()
    write_card(given.run, json.loads(given.figures.read_text()), given.checkpoint, given.seed,
               given.scenes, given.note)


if __name__ == '__main__':
    main()
