# SPDX-License-Identifier: Apache-2.0
"""One run of `describe` or `ask`: files to answers. What can be wrong is said before anything
slow is done."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence

from pixelrefer_model.answer import Answer
from pixelrefer_model.cli.reporting import as_json, as_text, check_writable, picture, write
from pixelrefer_model.cli.selection import Named, check_selections, read_selections
from pixelrefer_model.cli.watching import MOST_KEPT, Source, watch
from pixelrefer_model.detection import load_detector
from pixelrefer_model.device import choose_device, choose_dtype
from pixelrefer_model.engine import MOST_NEW_TOKENS, EngineSettings, PerceptionEngine
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.film import Film
from pixelrefer_model.language import Greedy, Sample, mentions
from pixelrefer_model.language.sampling import LEAST_TEMPERATURE
from pixelrefer_model.memory import EveryInterval, KeepLast
from pixelrefer_model.pixelrefer.configuration_pixelrefer import FULL
from pixelrefer_model.weights import checkpoint_folder

MOST_SEED = 2**63 - 1
#: Observations of one object in one question.
MOST_FRAMES = 64

#: Ids of the objects, and whether the model is a PixelRefer -> questions, each with its objects.
Questions = Callable[[list[str], bool], list[tuple[str, list[str]]]]


def run(given: argparse.Namespace, questions: Questions) -> int:
    """Ask `questions` about what the command line selects, and print the answers.

    Raises PixelReferError for anything that is wrong with the command line, its files or models.
    """
    selections = read_selections(given.selected)
    full = is_full(given.refer)
    asked = questions([one.object_id for one in selections], full)
    _check(given, asked)
    device = choose_device(given.device)
    dtype = choose_dtype(given.dtype, device)
    with Source(given.file, given.start, given.stop) as source:
        check_selections(selections, source.width, source.height)
        settings = EngineSettings(keyframes=EveryInterval(source.every_s(given.every)),
                                  keep=KeepLast(MOST_KEPT), max_frames=given.frames,
                                  sampling=sampling(given))
        engine = PerceptionEngine.from_checkpoints(
            given.tracker, given.refer, device=device, dtype=dtype,
            quantization=given.quantization, attention=given.attention, settings=settings)
        if any(isinstance(one.prompt, Named) for one in selections):
            engine.detector = load_detector(given.detector, device=device, dtype=dtype)
        film = Film() if full and not source.is_image else None
        watched = watch(engine, source, selections, film)
    prepared, errors = [], []
    for text, ids in asked:
        try:
            prepared.append(
                engine.prepare(text, ids, watched.window, max_new_tokens=given.max_tokens)
                if film is None else film.prepare(engine, text, ids, given.max_tokens))
        except PixelReferError as error:
            # one object that was never clearly seen must not silence the others
            errors.append(error)
    if errors and not prepared:
        raise errors[0]
    answers: list[tuple[str, Answer]] = [
        (question.text, answer)
        for question, answer in zip(prepared, engine.answers(prepared), strict=True)]
    if given.json:
        print(json.dumps(as_json(given, selections, watched, answers), indent=2,
                         ensure_ascii=False))
    else:
        print(as_text(answers))
    if given.save is not None:
        write(given.save, picture(watched))
    for error in errors:
        print(f'pixelrefer: {error.message} ({error.code})', file=sys.stderr)
    return 2 if errors else 0


def sampling(given: argparse.Namespace) -> Greedy | Sample:
    """How the command line wants tokens to be chosen."""
    if not given.temperature:
        return Greedy()
    return Sample(given.temperature, seed=given.seed)


def is_full(refer: str) -> bool:
    """Whether a checkpoint is a PixelRefer, as its config.json says; loading it finds out what is
    wrong with the file. Raises PixelReferError CHECKPOINT where there is none."""
    file = checkpoint_folder(refer, 'refer') / 'config.json'
    try:
        return json.loads(file.read_text(encoding='utf-8')).get('model_type') == FULL
    except (OSError, ValueError, AttributeError):
        return False


def _check(given: argparse.Namespace, asked: Sequence[tuple[str, list[str]]]) -> None:
    for text, ids in asked:
        mentions(text, ids)
    for what, value, most in (('answer tokens', given.max_tokens, MOST_NEW_TOKENS),
                              ('frames', given.frames, MOST_FRAMES)):
        if not 1 <= value <= most:
            raise PixelReferError('BAD_BUDGET', f'{value} {what} asked for; 1 to {most} are '
                                                'allowed')
    if given.temperature and not LEAST_TEMPERATURE <= given.temperature < float('inf'):
        raise PixelReferError('BAD_BUDGET', f'temperature {given.temperature:g}; 0, or a number '
                                            f'from {LEAST_TEMPERATURE:g} on is allowed')
    if not 0 <= given.seed <= MOST_SEED:
        raise PixelReferError('BAD_BUDGET', f'seed {given.seed}; 0 to {MOST_SEED} is allowed')
    if given.save is not None:
        check_writable(given.save)
