# SPDX-License-Identifier: Apache-2.0
"""Rules of the engine with a PixelRefer: it sees the frame too, once, and pays for it in tokens."""

from pathlib import Path

import numpy as np
import pytest

from pixelrefer_model.engine import EngineSettings, PerceptionEngine
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import Frame
from pixelrefer_model.memory import EveryInterval, KeepLast, Span
from pixelrefer_model.memory.watch import Due
from pixelrefer_model.prompt import MaskPrompt

TENTH = 100_000_000
CHECKPOINT = Path(__file__).parent / 'golden' / 'pixelrefer'
#: Patches of a frame of 160x120 pixels, each an image token.
SEEN = 9 * 11


def frame(index: int) -> Frame:
    """Two squares over a grey table, ten frames a second; the left one drifts."""
    image = np.full((120, 160, 3), 110, np.uint8)
    image[:, :, 1] += (np.arange(160) // 20 % 2 * 12).astype(np.uint8)
    image[50:80, 20 + index:50 + index] = (200, 30, 30)
    image[50:80, 110:140] = (30, 30, 200)
    return Frame(image, index * TENTH)


def square(left: int) -> MaskPrompt:
    mask = np.zeros((120, 160), bool)
    mask[50:80, left:left + 30] = True
    return MaskPrompt(mask)


@pytest.fixture(scope='module')
def loaded() -> PerceptionEngine:
    engine = PerceptionEngine.from_checkpoints(refer=CHECKPOINT)
    engine.warm_up()
    return engine


@pytest.fixture
def engine(loaded) -> PerceptionEngine:
    loaded.tracker.reset()
    return PerceptionEngine(
        loaded.tracker, loaded.encoder, loaded.language,
        EngineSettings(keyframes=EveryInterval(0.2), keep_images=KeepLast(2)))


def observe(engine: PerceptionEngine, index: int, **objects: MaskPrompt) -> None:
    """Select objects on a frame and remember what is seen of all of them there, in one pass."""
    tracks = [engine.tracker.replace(name, prompt, frame(index))
              if name in engine.tracker.ids else engine.tracker.add(name, prompt, frame(index))
              for name, prompt in objects.items()]
    engine.memory.observe(engine.observe(frame(index), [Due(track) for track in tracks], 0))


def test_a_question_holds_the_frame_once_however_many_objects_it_is_about(engine):
    observe(engine, 0, red=square(20), blue=square(110))
    for ids in (['red'], ['red', 'blue']):
        prompt = engine.prepare('What is this?', ids).prompt
        assert prompt.text.count('<image>') == SEEN
        assert len(prompt.tokens) == SEEN + prompt.text.count('<REGION>')
    answer = engine.ask('Is <object:red> left of <object:blue>?', ['red', 'blue'],
                        max_new_tokens=3)
    assert answer.tokens and answer.stamps_ns == [0]
    assert [one.object_ids for one in engine.describe(detail='category')] == [['red'], ['blue']]


def test_objects_of_one_frame_are_encoded_in_one_pass_and_share_its_tokens(engine):
    calls = engine.encoder.calls
    observe(engine, 0, red=square(20), blue=square(110))
    assert engine.encoder.calls.calls == calls.calls + 1
    red, blue = (engine.memory.select(one, Span(0, 0), 1, engine.encoder.key).observations[0]
                 for one in ('red', 'blue'))
    assert red.image is blue.image and red.image.shape[0] == SEEN
    count, held = engine.memory.held()
    assert (count, held) == (2, red.bytes + blue.bytes + red.image.nbytes)


def test_a_question_costs_only_text(engine):
    observe(engine, 0, red=square(20))
    before = engine.encoder.calls, engine.tracker.encoded
    engine.ask('Is it moving?', ['red'], max_new_tokens=2)
    assert (engine.encoder.calls, engine.tracker.encoded) == before


def test_objects_last_seen_on_two_frames_bring_both_oldest_first(engine):
    observe(engine, 0, red=square(20))
    observe(engine, 3, blue=square(110))
    question = engine.prepare('What is <object:blue> beside <object:red>?', ['blue', 'red'])
    assert question.stamps_ns == [0, 3 * TENTH]
    assert question.prompt.text.count('<image>\n') == 2
    kept = {name: engine.memory.select(name, Span(0, 10 * TENTH), 1, engine.encoder.key)
            .observations[0] for name in ('red', 'blue')}
    assert (question.prompt.tokens[:SEEN] == kept['red'].image).all()
    assert (question.prompt.tokens[SEEN:2 * SEEN] == kept['blue'].image).all()


def test_a_question_rests_on_the_last_moment_of_its_window(engine):
    for index in (0, 2, 4):
        observe(engine, index, red=square(20 + index))
    question = engine.prepare('Does it move?', ['red'], Span(0, 3 * TENTH), max_frames=4)
    assert question.stamps_ns == [2 * TENTH] and question.left_out == 0
    question = engine.prepare('Does it move?', ['red'], Span(0, 4 * TENTH), max_frames=4)
    assert question.stamps_ns == [4 * TENTH] and question.left_out == 1
    assert 'Time' not in question.prompt.text
    with pytest.raises(PixelReferError) as error:
        engine.prepare('Does it move?', ['red'], max_frames=0)
    assert error.value.code == 'BAD_BUDGET'


def test_the_frames_that_are_held_are_bounded(engine):
    for index in range(0, 10, 2):
        observe(engine, index, red=square(20 + index))
    count, held = engine.memory.held()
    observation = engine.memory.select('red', Span(0, 10 * TENTH), 1, engine.encoder.key)
    image = observation.observations[0].image
    assert count == 2 and held <= 2 * (image.nbytes + 32 * image.shape[1] * 4)


def test_the_smaller_bound_holds():
    settings = EngineSettings(keep=KeepLast(1), keep_images=KeepLast(4))
    engine = PerceptionEngine.from_checkpoints(refer=CHECKPOINT, settings=settings)
    for index in (0, 2):
        observe(engine, index, red=square(20 + index))
    assert engine.memory.held()[0] == 1


def test_a_user_cannot_write_an_image_into_a_question(engine):
    observe(engine, 0, red=square(20))
    with pytest.raises(PixelReferError) as error:
        engine.ask('What is in <image>?', ['red'])
    assert error.value.code == 'SPECIAL_TOKEN'


def test_lite_sees_no_frame():
    engine = PerceptionEngine.from_checkpoints()
    observe(engine, 0, red=square(20))
    assert '<image>' not in engine.prepare('What is it?', ['red']).prompt.text
    assert engine.memory.select('red', Span(0, 0), 1, engine.encoder.key).observations[0].image \
        is None
