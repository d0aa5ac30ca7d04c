# SPDX-License-Identifier: Apache-2.0
"""The tiny checkpoint's tokenizer: byte-level BPE with the released special tokens in their order.

Trained on the questions and answers of the small world and on plain English words that a person
may use in a question. Bytes are the fallback, so that every text has ids.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import tokenizers
import torch
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers

from pixelrefer_model.engine import CANNOT_TELL
from pixelrefer_model.language import TASKS, Evidence, Tokenizer, compose
from pixelrefer_model.language.chat import SPECIAL_TOKENS
from pixelrefer_model.language.tokenizer import IM_END, SPLIT
from training.refer import answers
from training.refer.facts import (
    CATEGORIES, COLOURS, COLUMNS, MOTIONS, PATTERNS, ROWS, SIZES, Fact)
from training.refer.paraphrases import OPENINGS, PATTERNS as PARAPHRASES, paraphrases
from training.refer.wording import PREFIXES, PUBLISHED, WORDINGS

#: Entries without the special ones; the 256 bytes are among them.
ENTRIES = 896
PLAIN_ENGLISH = (
    'about above after again all and another any are around at away back because been before '
    'behind below between both bring but by camera can centre change cloth could cup describe did '
    'do does down each edge else ever every far find first for from front give glass go hand hard '
    'has have he here high hold how if image in inside into it its just know last later less like '
    'look low made make many may me middle more most move moved much my near next no not now of '
    'off old on one only open or other our out outside over part people pick picture place please '
    'point put right room round same say scene second see seen shape she should show side since '
    'small so some something soon still take tell than that the their them then there these they '
    'thing think this time to together too top touch turn two under up upon us use very was way '
    'we were what when where which while who why will with without would yes yet you your')


def corpus() -> Iterator[str]:
    """Texts whose words should become single tokens, the frequent ones several times."""
    for kind in (*WORDINGS.values(), *PUBLISHED.values(), *PREFIXES.values()):
        for wording in kind:
            for name in 'abcd':
                wording = wording.replace('{' + name + '}', '[')
            yield from [wording.replace('{k}', 'red')] * 8
    for kind in PARAPHRASES:
        for group in paraphrases(kind):
            yield from [re.sub(r'\{[abk]\}', '[', wording) for wording in group]
            yield from [re.sub(r'\{[abk]\}', '[', wording[0].lower() + wording[1:])
                        for wording in group[:4]]
    yield from [*OPENINGS] * 4
    yield from [task.replace('<region>', '[') for task in TASKS.values()] * 8
    one = Evidence('a', torch.zeros(1, 1, 1))
    video = Evidence('b', torch.zeros(2, 1, 1), [0.0, 12.5])
    for question in ('?', '<object1><object1>', '<object2><object2><object1>'):
        yield from [compose(question, [one, video][:1 + ('2' in question)]).text] * 40
    yield from [compose('?', [one] * 2).text, compose('?', [video] * 3).text] * 40
    for category in CATEGORIES:
        facts = [Fact(category, colour, pattern, size, 0, x, y, (0, 0, 1), motion=motion)
                 for colour, pattern, size, motion, x, y in zip(
                     COLOURS, PATTERNS * 3, SIZES * 4, MOTIONS * 2, (.1, .5, .9) * 3,
                     (.1, .1, .1, .5, .5, .5, .9, .9), strict=False)]
        for fact in facts:
            yield answers.detailed(fact, facts, False)
            yield answers.sentence(fact, True)
            yield answers.phrase(fact)
        yield from [f'{category}. {category} {answers.plural(category)}'] * 8
    words = (*COLOURS, *PATTERNS, *SIZES, *ROWS, *COLUMNS)
    yield from [f'{word} {word}. {word.capitalize()}' for word in words for _ in range(8)]
    yield from [a for group in (answers.MOTION_ANSWERS, answers.SIDES, answers.DEPTHS)
                for a in group.values()] * 8
    yield from [' in the air.'] * 20
    yield from [CANNOT_TELL, answers.YES, answers.NO, '(A) (B) (C) (D)'] * 20
    yield from [f' {word}' for word in PLAIN_ENGLISH.split()]
    yield from [word.capitalize() for word in PLAIN_ENGLISH.split()]


def train_tokenizer(more: Iterable[str] = (), entries: int = ENTRIES) -> Tokenizer:
    """The tokenizer, the same every time. more: texts besides; entries: without the special ones.
    """
    backend = tokenizers.Tokenizer(models.BPE())
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior='isolated'),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    backend.decoder = decoders.ByteLevel()
    texts = [_without_special(text) for text in (*corpus(), *more)]
    backend.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=entries, min_frequency=1, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    backend.add_special_tokens([
        AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    return Tokenizer(backend)


def write_extra_files(folder: Path, tokenizer: Tokenizer) -> None:
    """vocab.json, merges.txt, added_tokens.json and special_tokens_map.json, as released."""
    model = json.loads(tokenizer.backend.to_str())['model']
    merges = [' '.join(pair) for pair in model['merges']]
    added = {token: number for number, token in sorted(tokenizer.added.items())}
    common = [t for t in SPECIAL_TOKENS if t != '<|endoftext|>']
    files = {
        'vocab.json': json.dumps(model['vocab'], ensure_ascii=False),
        'merges.txt': '\n'.join(['#version: 0.2', *merges]) + '\n',
        'added_tokens.json': json.dumps(added, indent=2) + '\n',
        'special_tokens_map.json': json.dumps({
            'additional_special_tokens': common, 'eos_token': IM_END,
            'pad_token': '<|endoftext|>'}, indent=2) + '\n'}
    for name, content in files.items():
        (folder / name).write_text(content, encoding='utf-8')


def _without_special(text: str) -> str:
    for token in SPECIAL_TOKENS:
        text = text.replace(token, '')
    return text
