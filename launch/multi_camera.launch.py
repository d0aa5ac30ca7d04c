# SPDX-License-Identifier: Apache-2.0
"""One node for several cameras, with one copy of the models:

    ros2 launch pixelrefer multi_camera.launch.py cameras:=front,rear image:='/{camera}/image_raw'

Every argument of pixelrefer.launch.py may be given as well.
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, OpaqueFunction)
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import SetRemap

PLACE = '{camera}'
#: Launch arguments: default and description. Of topics, the name of each camera takes PLACE.
ARGUMENTS = {
    'cameras': ('front,rear', 'Names of the cameras, with commas between them.'),
    'image': ('/{camera}/image_raw', 'Image topic of each camera; {camera} stands for its name; '
              'the compressed one is <image>/compressed.'),
    'depth': ('/{camera}/depth/image_raw', 'Topic of each camera\'s depth images, registered to '
              'the image; compressed ones are <depth>/compressedDepth.'),
    'camera_info': ('/{camera}/camera_info', 'Topic of each camera\'s calibration.'),
}


def generate_launch_description() -> LaunchDescription:
    """pixelrefer.launch.py with the topics of each camera remapped."""
    node = str(Path(__file__).with_name('pixelrefer.launch.py'))
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=value, description=description)
          for name, (value, description) in ARGUMENTS.items()),
        GroupAction([
            OpaqueFunction(function=remap),
            # The topics of one camera, which is not there.
            IncludeLaunchDescription(node, launch_arguments={
                'cameras': LaunchConfiguration('cameras'), 'image': 'image', 'depth': 'depth',
                'camera_info': 'camera_info'}.items()),
        ]),
    ])


def remap(context: LaunchContext) -> list[SetRemap]:
    """For each camera, from the node's names to the robot's."""
    given = {name: context.launch_configurations[name] for name in ARGUMENTS}
    cameras = [name.strip() for name in given['cameras'].split(',')]
    rules = []
    for camera in cameras:
        # Topics of a node's only camera do not carry its name.
        below = f'{camera}/' if len(cameras) > 1 else ''
        for name, compressed in (('image', '/compressed'), ('depth', '/compressedDepth'),
                                 ('camera_info', '')):
            if given[name].count(PLACE) == 0 and len(cameras) > 1:
                raise ValueError(f'{name} is {given[name]!r} for every camera; '
                                 f'a name with {PLACE} in it is allowed')
            topic = given[name].replace(PLACE, camera)
            rules.append((f'{below}{name}', topic))
            if compressed:
                rules.append((f'{below}{name}{compressed}', f'{topic}{compressed}'))
    return [SetRemap(src=source, dst=topic) for source, topic in rules]
