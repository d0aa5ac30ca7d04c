# SPDX-License-Identifier: Apache-2.0
"""Plays a bag into the node, and records what comes of it if a name for that is given:

    ros2 launch pixelrefer replay.launch.py bag:=/data/kitchen image:=/camera/image_raw record:=out

Every argument of pixelrefer.launch.py may be given as well. `pixelrefer replay` does the same
without launch, and finds the topics by their types.
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, OpaqueFunction,
    RegisterEventHandler, Shutdown)
from launch.event_handlers import OnProcessExit
from launch.substitutions import FindExecutable, IfElseSubstitution, LaunchConfiguration

#: Launch arguments: default (None: it has to be given) and description.
ARGUMENTS = {
    'bag': (None, 'Bag to play: a folder with metadata.yaml, or an .mcap or .db3 file.'),
    'rate': ('1.0', '2 plays twice as fast.'),
    'loop': ('false', 'true: again and again.'),
    'clock': ('false', 'true: the time of the bag on /clock, with use_sim_time in the node.'),
    'record': ('', 'Where to record what is played and what the node publishes: a folder to make, '
               'or a file that ends with .mcap. Empty: nothing is recorded.'),
    'keep': ('false', 'true: the node goes on when the bag is over.'),
}
PLAYER, RECORDER = '/replay', '/recorder'


def generate_launch_description() -> LaunchDescription:
    """pixelrefer.launch.py, a player and, where it is asked for, a recorder."""
    node = str(Path(__file__).with_name('pixelrefer.launch.py'))
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=value, description=description)
          for name, (value, description) in ARGUMENTS.items()),
        IncludeLaunchDescription(node, launch_arguments={'use_sim_time': IfElseSubstitution(
            LaunchConfiguration('clock'), 'true',
            LaunchConfiguration('use_sim_time', default=''))}.items()),
        OpaqueFunction(function=play),
    ])


def play(context: LaunchContext) -> list[ExecuteProcess | RegisterEventHandler]:
    """The player, which waits for those who listen, and the recorder."""
    given = context.launch_configurations
    on = {name: given[name].lower() in ('true', '1') for name in ('loop', 'clock', 'keep')}
    node = f'/{given["namespace"]}/pixelrefer'.replace('//', '/')
    recording = ['--wait-for-node', RECORDER] if given['record'] else []
    player = _python(
        'pixelrefer_ros.replay', given['bag'], '--rate', given['rate'],
        '--loop', '0' if on['loop'] else '1', *(['--clock'] if on['clock'] else []),
        '--without', node, '--wait-for-node', node, *recording)
    actions = [player]
    if recording:
        actions.append(_python('pixelrefer_ros.recording', given['record'],
                               '--of-node', node, '--of-node', PLAYER))
    if not on['keep']:
        actions.append(RegisterEventHandler(OnProcessExit(
            target_action=player, on_exit=[Shutdown(reason='the bag is over')])))
    return actions


def _python(module: str, *arguments: str) -> ExecuteProcess:
    """A module of this package, run by the Python that runs the node."""
    return ExecuteProcess(cmd=[FindExecutable(name='python3'), '-m', module, *arguments],
                          name=module.rpartition('.')[2], output='screen')
