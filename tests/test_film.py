# SPDX-License-Identifier: Apache-2.0
"""A PixelRefer is asked about a film as it was evaluated: a frame a second, an object on one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pixelrefer_model import film as film_module
from pixelrefer_model.engine import PerceptionEngine
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.film import Film
from pixelrefer_model.frame import Frame
from pixelrefer_model.sam2 import Track, TrackState

FULL = Path(__file__).parent / 'golden' / 'pixelrefer'
TENTH = 100_000_000


@pytest.fixture(scope='module')
def engine() -> PerceptionEngine:
    return PerceptionEngine.from_checkpoints(refer=FULL)


def frame(t: int) -> Frame:
    """A tenth of a second after the one before, and not like it anywhere."""
    image = np.random.default_rng(t).integers(0, 255, (56, 84, 3), dtype=np.uint8)
    return Frame(image, t * TENTH)


def track(name: str, t: int, state: TrackState = TrackState.TRACKED) -> Track:
    mask = np.zeros((56, 84), bool)
    mask[10:40, 10 + t % 5:50] = True
    seen = state is TrackState.TRACKED
    return Track(name, state, mask if seen else None, 1.0, (10, 10, 40, 30) if seen else None,
                 int(mask.sum()) if seen else 0, t * TENTH, t * TENTH)


def shown(length: int, *names: str, seen_until: int = 1 << 30) -> Film:
    film = Film()
    for t in range(length):
        film.show(frame(t), [track(name, t, TrackState.TRACKED if t <= seen_until else
                                   TrackState.OCCLUDED) for name in names])
    return film


def test_frames_come_at_one_a_second_with_their_times_and_the_object_from_where_it_was_last(engine):
    question = shown(35, 'cup', seen_until=23).prepare(engine, 'What is <object:cup>?', ['cup'], 8)
    times = [part.split('s:')[0] for part in question.prompt.text.split('Time ')[1:]]
    assert times == ['0.0', '1.0', '2.0', '3.0']
    assert question.stamps_ns == [23 * TENTH] and question.left_out == 0
    direct = engine.encoder.encode_video(
        [frame(t).image for t in (0, 10, 20, 30)], [track('cup', 23).mask], [0],
        mask_frames=[frame(23).image])
    assert torch.equal(question.prompt.tokens, torch.cat([*direct.images, direct.tokens[0]]))


def test_all_questions_about_a_film_take_one_pass_of_the_vision_tower(engine):
    film, before = shown(25, 'cup', 'can'), engine.encoder.calls.calls
    for text, ids in (('What is <object:cup>?', ['cup']), ('Is <object:can> red?', ['can']),
                      ('Is <object:cup> left of <object:can>?', ['cup', 'can'])):
        film.prepare(engine, text, ids, 8)
    assert engine.encoder.calls.calls == before + 1
    answer = engine.answer(film.prepare(engine, 'What is <object:cup>?', ['cup'], 3))
    assert answer.tokens == 3 and engine.encoder.calls.calls == before + 1


def test_of_a_long_film_few_frames_are_held(engine, monkeypatch):
    monkeypatch.setattr(film_module, 'MOST_FRAMES', 4)
    film = shown(200, 'cup')
    assert len(film._frames) <= 4
    gaps = {b.stamp_ns - a.stamp_ns for a, b in zip(film._frames, film._frames[1:])}
    assert len(gaps) == 1 and film._frames[0].stamp_ns == 0
    assert film._frames[-1].stamp_ns >= 120 * TENTH


def test_what_does_not_fit_is_left_out_oldest_first_and_the_question_says_how_many(
        engine, monkeypatch):
    film = shown(45, 'cup')
    whole = engine.language.count(film.prepare(engine, 'What is it?', ['cup'], 4).prompt)
    each = len(film._encoded[2].images[0])
    monkeypatch.setattr(type(engine.language), 'longest_prompt', whole - each - 1)
    question = film.prepare(engine, 'What is it?', ['cup'], 4)
    assert question.left_out == 2
    assert [part.split('s:')[0] for part in question.prompt.text.split('Time ')[1:]] == [
        '2.0', '3.0', '4.0']
    monkeypatch.setattr(type(engine.language), 'longest_prompt', 20)
    with pytest.raises(PixelReferError) as error:
        film.prepare(engine, 'What is it?', ['cup'], 4)
    assert error.value.code == 'QUESTION_TOO_LONG'


def test_an_object_that_was_never_clearly_seen_is_said(engine):
    film = shown(5, 'cup', seen_until=-1)
    with pytest.raises(PixelReferError, match='never clearly seen') as error:
        film.prepare(engine, 'What is it?', ['cup'], 4)
    assert error.value.code == 'NO_OBSERVATION'
    with pytest.raises(PixelReferError) as error:
        film.prepare(engine, 'What is <object:can>?', ['cup'], 4)
    assert error.value.code == 'UNKNOWN_OBJECT_REFERENCE'
