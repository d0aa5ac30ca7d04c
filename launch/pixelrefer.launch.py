# SPDX-License-Identifier: Apache-2.0
"""Starts the node: `ros2 launch pixelrefer pixelrefer.launch.py image:=/camera/color/image_raw`.

Stop it with SIGINT: on SIGTERM, `ros2 launch` leaves its nodes behind.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

#: Launch arguments: default and description.
ARGUMENTS = {
    'namespace': ('', 'Namespace of the node.'),
    'image': ('image', 'Image topic; the compressed one is <image>/compressed.'),
    'image_transport': ('raw', 'raw or compressed.'),
    'tracker_model': ('tiny', 'SAM 2 checkpoint: tiny (packaged) or a folder.'),
    'refer_model': ('tiny', 'PixelRefer-Lite checkpoint: tiny (packaged) or a folder.'),
    'device': ('cpu', 'PyTorch device, for example cuda.'),
    'autostart': ('true', 'Configure and activate without a lifecycle manager.'),
    'use_sim_time': ('false', 'Take time from /clock.'),
    'log_level': ('info', 'debug, info, warn or error.'),
}


def generate_launch_description() -> LaunchDescription:
    """The node with its parameter file; launch arguments come after it and win."""
    value = {name: LaunchConfiguration(name) for name in ARGUMENTS}
    params_file = LaunchConfiguration('params_file')
    text = {name: ParameterValue(value[name], value_type=str)
            for name in ('image_transport', 'tracker_model', 'refer_model', 'device')}
    flags = {name: ParameterValue(value[name], value_type=bool)
             for name in ('autostart', 'use_sim_time')}
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=description)
          for name, (default, description) in ARGUMENTS.items()),
        DeclareLaunchArgument(
            'params_file', description='Parameters of the node (YAML).',
            default_value=PathJoinSubstitution(
                [FindPackageShare('pixelrefer'), 'config', 'pixelrefer.yaml'])),
        Node(
            package='pixelrefer', executable='pixelrefer_node', name='pixelrefer',
            namespace=value['namespace'], output='screen', emulate_tty=True,
            parameters=[params_file, text | flags],
            remappings=[('image', value['image']),
                        ('image/compressed', [value['image'], '/compressed'])],
            arguments=['--ros-args', '--log-level', value['log_level']]),
    ])
