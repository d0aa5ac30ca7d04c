# SPDX-License-Identifier: Apache-2.0
"""The cameras that one node serves: their names, their topics, and objects that are named by them.

With one camera nothing carries its name. With several, topics of a camera are below its name
(`front/image`, `~/front/objects`), and so are objects: `mug` of the camera `front` is `front:mug`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pixelrefer_model.errors import PixelReferError

#: Cameras of one node.
MOST_CAMERAS = 16
#: A name is a part of topics and of ids.
_NAME = re.compile(r'[A-Za-z](_?[A-Za-z0-9]){0,31}')


def trouble_with_names(names: Iterable[str]) -> str:
    """What is wrong with the parameter `cameras`, in a sentence; empty: nothing."""
    names = list(names)
    if not 1 <= len(names) <= MOST_CAMERAS:
        return f'cameras names {len(names)} of them; 1 to {MOST_CAMERAS} are allowed'
    for name in names:
        if not _NAME.fullmatch(name):
            return (f'cameras has the name {name[:64]!r}; letters, digits and single underscores, '
                    'beginning with a letter, are allowed')
        if names.count(name) > 1:
            return f'cameras has the name {name!r} twice; each name is allowed once'
    return ''


@dataclass(frozen=True)
class Cameras:
    """names: at least one, each once."""

    names: tuple[str, ...]

    def topic(self, camera: str, name: str) -> str:
        """A topic of a camera, as `image`."""
        return name if len(self.names) == 1 else f'{camera}/{name}'

    def own_topic(self, camera: str, name: str) -> str:
        """A topic of the node's own about a camera, as `~/objects`."""
        return f'~/{self.topic(camera, name)}'

    def choose(self, wanted: str, object_ids: Iterable[str]) -> str:
        """The camera that a request means: the one it names, else the only one, else the one that
        all of its ids name. Raises PixelReferError UNKNOWN_CAMERA."""
        allowed = ', '.join(map(repr, self.names))
        if wanted:
            if wanted not in self.names:
                raise PixelReferError(
                    'UNKNOWN_CAMERA', f'no camera {wanted[:64]!r}; {allowed} are allowed'
                    if len(self.names) > 1 else f'no camera {wanted[:64]!r}; {allowed}, or an '
                    'empty name for it, is allowed')
            return wanted
        if len(self.names) == 1:
            return self.names[0]
        named = {self.of(object_id) for object_id in object_ids}
        if len(named) == 1 and (camera := named.pop()):
            return camera
        raise PixelReferError(
            'UNKNOWN_CAMERA', f'the request names no camera, and its ids not one and the same; '
            f'{allowed} are allowed')

    def object_id(self, camera: str, wanted: str) -> str:
        """The id of an object of a camera that is to be called `wanted`; empty stays empty.

        Raises PixelReferError BAD_ID where that names another camera.
        """
        if len(self.names) == 1 or not wanted:
            return wanted
        named = self.of(wanted)
        if named not in ('', camera):
            raise PixelReferError(
                'BAD_ID', f'id {wanted[:80]!r} names the camera {named!r}, and the request is about '
                f'{camera!r}; an id without a camera is allowed')
        return wanted if named else f'{camera}:{wanted}'

    def prefix(self, camera: str) -> str:
        """What the ids of its objects begin with."""
        return '' if len(self.names) == 1 else f'{camera}:'

    def of(self, object_id: str) -> str:
        """The camera that an id names, or nothing; the only one, where there is one."""
        if len(self.names) == 1:
            return self.names[0]
        name = object_id.partition(':')[0]
        return name if ':' in object_id and name in self.names else ''
