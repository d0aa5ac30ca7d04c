# SPDX-License-Identifier: Apache-2.0
"""The calls of PixelReferClient about what is remembered."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point

from pixelrefer.msg import RememberedObject
from pixelrefer.srv import FindObjects, Forget, MergeObjects, SplitObject
from pixelrefer_ros.client_requests import window_message


class MemoryCalls:
    """A part of PixelReferClient; each call has a twin that does not wait, and raises as the others
    do."""

    _call: Callable[..., Future]
    _wait: Callable[[Future], Any]

    def find(self, words: str = '', **where: Any) -> list[RememberedObject]:
        """Remembered objects, in view or not, the best match first; see `find_async`."""
        return self._wait(self.find_async(words, **where))

    def find_async(self, words: str = '', *, like: str = '',
                   window: float | tuple[Time, Time] | None = None,
                   near: tuple[str, Sequence[float], float] | None = None,
                   most: int = 0) -> Future:
        """What is left out does not restrict. words: what it looks like or is called; like: id of
        an object that it looks like; window: it was observed within; near: (tf frame, (x, y, z) in
        metres, radius in metres); most: hits, 0 for all."""
        request = FindObjects.Request(words=words, like_id=like, max_results=most,
                                      window=window_message(window))
        if near is not None:
            request.frame_id, request.radius = near[0], float(near[2])
            request.center = Point(**dict(zip('xyz', map(float, near[1]))))
        return self._call(FindObjects, 'find_objects', request, lambda reply: list(reply.objects))

    def merge(self, keep: str, merge: str) -> int:
        """Two ids are one object, which is `keep` from now on; gives how many observations changed
        hands."""
        return self._wait(self.merge_async(keep, merge))

    def merge_async(self, keep: str, merge: str) -> Future:
        return self._call(MergeObjects, 'merge_objects', MergeObjects.Request(
            keep=keep, merge=merge), lambda reply: reply.observations)

    def split(self, object_id: str, from_stamp: Time, new_id: str = '') -> str:
        """What was observed of an object since an image is of another object; gives its id."""
        return self._wait(self.split_async(object_id, from_stamp, new_id))

    def split_async(self, object_id: str, from_stamp: Time, new_id: str = '') -> Future:
        return self._call(SplitObject, 'split_object', SplitObject.Request(
            id=object_id, from_stamp=from_stamp, new_id=new_id), lambda reply: reply.split_id)

    def forget(self, *object_ids: str,
               window: float | tuple[Time, Time] | None = None) -> int:
        """Delete what is remembered of objects (of all where none is named), within a window or
        wholly; gives how many observations went. Tracking goes on."""
        return self._wait(self.forget_async(*object_ids, window=window))

    def forget_async(self, *object_ids: str,
                     window: float | tuple[Time, Time] | None = None) -> Future:
        return self._call(Forget, 'forget', Forget.Request(
            ids=list(object_ids), window=window_message(window)),
            lambda reply: reply.observations)
