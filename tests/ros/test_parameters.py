# SPDX-License-Identifier: Apache-2.0
"""`ros2 param describe` is documentation enough: what each parameter is, may be, and when."""

import pytest
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import DescribeParameters
from ros_support import NodeProcess

from pixelrefer_ros.demo.processes import own_domain
from pixelrefer_ros.parameters import RULES

NUMBERS = {ParameterType.PARAMETER_INTEGER: 'integer_range',
           ParameterType.PARAMETER_DOUBLE: 'floating_point_range'}


@pytest.fixture
def descriptors(quick):
    names = list(RULES)
    reply = quick.call(DescribeParameters, 'describe_parameters',
                       DescribeParameters.Request(names=names))
    return dict(zip(names, reply.descriptors, strict=True))


def test_every_parameter_says_what_it_is_and_when_it_may_change(descriptors):
    for name, descriptor in descriptors.items():
        rule = RULES[name]
        assert descriptor.description.endswith('.') and not descriptor.dynamic_typing, name
        assert descriptor.additional_constraints.endswith(
            'at any time' if rule.live else 'starts' if rule.fixed else 'unconfigured'), name
        assert descriptor.read_only == rule.fixed and not (rule.live and rule.fixed), name


def test_every_number_has_its_range_and_every_choice_its_words(descriptors):
    for name, descriptor in descriptors.items():
        if descriptor.type in NUMBERS:
            allowed, = getattr(descriptor, NUMBERS[descriptor.type])
            assert allowed.from_value <= RULES[name].default <= allowed.to_value, name
            assert allowed.from_value < allowed.to_value, name
        for word in RULES[name].choices:
            assert word in descriptor.additional_constraints, name


@pytest.mark.parametrize(('value', 'told'), [
    ({'autostart': False}, 'read-only'), ({'stream_goals': 4}, 'read-only'),
    ({'max_objects': 4}, 'read when the node is configured'),
    ({'click_label': 7}, 'range'), ({'dtype': 'int3'}, 'float32, bfloat16, float16')])
def test_what_may_not_be_set_is_refused_with_a_reason(quick, value, told):
    result, = quick.set_parameters(**value)
    assert not result.successful and told in result.reason


@pytest.mark.parametrize('parameters, told', [
    ({'max_objects': 0}, ('max_objects', 'Max: 1024')),
    ({'max_objects': 'many'}, ('max_objects', 'INTEGER')),
    ({'qos_overrides./pixelrefer/answers.publisher.reliability': 'sometimes'},
     ('~/answers', 'reliability', 'sometimes')),
])
def test_a_node_that_cannot_start_as_it_is_told_to_ends_with_one_line_that_says_why(
        tmp_path, parameters, told):
    with own_domain() as domain, \
            NodeProcess(domain, tmp_path / 'node.log', parameters) as process:
        assert process.end() == 1
        line, = process.output.splitlines()
    assert 'not started: ' in line and all(word in line for word in told)
