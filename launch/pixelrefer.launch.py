# SPDX-License-Identifier: Apache-2.0
"""Starts the node: `ros2 launch pixelrefer pixelrefer.launch.py image:=/camera/color/image_raw`.

Stop it with SIGINT: on SIGTERM, `ros2 launch` leaves its nodes behind.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import (
    EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution)
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PROFILES = 'FASTRTPS_DEFAULT_PROFILES_FILE'
#: Launch arguments: default and description.
ARGUMENTS = {
    'namespace': ('', 'Namespace of the node.'),
    'image': ('image', 'Image topic; the compressed one is <image>/compressed.'),
    'image_transport': ('raw', 'raw or compressed.'),
    'depth': ('depth', 'Topic of depth images registered to the image, if there are any.'),
    'camera_info': ('camera_info', 'Topic of the calibration, for depth.'),
    'tracker_model': ('tiny', 'SAM 2 checkpoint: tiny (packaged), a folder, a .pt file, or a name '
                      'that was downloaded.'),
    'refer_model': ('tiny', 'PixelRefer checkpoint: tiny (packaged), a folder, or a name that was '
                    'downloaded.'),
    'device': ('cpu', 'PyTorch device: cpu, cuda, cuda:0, ..., or auto.'),
    'dtype': ('float32', 'Type of the models\' numbers: float32, bfloat16 or float16.'),
    'autostart': ('true', 'Configure and activate without a lifecycle manager.'),
    'use_sim_time': ('false', 'Take time from /clock.'),
    'log_level': ('info', 'debug, info, warn or error.'),
}


def generate_launch_description() -> LaunchDescription:
    """The node with its parameter file; launch arguments come after it and win."""
    value = {name: LaunchConfiguration(name) for name in ARGUMENTS}
    params_file = LaunchConfiguration('params_file')
    text = {name: ParameterValue(value[name], value_type=str)
            for name in ('image_transport', 'tracker_model', 'refer_model', 'device', 'dtype')}
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
                        ('image/compressed', [value['image'], '/compressed']),
                        ('depth', value['depth']), ('camera_info', value['camera_info'])],
            # Raw images are lost without it; whoever has a profile of his own keeps it.
            additional_env={PROFILES: EnvironmentVariable(PROFILES, default_value=[
                FindPackageShare('pixelrefer'), '/config/fastdds_large_images.xml'])},
            arguments=['--ros-args', '--log-level', value['log_level']]),
    ])
