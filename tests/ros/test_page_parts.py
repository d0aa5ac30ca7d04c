# SPDX-License-Identifier: Apache-2.0
"""The page's outbox holds one message a subject; its requests become calls of the client."""

import asyncio
import json
import threading
from types import SimpleNamespace

import pytest

from pixelrefer_ros.conversions import nanoseconds, time_message
from pixelrefer_ros.demo.processes import own_domain
from pixelrefer_ros.page.bridge import Bridge
from pixelrefer_ros.page.outbox import Outbox
from pixelrefer_ros.page.requests import Doing, Malformed, Values, parse


def test_what_was_not_sent_in_time_is_replaced_not_queued():
    async def run() -> None:
        outbox = Outbox()
        for number in range(10_000):
            outbox.put('frame', f'frame {number}')
            outbox.put('objects', f'objects {number}')
            assert len(outbox) <= 2
        assert await outbox.take() == ('frame', 'frame 9999')
        assert await outbox.take() == ('objects', 'objects 9999')
        assert len(outbox) == 0

    asyncio.run(run())


def test_what_is_held_stays_until_it_is_released_and_the_rest_goes_out():
    async def run() -> None:
        outbox = Outbox()
        outbox.hold('frame')
        outbox.put('frame', 'old')
        outbox.put('reply 1', 'done')
        assert await outbox.take() == ('reply 1', 'done')
        waiting = asyncio.ensure_future(outbox.take())
        await asyncio.sleep(0)
        outbox.put('frame', 'new')
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        outbox.release()
        assert await waiting == ('frame', 'new')
        outbox.put('frame', 'late')
        outbox.drop('frame', 'objects')
        assert len(outbox) == 0

    asyncio.run(run())


def test_any_thread_may_leave_a_message():
    async def run() -> None:
        outbox, seen = Outbox(), set()
        threads = [threading.Thread(target=lambda i=i: outbox.put(f'reply {i}', 'x'))
                   for i in range(20)]
        for thread in threads:
            thread.start()
        while len(seen) < 20:
            seen.add((await asyncio.wait_for(outbox.take(), 60))[0])
        for thread in threads:
            thread.join()

    asyncio.run(run())


class Recorder:
    """Notes the calls of the client that a request makes."""

    def __init__(self) -> None:
        self.calls = []

    def select(self, *args, **how):
        self.calls.append(('select', args, how))
        return SimpleNamespace(stamp_used=time_message(7), results=[
            SimpleNamespace(object=SimpleNamespace(id='cup'))])

    def remove(self, *ids):
        self.calls.append(('remove', ids))
        return list(ids)

    def describe(self, *ids, detail):
        self.calls.append(('describe', ids, detail))
        return []

    def stream(self, question, *ids):
        self.calls.append(('stream', question, ids))
        return Said()


class Said:
    """A stream of three pieces."""

    answer = SimpleNamespace(text='a b c', object_ids=['cup'], tokens=3, confidence=0.5,
                             abstained=False, finish_reason='stop', error_msg='')

    def __init__(self) -> None:
        self.cancelled = 0

    def __iter__(self):
        return iter(('a', ' b', ' c'))

    def cancel(self):
        self.cancelled += 1


def done(**message):
    """The calls that a message makes, the reply, and the text on the way."""
    client, texts = Recorder(), []
    reply = parse(Values(json.dumps({'request': 1, **message}))).act(client, Doing(texts.append))
    return client.calls, reply, texts


STAMP = '1735689612300000001'   # more than a number of JavaScript holds


def test_a_click_a_box_and_a_correction_name_the_stamp_to_the_nanosecond():
    for message, expected in (
            ({'do': 'select', 'point': [3, 4.5]}, {'click': [3.0, 4.5]}),
            ({'do': 'select', 'box': [1, 2, 3, 4]}, {'box': [1.0, 2.0, 3.0, 4.0]}),
            ({'do': 'correct', 'point': [3, 4], 'label': 0},
             {'points': [[3.0, 4.0]], 'labels': [0], 'on_existing': 'correct'})):
        ((name, args, how),), reply, _ = done(id='cup', camera='front', stamp=STAMP, **message)
        assert (name, args) == ('select', ('cup',))
        assert str(nanoseconds(how.pop('stamp'))) == STAMP and how.pop('camera') == 'front'
        assert how == expected and reply == {'id': 'cup', 'stamp_used': '7'}


def test_a_question_is_told_as_it_grows():
    calls, reply, texts = done(do='ask', question='What is it?', ids=['cup'])
    assert calls == [('stream', 'What is it?', ('cup',))]
    assert texts == ['a', 'a b', 'a b c'] and reply['text'] == 'a b c'


def test_removing_and_describing():
    assert done(do='remove', ids=['cup'])[0] == [('remove', ('cup',))]
    assert done(do='describe', ids=[], detail='phrase')[0] == [('describe', (), 'phrase')]


def test_removing_nothing_is_not_removing_everything():
    with pytest.raises(Malformed):
        done(do='remove', ids=[])


@pytest.mark.parametrize('before', [True, False])
def test_a_cancel_reaches_the_stream_whichever_comes_first(before):
    doing, stream = Doing(print), Said()
    if before:
        doing.cancel()
        doing.streams(stream)
    else:
        doing.streams(stream)
        doing.cancel()
    assert stream.cancelled == 1


def test_the_thread_that_waits_on_the_topics_is_the_one_that_destroys_them(monkeypatch):
    destroyed = []
    with own_domain() as domain:
        monkeypatch.setenv('ROS_DOMAIN_ID', str(domain))
        with Bridge('/nobody', lambda *_: None) as bridge:
            for owner, name in ((bridge._node, 'destroy_subscription'),
                                (bridge._looking, 'close')):
                def destroy(*one, real=getattr(owner, name)) -> None:
                    destroyed.append(threading.current_thread().name)
                    real(*one)
                monkeypatch.setattr(owner, name, destroy)
            bridge.watch({'front'})
            bridge.watch(set())
    # What is left goes with its node, after that thread.
    assert destroyed[:3] == ['pixelrefer_client'] * 3
