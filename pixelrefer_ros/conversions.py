# SPDX-License-Identifier: Apache-2.0
"""Every conversion between messages and arrays or values; no other file knows both."""

import math
from array import array
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Vector3
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from pixelrefer.msg import Answer, Box as BoxMessage
from pixelrefer.msg import (
    ErrorCode, PromptResult, RememberedObject, Rle, TimeWindow, TrackedObject)
from pixelrefer.msg import Prompt as PromptMessage
from pixelrefer.srv import Measure
from pixelrefer_model import rle
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import Frame
from pixelrefer_model.geometry import Measured
from pixelrefer_model.prompt import Box, Click, MaskPrompt, Prompt, Scribble, check_mask_size
from pixelrefer_ros import images
from pixelrefer_ros.objects import Entry, Position, Sight

NANOSECONDS = 1_000_000_000
#: End of a window that has none.
OPEN_END = 1 << 62


def error_number(code: str) -> int:
    """The constant of ErrorCode that a PixelReferError's `code` names."""
    return getattr(ErrorCode, code, ErrorCode.INTERNAL)


# --- time

def nanoseconds(stamp: Time | Duration) -> int:
    """A stamp or duration in nanoseconds."""
    return stamp.sec * NANOSECONDS + stamp.nanosec


def time_message(stamp_ns: int) -> Time:
    """A stamp of nanoseconds as a message."""
    sec, nanosec = divmod(stamp_ns, NANOSECONDS)
    return Time(sec=sec, nanosec=nanosec)


def duration_message(seconds: float) -> Duration:
    """A span of time."""
    whole = round(seconds * NANOSECONDS)
    return Duration(sec=whole // NANOSECONDS, nanosec=whole % NANOSECONDS)


def header_message(stamp_ns: int, frame_id: str) -> Header:
    """The header of a source image, made again from its frame."""
    return Header(stamp=time_message(stamp_ns), frame_id=frame_id)


def window_span(window: TimeWindow, newest_ns: int) -> tuple[int, int] | None:
    """First and last stamp of a window, in nanoseconds, or None for "now".

    newest_ns: stamp of the newest frame, from which `seconds` count back. A window without an end
    is open: what is observed until the question is answered counts. Raises PixelReferError
    BAD_WINDOW.
    """
    start, end = nanoseconds(window.start), nanoseconds(window.end)
    if not math.isfinite(window.seconds) or window.seconds < 0:
        raise PixelReferError(
            'BAD_WINDOW', f'a window of {window.seconds:g} s; 0 (now) or more is allowed')
    if window.seconds and (start or end):
        raise PixelReferError(
            'BAD_WINDOW', 'the window has both seconds and stamps; one of the two is allowed')
    if window.seconds:
        return newest_ns - round(min(window.seconds, 1e9) * NANOSECONDS), OPEN_END
    if not (start or end):
        return None
    end = end or OPEN_END
    if end < start:
        raise PixelReferError(
            'BAD_WINDOW', f'the window ends {(start - end) / 1e9:.3f} s before it begins; an end '
            'at or after the start is allowed')
    return start, end


# --- images

def frame_from_image(message: Image, camera: str) -> Frame:
    """A frame of an Image. Raises PixelReferError BAD_ENCODING or BAD_IMAGE."""
    pixels = images.decode_rows(
        message.data, width=message.width, height=message.height, encoding=message.encoding,
        step=message.step, is_bigendian=bool(message.is_bigendian))
    return Frame(pixels, nanoseconds(message.header.stamp), camera, message.header.frame_id)


def frame_from_compressed(message: CompressedImage, camera: str) -> Frame:
    """A frame of a CompressedImage. Raises PixelReferError BAD_ENCODING or BAD_IMAGE."""
    pixels = images.decode_compressed(message.data.tobytes(), message.format)
    return Frame(pixels, nanoseconds(message.header.stamp), camera, message.header.frame_id)


def label_image(header: Header, size: tuple[int, int], entries: list[Entry]) -> Image:
    """16UC1 [height, width]: each pixel the index of its object, 0 for none. Where masks overlap
    the smaller object is seen, as if it lay in front."""
    height, width = size
    message = Image(header=header, height=height, width=width, encoding='16UC1', is_bigendian=0,
                    step=2 * width)
    # The message's own array is grown and written to: one that is assigned would be copied.
    data = message.data
    data.append(0)
    data *= 2 * height * width
    labels = np.frombuffer(data, '<u2').reshape(height, width)
    seen = [entry for entry in entries if entry.sight.mask is not None]
    for entry in sorted(seen, key=lambda entry: -entry.sight.area):
        x, y, w, h = entry.sight.box
        part = np.s_[y:y + h, x:x + w]
        np.copyto(labels[part], entry.index, where=entry.sight.mask[part])
    return message


def jpeg_message(header: Header, image: np.ndarray, quality: int) -> CompressedImage:
    """uint8 RGB [H, W, 3] as a JPEG message."""
    message = CompressedImage(header=header, format='rgb8; jpeg compressed bgr8')
    message.data = array('B', images.encode_jpeg(image, quality))
    return message


# --- prompts

def prompt_from(message: PromptMessage, width: int, height: int) -> Prompt:
    """The prompt of a message, usable on a frame of `width` x `height` pixels.

    A mask is decoded only if it has that size: a short string may stand for a mask of any.
    Raises PixelReferError: NO_PROMPT, UNSUPPORTED (text), BAD_POINTS (also for kinds that cannot
    be combined), BAD_LABELS, BAD_BOX, NOT_FINITE, OUT_OF_IMAGE, MASK_SIZE, EMPTY_MASK.
    """
    prompt = _prompt(message, width, height)
    prompt.check(width, height)
    return prompt


def _prompt(message: PromptMessage, width: int, height: int) -> Prompt:
    if words_of(message):
        raise PixelReferError(
            'UNSUPPORTED', 'a text prompt needs a detector, which the parameter detector_model '
            'names (`tiny` for the small world); points, a box, a scribble or a mask are allowed')
    given = _forms(message)
    if not given:
        if len(message.labels):
            raise PixelReferError(
                'BAD_LABELS', f'{len(message.labels)} labels but no point; one label per point is '
                'allowed')
        raise PixelReferError(
            'NO_PROMPT', 'the prompt is empty; points, a box, a scribble or a mask are allowed')
    if len(given) > 1 and given != ['points', 'a box']:
        raise PixelReferError(
            'BAD_POINTS', f'{" and ".join(given)} in one prompt; points and a box '
            'together, or one of these alone, are allowed')
    if 'a mask' in given:
        mask = message.mask
        check_mask_size((mask.height, mask.width), width, height)
        return MaskPrompt(rle.decode(mask.counts, mask.height, mask.width))
    if message.scribble:
        return Scribble(_points(message.scribble))
    clicks = None
    if message.points:
        labels = np.array(message.labels, int)
        if not len(labels):
            labels = np.ones(len(message.points), int)
        clicks = Click(_points(message.points), labels)
    if not message.box:
        return clicks
    if len(message.box) > 1:
        raise PixelReferError(
            'BAD_BOX', f'{len(message.box)} boxes in one prompt; one is allowed')
    box = message.box[0]
    return Box(box.x, box.y, box.x + box.width, box.y + box.height, clicks)


def words_of(message: PromptMessage) -> str:
    """The text of a prompt, empty where it has none. Raises PixelReferError BAD_POINTS for one that
    has other forms as well."""
    if not message.text.strip():
        return ''
    if given := _forms(message):
        raise PixelReferError(
            'BAD_POINTS', f'a text and {" and ".join(given)} in one prompt; a text alone is '
            'allowed, or points, a box, a scribble or a mask')
    return message.text


def _forms(message: PromptMessage) -> list[str]:
    """What a prompt shows the object by, beside text."""
    has_mask = bool(message.mask.height or message.mask.width or message.mask.counts)
    return [name for name, there in (
        ('points', message.points), ('a box', message.box), ('a scribble', message.scribble),
        ('a mask', has_mask)) if there]


def _points(pixels: list) -> np.ndarray:
    return np.array([(pixel.x, pixel.y) for pixel in pixels], np.float64).reshape(-1, 2)


def rle_message(mask: np.ndarray) -> Rle:
    """A mask, bool [H, W], as COCO run lengths."""
    return Rle(height=mask.shape[0], width=mask.shape[1], counts=rle.encode(mask))


def mask_from(message: Rle) -> np.ndarray:
    """The mask, bool [H, W], of COCO run lengths. Raises PixelReferError MASK_SIZE."""
    return rle.decode(message.counts, message.height, message.width)


# --- tracks and answers

def sight_from(track) -> Sight:
    """What a track of the model says, in the terms of TrackedObject."""
    return Sight(
        state=getattr(TrackedObject, track.state.name), score=float(track.score),
        box=track.box, area=int(track.area), mask=track.mask, stamp_ns=track.stamp_ns,
        last_seen_ns=track.last_seen_ns)


def object_message(entry: Entry, model: str, *, with_mask: bool) -> TrackedObject:
    """One object as of the newest frame that was tracked."""
    sight = entry.sight
    message = TrackedObject(
        id=entry.object_id, index=entry.index, camera=entry.camera, state=sight.state,
        score=sight.score, area=sight.area, last_seen=time_message(sight.last_seen_ns),
        position_error=sight.position_error, model=model)
    if sight.position is not None:
        placed = sight.position.placed
        message.position_frame = sight.position.frame_id
        message.position = Point(**dict(zip('xyz', placed.position.tolist())))
        message.position_covariance = placed.covariance.reshape(-1)
        message.size = vector_message(placed.size)
    if sight.box is not None:
        x, y, width, height = (float(value) for value in sight.box)
        message.box = BoxMessage(x=x, y=y, width=width, height=height)
    if with_mask and sight.mask is not None:
        message.mask = rle_message(sight.mask)
    return message


def vector_message(values: np.ndarray) -> Vector3:
    """x, y and z."""
    return Vector3(**dict(zip('xyz', np.asarray(values, float).tolist())))


def vector_from(point: Point) -> list[float]:
    """x, y and z."""
    return [point.x, point.y, point.z]


def remembered_message(hit, *, state: int, earlier: bool, history: Sequence[str] = ()
                       ) -> RememberedObject:
    """A Hit of the memory. earlier: stamps went back since."""
    one, where = hit.object, hit.where
    message = RememberedObject(
        id=one.object_id, camera=one.camera, score=float(hit.score), state=state, text=hit.text,
        observations=one.observations, first_seen=time_message(one.first_ns),
        last_seen=time_message(one.last_ns), earlier=earlier, history=list(history))
    if where is None:
        message.position_error = 'where it was is not known: there was no depth, or no transform'
    else:
        message.position_frame = where.frame
        message.position = Point(**dict(zip('xyz', where.position.tolist())))
        message.position_covariance = where.covariance.reshape(-1)
    return message


def fill_measure(response: Measure.Response, first: Position, second: Position,
                 found: Measured) -> None:
    """How two objects lie to one another."""
    response.stamp, response.frame_id = time_message(first.stamp_ns), first.frame_id
    response.distance, response.distance_deviation = found.distance, found.deviation
    response.relations = list(found.relations)
    response.differences = [difference for difference, _ in found.relations.values()]
    response.difference_deviations = [deviation for _, deviation in found.relations.values()]
    response.first_size = vector_message(first.placed.size)
    response.second_size = vector_message(second.placed.size)
    response.first_size_deviation = vector_message(first.placed.size_deviation)
    response.second_size_deviation = vector_message(second.placed.size_deviation)


def prompt_result(object_id: str, error: PixelReferError | None, tracked: TrackedObject | None,
                  candidates: Sequence[tuple[Box, float]] = ()) -> PromptResult:
    """What became of one prompt. candidates: boxes with their scores."""
    message = PromptResult(
        id=object_id, candidate_scores=[float(score) for _, score in candidates], candidates=[
            BoxMessage(x=float(box.x0), y=float(box.y0), width=float(box.x1 - box.x0),
                       height=float(box.y1 - box.y0)) for box, _ in candidates])
    if error is not None:
        message.error_code, message.error_msg = error_number(error.code), error.message
    if tracked is not None:
        message.object = tracked
    return message


def answer_message(answer, *, question: str, frame_id: str, epoch: int, states: list[int],
                   latency: float, model: str) -> Answer:
    """An answer of the engine, with what only the node knows. latency: seconds."""
    stamps = answer.stamps_ns
    return Answer(
        header=header_message(stamps[-1] if stamps else 0, frame_id), epoch=epoch,
        question=question, text=answer.text, confidence=float(answer.confidence),
        abstained=answer.abstained, object_ids=list(answer.object_ids), object_states=states,
        stamps=[time_message(stamp) for stamp in stamps], left_out=answer.left_out,
        facts=' '.join(answer.facts), finish_reason=answer.reason, tokens=answer.tokens,
        latency=latency, model=model)


def failed_answer(error: PixelReferError, *, question: str, object_ids: list[str],
                  states: list[int], epoch: int, latency: float) -> Answer:
    """The answer that could not be given, and why."""
    return Answer(question=question, object_ids=object_ids, object_states=states, epoch=epoch,
                  latency=latency, error_code=error_number(error.code), error_msg=error.message)
