# SPDX-License-Identifier: Apache-2.0
"""Starts the node: `ros2 launch pixelrefer pixelrefer.launch.py image:=/camera/color/image_raw`.

Stop it with SIGINT: on SIGTERM, `ros2 launch` leaves its nodes behind.
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import (
    EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution)
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from pixelrefer_ros.parameters import RULES

PROFILES = 'FASTRTPS_DEFAULT_PROFILES_FILE'
#: Launch arguments: default and description.
ARGUMENTS = {
    'namespace': ('', 'Namespace of the node.'),
    'image': ('image', 'Image topic; the compressed one is <image>/compressed.'),
    'depth': ('depth', 'Topic of depth images registered to the image, if there are any; '
              'compressed ones are <depth>/compressedDepth.'),
    'camera_info': ('camera_info', 'Topic of the calibration, for depth.'),
    'log_level': ('info', 'debug, info, warn or error.'),
    'use_sim_time': ('', 'true: time comes from /clock. Empty: as params_file says.'),
}
#: Parameters of the node that are launch arguments as well. What is given wins over params_file.
PARAMETERS = ('cameras', 'image_transport', 'depth_transport', 'tracker_model', 'refer_model',
              'device', 'dtype', 'autostart', 'target_frame', 'memory', 'memory_folder')


def generate_launch_description() -> LaunchDescription:
    """The node with its parameter file, and with what the launch arguments say instead of it."""
    default = PathJoinSubstitution([FindPackageShare('pixelrefer'), 'config', 'pixelrefer.yaml'])
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=value, description=description)
          for name, (value, description) in ARGUMENTS.items()),
        DeclareLaunchArgument('params_file', default_value=default,
                              description='Parameters of the node (YAML).'),
        *(DeclareLaunchArgument(name, default_value='', description=described(name))
          for name in PARAMETERS),
        OpaqueFunction(function=start),
    ])


def described(name: str) -> str:
    """What the argument of a parameter is."""
    several = ' Typed as front,rear.' if isinstance(RULES[name].default, list) else ''
    return f'{RULES[name].description}{several} Empty: as params_file says.'


def start(context: LaunchContext) -> list[Node]:
    """The node."""
    given = {name: context.launch_configurations[name] for name in (*PARAMETERS, 'use_sim_time')}
    image, depth = LaunchConfiguration('image'), LaunchConfiguration('depth')
    return [Node(
        package='pixelrefer', executable='pixelrefer_node', name='pixelrefer',
        namespace=LaunchConfiguration('namespace'), output='screen', emulate_tty=True,
        parameters=[LaunchConfiguration('params_file'),
                    {name: typed(name, text) for name, text in given.items() if text}],
        remappings=[('image', image), ('image/compressed', [image, '/compressed']),
                    ('depth', depth), ('depth/compressedDepth', [depth, '/compressedDepth']),
                    ('camera_info', LaunchConfiguration('camera_info'))],
        # Raw images are lost without it; whoever has a profile of his own keeps it.
        additional_env={PROFILES: EnvironmentVariable(PROFILES, default_value=[
            FindPackageShare('pixelrefer'), '/config/fastdds_large_images.xml'])},
        # It answers what is pending and joins its workers before it ends.
        sigterm_timeout='20',
        arguments=['--ros-args', '--log-level', LaunchConfiguration('log_level')])]


def typed(name: str, text: str) -> ParameterValue | list[str]:
    """A launch argument as its parameter's type."""
    kind = bool if name == 'use_sim_time' else type(RULES[name].default)
    if kind is list:
        return [one.strip() for one in text.split(',')]
    return ParameterValue(LaunchConfiguration(name), value_type=kind)
