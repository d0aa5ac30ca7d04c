# SPDX-License-Identifier: Apache-2.0
"""Chat text: a question and object tokens to the prompt that the model was trained on.

Training and inference build their prompts here, so that they cannot differ.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.language.tokenizer import IM_END, IM_START, IMAGE, REGION

#: Added tokens of Qwen2.5 and of PixelRefer: the same in every released checkpoint.
SPECIAL_TOKENS = (
    '<|endoftext|>', IM_START, IM_END, '<|object_ref_start|>', '<|object_ref_end|>',
    '<|box_start|>', '<|box_end|>', '<|quad_start|>', '<|quad_end|>', '<|vision_start|>',
    '<|vision_end|>', '<|vision_pad|>', '<|image_pad|>', '<|video_pad|>', '<tool_call>',
    '</tool_call>', '<|fim_prefix|>', '<|fim_middle|>', '<|fim_suffix|>', '<|fim_pad|>',
    '<|repo_name|>', '<|file_sep|>', IMAGE, '<|stream_start|>', '<|stream_end|>', REGION)
#: Where object tokens stand in a question that names objects.
Placing = Literal['where_named', 'in_front']
_NAME = re.compile(r'<object(?::([^<>]*)|(\d+))>')
#: Digits of a place that may be one; Python reads no number of thousands of them.
_MOST_DIGITS = 6


@dataclass(frozen=True)
class Evidence:
    """What a question knows of one object.

    tokens: [n, K, D], its object tokens at n moments, oldest first. seconds: time of each since
    the object's own first observation, or None for looks without a time, of which the last one
    shows the object as it is now.
    """

    object_id: str
    tokens: Tensor = field(repr=False)
    seconds: Sequence[float] | None = None


@dataclass(frozen=True)
class RenderedPrompt:
    """A prompt ready for the tokenizer.

    text: the whole chat string. tokens: [sum, D], one row for each `<REGION>` in it, in order.
    question: what the user wrote.
    """

    text: str
    tokens: Tensor = field(repr=False)
    question: str = ''


def compose(question: str, evidence: Sequence[Evidence], placing: Placing = 'where_named',
            facts: Sequence[str] = ()) -> RenderedPrompt:
    """Put the objects' tokens where the question names them and render the chat.

    `<object:ID>` or `<objectN>` (N from 1, place in `evidence`) names an object: its tokens stand
    at the first mention, later ones repeat the name `<objectN>`. A question that names none gets
    all of them in front; with placing 'in_front' every question does, so that questions about the
    same objects begin alike and share what is kept of their prompts. facts: sentences that name
    objects in the same way; they come after the question, where they change nothing of what is
    before.

    Raises PixelReferError: EMPTY_QUESTION, SPECIAL_TOKEN, UNKNOWN_OBJECT_REFERENCE,
    UNMENTIONED_ID, NO_OBSERVATION.
    """
    ids = [one.object_id for one in evidence]
    in_front = not mentions(question, ids) or placing == 'in_front'
    brackets = [bracket(one) for one in evidence]
    text = ' '.join([question.strip(), *facts])
    named = [_place(match, ids) for match in _NAME.finditer(text)]
    if in_front:
        order = list(range(len(evidence)))
        text = _introduction(brackets, bool(named)) + _with_names(text, named)
    else:
        order = list(dict.fromkeys(named))
        text = _fill(text, named, brackets)
    tokens = torch.cat([evidence[i].tokens.flatten(0, 1) for i in order])
    return RenderedPrompt(chat_text(text), tokens, question)


def mentions(question: str, object_ids: Sequence[str]) -> list[int]:
    """Which objects a question names, each time it does, as places in `object_ids`.

    All that can be wrong with a question before anything of its objects is looked at. Raises
    PixelReferError: EMPTY_QUESTION, SPECIAL_TOKEN, NO_OBSERVATION (no id at all),
    UNKNOWN_OBJECT_REFERENCE, UNMENTIONED_ID.
    """
    check_text(question)
    if not object_ids:
        raise PixelReferError('NO_OBSERVATION', 'the question is about no object; give the ids of '
                                                'one or more')
    named = [_place(match, object_ids) for match in _NAME.finditer(question)]
    missing = [one for place, one in enumerate(object_ids) if named and place not in named]
    if missing:
        raise PixelReferError('UNMENTIONED_ID', 'the question names some of its objects but not '
                              f'{", ".join(missing)}; name all of them or none')
    return named


def chat_text(text: str) -> str:
    """One user turn and the opening of the answer; there is no system prompt."""
    return f'{IM_START}user\n{text.strip()}{IM_END}\n{IM_START}assistant\n'


def fill_regions(text: str, brackets: Sequence[str]) -> str:
    """Replace each `<region>` of a published prompt, left to right. Raises ValueError if the
    numbers differ."""
    parts = text.split('<region>')
    if len(parts) != len(brackets) + 1:
        raise ValueError(f'{len(parts) - 1} <region> in the text for {len(brackets)} objects')
    return parts[0] + ''.join(b + part for b, part in zip(brackets, parts[1:], strict=True))


def bracket(evidence: Evidence) -> str:
    """Where an object's tokens go: `[...]`, with `Time t:` before each moment's if it has times.

    Raises PixelReferError NO_OBSERVATION if there is no moment, ValueError where some have no
    times.
    """
    moments, k = evidence.tokens.shape[:2]
    if not moments:
        raise PixelReferError(
            'NO_OBSERVATION', f'there is no observation of {evidence.object_id!r} to answer from')
    if evidence.seconds is None:
        return place_holders([None] * moments, k)
    if len(evidence.seconds) != moments:
        raise ValueError(f'{len(evidence.seconds)} times for {moments} moments')
    return place_holders(evidence.seconds, k)


def place_holders(seconds: Sequence[float | None], k: int) -> str:
    """The bracket of one object with `k` places per moment; None stands for no time."""
    return '[' + ','.join(('' if s is None else f'Time {round(float(s), 1)}:') + REGION * k
                          for s in seconds) + ']'


def check_text(question: str, special: Sequence[str] = SPECIAL_TOKENS) -> None:
    """Raises PixelReferError EMPTY_QUESTION or SPECIAL_TOKEN (naming the first one)."""
    if not question.strip():
        raise PixelReferError('EMPTY_QUESTION', 'the question is empty; text is needed')
    found = [(question.index(token), -len(token), token) for token in special if token in question]
    if found:
        raise PixelReferError('SPECIAL_TOKEN', f'the question contains {min(found)[2]}, which has '
                                               'a meaning of its own to the model; plain text '
                                               'and <object:ID> are allowed')


def _place(match: re.Match, ids: Sequence[str]) -> int:
    name, number = match.groups()
    if name is None and len(number) <= _MOST_DIGITS and 1 <= int(number) <= len(ids):
        return int(number) - 1
    if name in ids:
        return ids.index(name)
    raise PixelReferError('UNKNOWN_OBJECT_REFERENCE', f'{match.group()[:80]} is none of the '
                          f'objects asked about; <object:ID> of {", ".join(ids)} or <object1> to '
                          f'<object{len(ids)}> are allowed')


def _introduction(brackets: Sequence[str], by_name: bool) -> str:
    """The objects in front of a question. One alone has a name only where the question names it:
    models were trained on it without."""
    if len(brackets) == 1 and not by_name:
        return f'There is 1 object: {brackets[0]}. '
    named = ', '.join(f'<object{n}>{b}' for n, b in enumerate(brackets, start=1))
    count = 'There is 1 object' if len(brackets) == 1 else f'There are {len(brackets)} objects'
    return f'{count}: {named}. '


def _with_names(text: str, named: Sequence[int]) -> str:
    """Each mention becomes the name."""
    coming = iter(named)
    return _NAME.sub(lambda _: f'<object{next(coming) + 1}>', text)


def _fill(text: str, named: Sequence[int], brackets: Sequence[str]) -> str:
    """Each first mention becomes the tokens (with the name if it comes again), others the name."""
    seen: set[int] = set()
    coming = iter(named)

    def put(_: re.Match) -> str:
        index = next(coming)
        name = f'<object{index + 1}>'
        if index in seen:
            return name
        seen.add(index)
        return (name if named.count(index) > 1 else '') + brackets[index]

    return _NAME.sub(put, text)
