# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/interfaces, taken from the pages and run as they stand, without ros2cli."""

import importlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from lifecycle_msgs.msg import Transition
from rcl_interfaces.srv import GetParameters
from ros_support import ROOT, Goal, Robot

FOLDER = ROOT / 'docs' / 'interfaces'
_EXAMPLE = re.compile(
    r'^ {4}(?P<shell>ros2 [^\n]*)$|^```python\n(?P<python>.*?)^```$|^```text\n(?P<output>.*?)^```$',
    re.MULTILINE | re.DOTALL)
#: How a page says that the next command fails.
_REFUSED = re.compile(r'is refused with ([A-Z_]+):\s*\Z')


@dataclass
class Example:
    """A command for a shell, or a program. code: the name of the error that the page says it meets;
    output: what the page shows of it."""

    shell: str = ''
    python: str = ''
    code: str = 'OK'
    output: str = ''


def read(page: str) -> str:
    """The text of a page."""
    return (FOLDER / f'{page}.md').read_text()


def order() -> list[str]:
    """The pages in an order in which each finds what it needs: those that let go come last."""
    linked = list(dict.fromkeys(re.findall(r'\]\((\w+)\.md\)', read('README'))))
    last = ['forget', 'remove_objects', 'reset', 'lifecycle']
    return ['README', *(page for page in linked if page not in last), *last]


def examples(page: str) -> list[Example]:
    """The examples of a page, in order."""
    text, found = read(page), []
    for match in _EXAMPLE.finditer(text):
        if match['output'] is not None:
            found[-1].output = match['output']
            continue
        refused = _REFUSED.search(text[:match.start()])
        found.append(Example(match['shell'] or '', match['python'] or '',
                             refused[1] if refused else 'OK'))
    return found


def table(page: str, *, first: str, section: str = '') -> list[list[str]]:
    """The rows of the tables of a page whose header begins with `first`, cell by cell."""
    text = read(page).split(f'\n## {section}\n')[1] if section else read(page)
    rows, inside = [], False
    for line in text.splitlines():
        if not line.startswith('|'):
            inside = False
            continue
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if cells[0].startswith(first):
            inside = True
        elif inside and not cells[0].startswith('---'):
            rows.append(cells)
    return rows


def interface(name: str) -> type:
    """The class of `package/kind/Name`."""
    package, kind, cls = name.split('/')
    return getattr(importlib.import_module(f'{package}.{kind}'), cls)


def fill(message: Any, values: dict[str, Any]) -> Any:
    """Set fields of a message from what YAML makes of them, as `ros2` does. Raises AttributeError
    for a field that the message does not have."""
    kinds = message.get_fields_and_field_types()
    for name, value in values.items():
        if isinstance(value, dict):
            fill(getattr(message, name), value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            kind = interface(re.sub(r'^sequence<(\w+)/(\w+).*>$', r'\1/msg/\2', kinds[name]))
            setattr(message, name, [fill(kind(), one) for one in value])
        else:
            kind = type(getattr(message, name))
            setattr(message, name, kind(value) if kind in (float, str) else value)
    return message


class Shell:
    """Runs the `ros2` lines of the pages. `told` holds what came on every topic that a page echoes,
    since the start."""

    def __init__(self, robot: Robot) -> None:
        self.robot = robot
        self.told = {}
        for line in (one.shell for page in order() for one in examples(page)):
            if line.startswith('ros2 topic echo'):
                topic = shlex.split(line)[-1]
                self.told[topic] = robot.collect(topic_type(topic), topic)

    def run(self, example: Example) -> Any:
        """What the command gives: a reply, a result; of an echo, a way to wait for its message."""
        words = shlex.split(example.shell)
        verb, given = '_'.join(words[1:3]), words[3:]
        return getattr(self, f'_{verb}')(given)

    def _service_call(self, given: list[str]) -> Any:
        name, kind = given[0], interface(given[1])
        request = fill(kind.Request(), yaml.safe_load(given[2]) if given[2:] else {})
        return self.robot.call(kind, own(name), request)

    def _action_send_goal(self, given: list[str]) -> Any:
        assert given[:3] == ['--feedback', '/pixelrefer/ask_stream', 'pixelrefer/action/AskStream']
        with Goal(self.robot, **yaml.safe_load(given[3])) as goal:
            result = goal.result()
        assert ''.join(one.text for one in goal.feedback).strip() == result.answer.text
        return result

    def _topic_echo(self, given: list[str]) -> Any:
        assert given[0] == '--once'
        field = given[2] if given[1] == '--field' else ''
        told = self.told[given[-1]]
        before = len(told)

        def heard() -> None:
            self.robot.until(lambda: len(told) > before, f'a message of {given[-1]}')
            found = told[-1]
            for name in field.split('.') if field else ():
                found = getattr(found, name)

        return heard

    def _topic_pub(self, given: list[str]) -> None:
        once, topic, kind, values = given
        assert once == '--once'
        publisher = self.robot.node.create_publisher(interface(kind), topic, 10)
        self.robot.until(publisher.get_subscription_count, f'a subscription to {topic}')
        publisher.publish(fill(interface(kind)(), yaml.safe_load(values)))

    def _topic_info(self, given: list[str]) -> None:
        assert self.robot.node.get_subscriptions_info_by_topic(given[-1])

    def _param_get(self, given: list[str]) -> Any:
        node, name = given
        assert node == self.robot.NAME
        value = self.robot.call(GetParameters, 'get_parameters',
                                GetParameters.Request(names=[name])).values[0]
        assert value.type, f'no parameter {name}'

    def _param_set(self, given: list[str]) -> None:
        node, name, value = given
        assert node == self.robot.NAME
        (result,) = self.robot.set_parameters(**{name: yaml.safe_load(value)})
        assert result.successful, result.reason

    def _lifecycle_get(self, given: list[str]) -> None:
        assert given == [self.robot.NAME] and self.robot.state()

    def _lifecycle_set(self, given: list[str]) -> None:
        node, transition = given
        assert node == self.robot.NAME
        assert self.robot.change(getattr(Transition, f'TRANSITION_{transition.upper()}'))


def own(name: str) -> str:
    """A name of the node's own, without the node's."""
    assert name.startswith(f'{Robot.NAME}/'), name
    return name.removeprefix(f'{Robot.NAME}/')


def topic_type(topic: str) -> type:
    """The type of a topic, as the page of what is published says."""
    for name, kind, *_ in table('published', first='topic'):
        if name.strip('`').replace('~', Robot.NAME) == topic:
            kind = re.sub(r'^\[(\w+)\].*', r'pixelrefer/msg/\1', kind).split(',')[0]
            return interface(kind if kind.count('/') == 2 else kind.replace('/', '/msg/'))
    raise AssertionError(f'no topic {topic} in published.md')


def replies(example: Example) -> Iterator[Any]:
    """The reply that a page shows of a service call, read back; none where it shows none."""
    if example.shell.startswith('ros2 service call') and example.output:
        names = {name: importlib.import_module(name) for name in (
            'array', 'builtin_interfaces.msg', 'geometry_msgs.msg', 'pixelrefer.msg',
            'pixelrefer.srv', 'std_msgs.msg')}
        packages = {name.split('.')[0]: importlib.import_module(name.split('.')[0])
                    for name in names}
        text = ' '.join(example.output.split('\n'))
        yield eval(text, {**packages, 'array': list})  # noqa: S307: our own page
