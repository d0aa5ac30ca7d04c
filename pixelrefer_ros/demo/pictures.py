# SPDX-License-Identifier: Apache-2.0
"""Pictures of a run: a video with masks, ids and answers drawn in, and a contact sheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pixelrefer_ros.demo.robot import NS, Recording
from pixelrefer_ros.demo.script import Asked

#: One colour (RGB) for each object, in order; told apart by colour-blind people too.
COLOURS = ((0, 158, 255), (255, 140, 0), (220, 60, 200), (0, 190, 120))
RIGHT, WRONG = (60, 180, 90), (225, 70, 60)
PAPER, INK, FAINT = (250, 250, 248), (28, 30, 34), (120, 124, 132)
SCALE = 2
CAPTION_HEIGHT = 72
#: An answer stays in the video until the next one, but for these seconds.
LEAST_SHOWN_S, MOST_SHOWN_S = 0.5, 2.5
SHEET_COLUMNS, MOST_PANELS = 4, 8


@dataclass(frozen=True)
class Drawn:
    """What to draw: a recording, the ids in order, what was asked, and the first stamp."""

    recording: Recording
    ids: Sequence[str]
    asked: Sequence[Asked]
    start_ns: int


@dataclass(frozen=True)
class Caption:
    """What stands under a picture. right: a tick, a cross, or (None) neither."""

    title: str
    text: str
    right: bool | None

    @classmethod
    def of(cls, asked: Asked) -> 'Caption':
        """A question and its answer."""
        return cls(asked.question, asked.reply.text or '(no answer)', asked.verdict.right)


def overlay(drawn: Drawn, stamp_ns: int) -> Image.Image:
    """A frame, enlarged, with every published mask, its outline and its id drawn in."""
    recording = drawn.recording
    bgr = cv2.resize(recording.picture(stamp_ns), None, fx=SCALE, fy=SCALE,
                     interpolation=cv2.INTER_CUBIC)
    rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    tags = []
    for colour, name in zip(COLOURS, drawn.ids):
        mask = recording.mask(name, stamp_ns)
        if mask is None:
            continue
        large = cv2.resize(mask.astype(np.float32), (rgb.shape[1], rgb.shape[0]),
                           interpolation=cv2.INTER_LINEAR) > 0.5
        rgb[large] = (0.86 * rgb[large] + 0.14 * np.array(colour)).astype(np.uint8)
        outline, _ = cv2.findContours(
            large.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(rgb, outline, -1, colour, 2, cv2.LINE_AA)
        rows, columns = np.nonzero(large)
        if len(rows):
            tags.append((name, colour, columns.mean(), rows.min()))
    image = Image.fromarray(rgb)
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(15)
    for name, colour, x, y in tags:
        width = pen.textlength(name, font)
        left = min(max(x - width / 2, 6), image.width - width - 6)
        top = max(y - 24, 2)
        pen.rounded_rectangle((left - 5, top, left + width + 5, top + 20), 5, fill=colour)
        pen.text((left, top + 10), name, 'white', font, anchor='lm')
    absent = [(name, sighting.state.lower())
              for name, sighting in recording.objects.get(stamp_ns, {}).items()
              if recording.mask(name, stamp_ns) is None]
    for k, (name, state) in enumerate(absent):
        text = f'{name}: {state}'
        width = pen.textlength(text, font)
        pen.rounded_rectangle((8, 8 + 26 * k, 20 + width, 30 + 26 * k), 5, fill=INK)
        pen.text((14, 19 + 26 * k), text, COLOURS[list(drawn.ids).index(name) % len(COLOURS)],
                 font, anchor='lm')
    clock = f'{(stamp_ns - drawn.start_ns) / NS:.1f} s'
    pen.text((image.width - 10, image.height - 10), clock, 'white', font, anchor='rs',
             stroke_width=2, stroke_fill=INK)
    return image


def with_caption(image: Image.Image, caption: Caption | None) -> Image.Image:
    """The picture with its caption under it."""
    canvas = Image.new('RGB', (image.width, image.height + CAPTION_HEIGHT), PAPER)
    canvas.paste(image, (0, 0))
    if caption is None:
        return canvas
    pen = ImageDraw.Draw(canvas)
    colour = {True: RIGHT, False: WRONG, None: FAINT}[caption.right]
    top = image.height
    pen.rectangle((0, top, 5, canvas.height), fill=colour)
    pen.text((18, top + 10), fitted(pen, caption.title, ImageFont.load_default(14),
                                    canvas.width - 30), FAINT, ImageFont.load_default(14))
    font = ImageFont.load_default(18)
    lines = wrapped(pen, caption.text, font, canvas.width - 60)
    if len(lines) > 1:
        font = ImageFont.load_default(15)
        lines = wrapped(pen, caption.text, font, canvas.width - 60)[:2]
    step = 24 if len(lines) == 1 else 18
    left = 18
    if caption.right is not None:
        mark(pen, left, top + 33, caption.right)
        left = 42
    for k, line in enumerate(lines):
        pen.text((left, top + 42 + step * k), line, INK, font, anchor='lm')
    return canvas


def mark(pen: ImageDraw.ImageDraw, x: float, y: float, right: bool) -> None:
    """A tick or a cross in a square of 16 pixels; the fonts at hand have neither."""
    if right:
        pen.line([(x, y + 9), (x + 6, y + 15), (x + 16, y + 3)], RIGHT, 3, 'curve')
    else:
        pen.line([(x + 1, y + 3), (x + 14, y + 16)], WRONG, 3)
        pen.line([(x + 14, y + 3), (x + 1, y + 16)], WRONG, 3)


def wrapped(pen: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont,
            width: float) -> list[str]:
    """`text` broken at spaces into lines no wider than `width` pixels."""
    lines = ['']
    for word in text.split():
        longer = f'{lines[-1]} {word}'.strip()
        if pen.textlength(longer, font) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def fitted(pen: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont,
           width: float) -> str:
    """`text`, cut to `width` pixels."""
    while pen.textlength(text, font) > width and len(text) > 4:
        text = text[:-4].rstrip() + '...'
    return text


def captions(drawn: Drawn) -> dict[int, Caption]:
    """Which caption stands under which tracked frame: each answer from when it was given until
    the next, none for less than LEAST_SHOWN_S, none for more than MOST_SHOWN_S."""
    begins: list[int] = []
    for asked in drawn.asked:
        earliest = begins[-1] + int(LEAST_SHOWN_S * NS) if begins else 0
        begins.append(max(asked.at_ns, earliest))
    shown: dict[int, Caption] = {}
    for asked, begin, following in zip(drawn.asked, begins, [*begins[1:], 1 << 62]):
        end = min(following, begin + int(MOST_SHOWN_S * NS))
        shown.update({stamp: Caption.of(asked) for stamp in drawn.recording.tracked_ns
                      if begin <= stamp < end})
    return shown


def write_video(drawn: Drawn, folder: Path) -> Path:
    """Every tracked frame as a video of the run's own length; MP4, or Motion JPEG where OpenCV
    cannot write MP4."""
    shown = captions(drawn)
    stamps = drawn.recording.tracked_ns
    rate_hz = (len(stamps) - 1) * NS / (stamps[-1] - stamps[0]) if len(stamps) > 1 else 1.0
    writer, path = None, folder
    try:
        for stamp in drawn.recording.tracked_ns:
            if stamp not in drawn.recording.pictures:
                continue
            picture = np.asarray(with_caption(overlay(drawn, stamp), shown.get(stamp)))
            if writer is None:
                writer, path = _open_video(folder, rate_hz, (picture.shape[1], picture.shape[0]))
            writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    finally:
        if writer is not None:
            writer.release()
    return path


def _open_video(folder: Path, rate_hz: float,
                size: tuple[int, int]) -> tuple[cv2.VideoWriter, Path]:
    for name, codec in (('overlay.mp4', 'mp4v'), ('overlay.avi', 'MJPG')):
        path = folder / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), rate_hz, size)
        if writer.isOpened():
            return writer, path
    raise OSError(f'{folder}: this OpenCV can write neither MP4 nor Motion JPEG')


def write_sheet(drawn: Drawn, path: Path, title: str) -> Path:
    """A contact sheet: the moments at which something was asked, with question and answer."""
    # A frame that was tracked before the objects were selected shows none of them.
    tracked = [stamp for stamp in drawn.recording.tracked_ns
               if stamp in drawn.recording.pictures and drawn.recording.objects[stamp]]
    moments = sorted([*out_of_sight(drawn), *chosen(drawn)], key=lambda moment: moment[0])
    panels = [
        with_caption(overlay(drawn, min(tracked, key=lambda s: abs(s - stamp))), caption)
        for stamp, caption in moments]
    width, height = panels[0].size
    columns = min(SHEET_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    gap, top = 18, 84
    sheet = Image.new('RGB', (columns * (width + gap) + gap, top + rows * (height + gap)), 'white')
    pen = ImageDraw.Draw(sheet)
    pen.text((gap + 2, top / 2), title, INK, ImageFont.load_default(34), anchor='lm')
    for k, panel in enumerate(panels):
        at = gap + k % columns * (width + gap), top + k // columns * (height + gap)
        sheet.paste(panel, at)
        pen.rectangle((at[0] - 1, at[1] - 1, at[0] + width, at[1] + height), outline=(205, 207, 210))
    # Two thirds of the size: still legible, and kind to whoever downloads it.
    sheet = sheet.resize((sheet.width * 2 // 3, sheet.height * 2 // 3), Image.Resampling.LANCZOS)
    sheet.save(path, optimize=True)
    return path


def chosen(drawn: Drawn) -> list[tuple[int, Caption]]:
    """Answers with the newest frame that each rests on, evenly spread over the run, first and last
    included; as many as there is room for."""
    room = MOST_PANELS - len(out_of_sight(drawn))
    count = len(drawn.asked)
    picked = range(count) if count <= room else sorted(
        {round(k * (count - 1) / (room - 1)) for k in range(room)})
    return [(a.reply.stamps_ns[-1] if a.reply.stamps_ns else a.at_ns, Caption.of(a))
            for a in (drawn.asked[k] for k in picked)]


def out_of_sight(drawn: Drawn) -> list[tuple[int, Caption]]:
    """The middle of the longest time in which an object had no mask, or nothing."""
    longest: list[int] = []
    longest_name = ''
    for name in drawn.ids:
        run: list[int] = []
        for stamp in drawn.recording.tracked_ns:
            known = name in drawn.recording.objects[stamp]
            run = [*run, stamp] if known and drawn.recording.mask(name, stamp) is None else []
            if len(run) > len(longest):
                longest, longest_name = run, name
    if not longest:
        return []
    stamp = longest[len(longest) // 2]
    state = drawn.recording.objects[stamp][longest_name].state.lower()
    return [(stamp, Caption('what the tracker says', f'{longest_name} is {state}', None))]
