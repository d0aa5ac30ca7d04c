# SPDX-License-Identifier: Apache-2.0
"""Which topics of a bag are the node's inputs: found by their types and encodings, or named."""

from collections.abc import Sequence
from dataclasses import dataclass

from rclpy.serialization import deserialize_message
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import CompressedImage, Image

from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros import compressed_depth
from pixelrefer_ros.replay import ReplayError

DEPTH_ENCODINGS = ('16UC1', '32FC1')
COMPRESSED = '/compressed'
#: Ends the names of compressed depth, and stands in the format of its messages.
COMPRESSED_DEPTH = 'compressedDepth'


@dataclass(frozen=True)
class Inputs:
    """Topics of a bag by what they are to the node; '' where there is none.

    transport, depth_transport: raw or compressed, which of the two `image` and `depth` are.
    depth_trouble: why a topic of compressed depth is left out that could have been `depth`.
    """

    image: str
    transport: str
    depth: str
    depth_transport: str
    camera_info: str
    depth_trouble: str = ''

    @property
    def remappings(self) -> list[str]:
        """For the node, as FROM:=TO."""
        image = 'image' if self.transport == 'raw' else 'image/compressed'
        depth = 'depth' if self.depth_transport == 'raw' else 'depth/compressedDepth'
        pairs = ((image, self.image), (depth, self.depth), ('camera_info', self.camera_info))
        return [f'{name}:={topic}' for name, topic in pairs if topic]


def find_inputs(reader: Reader, image: str = '', depth: str = '', camera_info: str = '', *,
                without: str) -> Inputs:
    """The inputs in an open bag; those that are named are taken, the others found.

    A raw image is preferred to its own JPEG, and raw depth to its own compressed depth. Depth and
    calibration are left out where several could be meant, and depth that the node cannot decode;
    topics under the name `without` never are meant. Raises ReplayError, with the topics that there
    are, for a name that is not in the bag or cannot be what it is named for, and where no image
    topic or several could be meant.
    """
    connections = [connection for connection in reader.connections
                   if not connection.topic.startswith(f'{without}/')]
    kinds = {connection.topic: connection.msgtype for connection in connections}
    for name in filter(None, (image, depth, camera_info)):
        if name not in kinds:
            raise ReplayError(f'{reader.path}: there is no topic {name}; {_listed(kinds)}')
    raw, jpeg, depths, packed = _images(reader, connections)
    if not image:
        # image_transport publishes one camera several times over.
        apart = raw + [name for name in jpeg if name.removesuffix(COMPRESSED) not in raw]
        if len(apart) != 1:
            raise ReplayError(
                f'{reader.path}: {"no" if not apart else len(apart)} topics could be the image; '
                f'--image names the one that is meant; {_listed(kinds)}')
        image = apart[0]
    if 'Image' not in kinds[image].rpartition('/')[2]:
        raise ReplayError(f'{reader.path}: {image} is no image but {kinds[image]}; '
                          f'{", ".join(raw + jpeg) or "none"} could be')
    depth, trouble = _depth(depth, depths, packed, kinds)
    infos = [name for name, kind in kinds.items() if kind == 'sensor_msgs/msg/CameraInfo']
    return Inputs(
        image=image,
        transport='compressed' if kinds[image].endswith('CompressedImage') else 'raw',
        depth=depth, depth_transport='compressed' if depth in packed else 'raw',
        camera_info=camera_info or _calibration(image, infos), depth_trouble=trouble)


def _depth(named: str, raw: Sequence[str], packed: dict[str, str], kinds: dict[str, str]
           ) -> tuple[str, str]:
    """The depth that is named, else the only one, or ''; and why compressed depth is left out.
    packed: topics of compressed depth, and what the node would refuse of each."""
    if named:
        if packed.get(named):
            raise ReplayError(f'{named}: {packed[named]}')
        if named not in packed and kinds[named] != 'sensor_msgs/msg/Image':
            raise ReplayError(f'{named} is no depth but {kinds[named]}; '
                              f'{", ".join([*raw, *packed]) or "none"} could be')
        return named, ''
    # image_transport publishes one camera several times over.
    apart = {name: said for name, said in packed.items()
             if name.removesuffix(f'/{COMPRESSED_DEPTH}') not in raw}
    found = [*raw, *(name for name, said in apart.items() if not said)]
    trouble = '; '.join(f'{name}: {said}' for name, said in apart.items() if said)
    return found[0] if len(found) == 1 else '', trouble


def _calibration(image: str, infos: Sequence[str]) -> str:
    """The only one, or the one beside the image: /camera/camera_info for /camera/image_raw."""
    base = image.removesuffix(COMPRESSED).rpartition('/')[0]
    beside = [name for name in infos if name.rpartition('/')[0] == base]
    found = infos if len(infos) == 1 else beside
    return found[0] if len(found) == 1 else ''


def _images(reader: Reader, connections: Sequence[Connection]
            ) -> tuple[list[str], list[str], list[str], dict[str, str]]:
    """Topics of raw colour images, of compressed colour images, of raw depth, and of compressed
    depth with what the node would refuse of its first message."""
    raw, jpeg, depths, packed = [], [], [], {}
    for connection in connections:
        kind = connection.msgtype
        if kind == 'sensor_msgs/msg/Image':
            first = _first(reader, connection, Image)
            if first is not None:
                (depths if first.encoding in DEPTH_ENCODINGS else raw).append(connection.topic)
        elif kind == 'sensor_msgs/msg/CompressedImage':
            first = _first(reader, connection, CompressedImage)
            if first is not None and COMPRESSED_DEPTH in first.format:
                packed[connection.topic] = _refused(first)
            elif first is not None and not first.format.startswith(DEPTH_ENCODINGS):
                jpeg.append(connection.topic)
    return raw, jpeg, depths, packed


def _refused(message: CompressedImage) -> str:
    """Why the node cannot decode compressed depth; empty where it can."""
    try:
        compressed_depth.decode(message.data.tobytes(), message.format)
    except PixelReferError as error:
        return error.message
    return ''


def _first(reader: Reader, connection: Connection, cls: type) -> object | None:
    """The first message of a topic, or None of an empty one."""
    for _, _, data in reader.messages([connection]):
        return deserialize_message(bytes(data), cls)
    return None


def _listed(kinds: dict[str, str]) -> str:
    return 'the bag has ' + (', '.join(
        f'{topic} ({kind})' for topic, kind in sorted(kinds.items())) or 'no topics')
