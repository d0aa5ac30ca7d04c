# SPDX-License-Identifier: Apache-2.0
"""The RViz configuration and the Foxglove layout name topics, types and fields that a node has."""

import json
import re
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
import yaml
from ros_support import ROOT

#: Types that a display of RViz or a panel of Foxglove shows; None: any.
DISPLAYS = {'rviz_default_plugins/Image': ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'),
            'vision_msgs_rviz_plugins/Detection3DArray': ('vision_msgs/msg/Detection3DArray',)}
PANELS = {'Image': DISPLAYS['rviz_default_plugins/Image'], 'RawMessages': None, 'Plot': None,
          'DiagnosticSummary': ('diagnostic_msgs/msg/DiagnosticArray',)}
MESSAGE_PATH = re.compile(r'(/[\w/]+)(\{(\w+)==[^}]*\})?((?:\.\w+)*)')


def rviz() -> list[tuple[str, tuple[str, ...]]]:
    """Topics of the displays, and the types that each of them shows."""
    config = yaml.safe_load((ROOT / 'config' / 'pixelrefer.rviz').read_text())
    displays = config['Visualization Manager']['Displays']
    return [(one['Topic']['Value'], DISPLAYS[one['Class']]) for one in displays if 'Topic' in one]


def foxglove() -> dict[str, Any]:
    return json.loads((ROOT / 'config' / 'pixelrefer.foxglove.json').read_text())


def panels(*kinds: str) -> list[dict[str, Any]]:
    return [config for name, config in foxglove()['configById'].items()
            if name.partition('!')[0] in kinds]


def message_paths() -> list[tuple[str, tuple[str, ...] | None]]:
    """What the panels of Foxglove show, and the types that each of them can show."""
    found = []
    for name, config in foxglove()['configById'].items():
        kind = name.partition('!')[0]
        if kind == 'Image':
            found.append((config['imageMode']['imageTopic'], PANELS[kind]))
        elif kind == 'RawMessages':
            found.append((config['topicPath'], PANELS[kind]))
        elif kind == 'DiagnosticSummary':
            found.append((config['topicToRender'], PANELS[kind]))
        elif kind == 'Plot':
            found += [(one['value'], PANELS[kind]) for one in config['paths']]
    return found


def message(name: str) -> type:
    package, kind, cls = name.split('/')
    return getattr(import_module(f'{package}.{kind}'), cls)


@pytest.fixture
def published(quick) -> dict[str, str]:
    """Topics that there are, with their types."""
    quick.track(quick.clock.tick())
    return {topic: types[0] for topic, types in quick.node.get_topic_names_and_types()
            if quick.node.count_publishers(topic)}


def test_rviz_shows_topics_that_the_node_publishes(published):
    shown = rviz()
    assert shown
    for topic, types in shown:
        if topic.endswith('detections_3d') and not find_spec('vision_msgs'):
            continue    # published where vision_msgs is installed
        assert published[topic] in types, topic


def test_foxglove_shows_topics_and_fields_that_the_node_publishes(published):
    shown = message_paths()
    assert {name.partition('!')[0] for name in foxglove()['configById']} == {
        *PANELS, 'Publish', 'CallService'}
    for path, types in shown:
        topic, _, by, fields = MESSAGE_PATH.fullmatch(path).groups()
        kind = published[topic]
        assert types is None or kind in types, path
        value = message(kind)()
        for field in filter(None, [by, *fields.split('.')]):
            assert hasattr(value, field), path


def test_foxglove_plots_the_latency_of_topics_that_have_one(quick, published):
    told = {re.search(r'=="(.*)"', one['value']).group(1)
            for panel in panels('Plot') for one in panel['paths']}
    assert told <= set(published)


def filled(value: Any, fields: dict[str, Any]) -> None:
    """Set fields of a message as JSON names them; one that does not exist fails."""
    for name, given in fields.items():
        assert name in value.get_fields_and_field_types(), name
        if isinstance(given, dict):
            filled(getattr(value, name), given)
        else:
            setattr(value, name, type(getattr(value, name))(given))


def test_foxglove_publishes_and_calls_what_the_node_takes(quick):
    for panel in panels('Publish'):
        infos = quick.node.get_subscriptions_info_by_topic(panel['topicName'])
        assert [one.topic_type for one in infos] == [panel['datatype']]
        filled(message(panel['datatype'])(), json.loads(panel['value']))
    services = dict(quick.node.get_service_names_and_types())
    for panel in panels('CallService'):
        kind, = services[panel['serviceName']]
        filled(message(kind).Request(), json.loads(panel['requestPayload']))


def test_every_panel_of_foxglove_has_its_place():
    def leaves(part: Any) -> list[str]:
        return [part] if isinstance(part, str) else leaves(part['first']) + leaves(part['second'])
    layout = foxglove()
    assert sorted(leaves(layout['layout'])) == sorted(layout['configById'])
