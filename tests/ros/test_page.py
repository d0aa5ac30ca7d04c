# SPDX-License-Identifier: Apache-2.0
"""`pixelrefer click` as a person has it: a real node, the real page, a real browser."""

import json
import signal
import time

import pytest

pytest.importorskip('aiohttp', reason='the page needs aiohttp')

from headless import WATCHDOG, Browser, find_browser  # noqa: E402
from page_support import STAMP, PageProcess, Person  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from ros_support import picture, running, to_ns  # noqa: E402
from standin_node import ENDLESS, SAY  # noqa: E402
from test_cameras import NAMES, Pair  # noqa: E402

from pixelrefer.msg import Event  # noqa: E402

pytestmark = pytest.mark.skipif(
    find_browser() is None, reason='no Chromium here (chromium, or PIXELREFER_BROWSER)')


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp('browser')) as tab:
        yield tab


@pytest.fixture(scope='module')
def quick_page(quick_node, tmp_path_factory):
    with PageProcess(quick_node.domain, tmp_path_factory.mktemp('page') / 'page.log') as page:
        yield page
        assert page.process.poll() is None, page.output


@pytest.fixture
def person(browser, quick_page, quick):
    return Person(browser, quick_page, quick)


@pytest.fixture
def looks_at_real(browser, robot, tmp_path):
    with PageProcess(robot.domain, tmp_path / 'page.log') as page:
        yield Person(browser, page, robot)


def idle(robot) -> bool:
    return robot.values().get('questions_waiting') == '0'


def test_a_click_selects_on_the_picture_that_was_seen_not_on_a_newer_one(person):
    shown, seen = person.picture(), len(person.robot.events)
    at = person.place(15, 15)
    person.see.mouse('mousePressed', *at)
    newer = [person.robot.clock.tick() for _ in range(2)]
    for stamp in newer:
        person.robot.track(stamp)
    assert person.see.run(STAMP) == str(shown), 'it stays while the finger is down'
    person.name('cup')
    person.see.mouse('mouseReleased', *at)
    person.reads('#said', 'cup selected')
    assert person.see.run("document.querySelector('#said').dataset.stamp") == str(shown)
    added = person.robot.until(lambda: next(
        (e for e in person.robot.events[seen:] if e.kind == Event.OBJECT_ADDED), None), 'an event')
    assert (added.object_id, to_ns(added.header.stamp)) == ('cup', shown) and shown < newer[0]
    person.reads('#objects', 'cup')


def test_a_box_selects_what_is_in_it_and_questions_about_it_are_answered(looks_at_real):
    person = looks_at_real
    person.picture(picture())
    person.name('red')
    person.drag(58, 78, 122, 152)
    person.reads('#said', 'red selected')
    (found,) = person.robot.list().objects
    assert found.id == 'red'
    for value, drawn in ((found.box.x, 60), (found.box.y, 80), (found.box.width, 60),
                         (found.box.height, 70)):
        assert abs(value - drawn) <= 6
    person.picture(picture())
    person.reads('#objects .badge', 'tracked')
    person.ask('What colour is <object:red>?')
    person.see.until("!!document.querySelector('#answers li.done, #answers li.unsure')",
                     'an answer')
    assert person.see.text('#answers .text') == person.robot.answers[-1].text != ''
    person.see.click('#objects .actions button')
    person.reads('#answers .asked', 'Describe red')
    person.see.until("!!document.querySelector('#answers li:first-child:not(.doing)')", 'its end')
    assert person.see.text('#answers .text') == person.robot.answers[-1].text


def test_the_selected_object_is_corrected_and_removed(person):
    person.picture()
    person.selects('cup')
    person.reads('#objects', 'cup')
    assert person.see.run("document.querySelector('input[value=off]').disabled")
    person.see.click('#objects input')
    person.see.click('input[value=off]')
    person.click(18, 12)
    person.reads('#said', 'cup corrected')
    assert [one.id for one in person.robot.list().objects] == ['cup']
    person.see.click('#objects .actions button:last-child')
    person.reads('#said', 'cup removed')
    assert person.robot.list().objects == []
    person.see.until("!document.querySelector('#objects li')", 'an empty list')


def test_an_answer_is_read_while_it_is_made_and_a_cancel_ends_it(person):
    person.picture()
    person.selects('cup')
    person.see.run('''(() => {
      window.lengths = [];
      new MutationObserver(() => {
        const text = document.querySelector('#answers li.doing .text');
        if (text) lengths.push(text.textContent.length);
      }).observe(document.querySelector('#answers'), {childList: true, subtree: true});
    })()''')
    person.ask(f'{ENDLESS}, please')
    person.see.until('new Set(lengths).size >= 5', 'text that grows')
    lengths = person.see.run('lengths')
    assert lengths == sorted(lengths), 'it only grows'
    person.see.click('#answers button')
    person.see.until("!!document.querySelector('#answers li.cancelled')", 'the end')
    person.reads('#answers small', 'CANCELLED')
    person.robot.until(lambda: idle(person.robot), 'an idle node')


def test_what_a_model_says_is_text_and_never_html(person):
    person.picture()
    person.selects('cup')
    said = '<script>document.title="owned"</script><img src=x onerror="document.title=1"><b>b</b>'
    person.ask(SAY + said)
    person.see.until("!!document.querySelector('#answers li.done')", 'an answer')
    assert person.see.text('#answers .text') == ' '.join([said] * 3)
    assert person.see.text('#answers .asked') == SAY + said
    assert not person.see.run("document.querySelector('#answers script, #answers img, #answers b')")
    assert person.see.run('document.title') == 'PixelRefer'


def test_an_error_of_the_node_is_shown_in_its_words(person):
    person.picture()
    person.selects('cup')
    person.name('cup')
    person.click(15, 15)
    person.reads('#said', "DUPLICATE_ID: object 'cup' exists")
    person.name('<i>no id</i>')
    person.click(15, 15)
    person.reads('#said', 'BAD_ID: ')
    assert person.see.run("document.querySelector('#said').className") == 'failed'
    person.name('')
    person.see.click('#hold')
    shown = person.see.run(STAMP)
    person.robot.reset(remove_objects=True)
    person.robot.track(person.robot.clock.tick())
    assert person.see.run(STAMP) == shown, 'a held picture stays'
    person.click(15, 15)
    person.reads('#said', 'STAMP_TOO_OLD: ')
    assert person.robot.list().objects == []
    person.ask('What is <object:fork>?')
    person.reads('#answers small', 'UNKNOWN_OBJECT_REFERENCE: ')


def test_the_keys_alone_do(person):
    person.picture()
    person.see.run("document.querySelector('#picture').focus()")
    for key in ('ArrowLeft', 'ArrowUp', 'Enter'):
        person.see.press(key)
    person.reads('#said', 'object_1 selected')
    for key in ('ArrowLeft', 'b', 'ArrowRight', 'ArrowLeft', 'ArrowLeft', 'ArrowUp', 'Enter'):
        person.see.press(key)
    person.reads('#said', 'object_2 selected')
    person.reads('#objects', 'object_2')
    person.see.run("document.querySelector('#objects input').click()")
    person.see.run("document.querySelector('#picture').focus()")
    for key in ('2', 'ArrowLeft', 'Enter'):
        person.see.press(key)
    person.reads('#said', 'object_1 corrected')


def test_a_node_that_is_not_active_is_shown_with_its_reason(person):
    person.picture()
    person.reads('#state', 'live')
    try:
        assert person.robot.change(Transition.TRANSITION_DEACTIVATE)
        person.reads('#state', 'not active')
        person.reads('#trouble', 'NOT_ACTIVE: the node is inactive')
    finally:
        person.robot.change(Transition.TRANSITION_ACTIVATE)
        person.robot.watched()
    person.picture()
    person.reads('#state', 'live')
    assert person.see.run("document.querySelector('#trouble').hidden")


@pytest.mark.parametrize('width', [390, 1280])
@pytest.mark.parametrize('dark', [False, True])
def test_it_fits_a_phone_and_a_desk_in_light_and_in_dark(person, width, dark):
    person.see.open(f'{person.page.url}/', width, 844, dark=dark)
    person.picture()
    person.selects('cup' * 21)
    person.reads('#objects', 'cup')
    for part in ('document.documentElement', 'document.querySelector("#objects")'):
        assert person.see.run(f'{part}.scrollWidth <= {part}.clientWidth'), 'nothing is cut'
    assert person.see.run("document.querySelector('#picture').clientWidth > 0.5 * 390")
    ink, ground = person.see.run(
        '[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]'
        ".map((c) => c.match(/\\d+/g).slice(0, 3).reduce((sum, one) => sum + Number(one), 0))")
    assert (ink > ground) == dark and abs(ink - ground) > 400


def test_the_node_draws_for_those_who_look_and_for_nobody_else(person):
    topic = '/pixelrefer/overlay/compressed'
    person.picture()
    assert person.robot.node.count_subscribers(topic) == 1
    person.see.open('about:blank')
    person.robot.until(lambda: not person.robot.node.count_subscribers(topic), 'no subscription')


def test_without_a_node_the_page_says_so_and_a_signal_ends_it(browser, quick, tmp_path):
    with PageProcess(quick.domain, tmp_path / 'page.log', '--node', 'nobody') as page:
        browser.open(f'{page.url}/')
        person_reads = json.dumps('/nobody is not to be found')
        browser.until(f"document.querySelector('#trouble').textContent.includes({person_reads})",
                      'the trouble')
        assert browser.text('#state').strip() == 'no node'
        page.process.send_signal(signal.SIGINT)
        assert page.process.wait(WATCHDOG) == 0 and 'Traceback' not in page.output
        browser.until("document.querySelector('#state').textContent.includes('not connected')",
                      'the end')


def test_of_several_cameras_one_is_chosen_and_clicks_are_of_that_one(browser, tmp_path):
    with running(tmp_path / 'node.log', {'cameras': '[front, wrist]'}, standin=0.0,
                 watched=False) as robot, \
            PageProcess(robot.domain, tmp_path / 'page.log', '--camera', 'wrist') as page:
        pair, person = Pair(robot), Person(browser, page, robot)

        def until_shown(camera: str) -> int:
            """Both cameras run until the page shows a frame of one of them."""
            end = time.monotonic() + WATCHDOG
            while time.monotonic() < end:
                stamps = {}
                for name in NAMES:
                    stamps[name] = robot.clock.tick()
                    pair.track(name, stamps[name])
                time.sleep(0.1)
                if person.see.run(STAMP) == str(stamps[camera]):
                    return stamps[camera]
            raise AssertionError(f'no picture of {camera}')

        until_shown('wrist')
        person.selects('cup')
        person.reads('#said', 'wrist:cup selected')
        person.see.until("document.querySelector('#camera').options.length === 2", 'a choice')
        assert person.see.run("document.querySelector('#camera').value") == 'wrist'
        person.see.run("(() => { const c = document.querySelector('#camera'); c.value = 'front'; "
                       "c.dispatchEvent(new Event('change')); })()")
        until_shown('front')
        assert 'wrist:cup' not in person.see.text('#objects')
        person.selects('cup')
        person.reads('#objects', 'front:cup')
        assert {one.id for one in robot.list().objects} == {'wrist:cup', 'front:cup'}
        robot.until(lambda: not robot.node.count_subscribers(
            '/pixelrefer/wrist/overlay/compressed'), 'nobody who looks at the wrist')
