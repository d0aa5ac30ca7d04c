# SPDX-License-Identifier: Apache-2.0
"""Streamed text: never part of a character, nothing of a stop word."""

import itertools

import pytest

from pixelrefer_model.language.stream import TextStream


def shown(stream, *pieces):
    """What is shown after each piece, then at the end."""
    return [*(stream.feed(piece if isinstance(piece, bytes) else piece.encode())
              for piece in pieces), stream.end()]


def test_a_character_is_shown_when_its_last_byte_has_come():
    coffee = '\u2615'.encode()
    assert shown(TextStream(), b'a' + coffee[:1], coffee[1:2], coffee[2:] + b'b') == [
        'a', '', '\u2615b', '']


def test_half_a_character_at_the_end_is_shown_as_broken():
    assert shown(TextStream(), '\u2615'.encode()[:2]) == ['', '\ufffd']


def test_what_may_begin_a_stop_word_is_held_until_it_is_not():
    assert shown(TextStream(['###']), 'red #', '#', ' 2', '#') == ['red ', '', '## 2', '', '#']


def test_text_ends_before_a_stop_word_and_nothing_follows():
    stream = TextStream(['\nUser:', '.'])
    assert shown(stream, 'yes\nUs', 'er', ': no', 'more') == ['yes', '', '', '', '']
    assert stream.stopped


def test_the_first_of_several_stop_words_ends_the_text():
    stream = TextStream(['c', 'bc'])
    assert shown(stream, 'abcd') == ['a', ''] and stream.stopped


@pytest.mark.parametrize('word', ['aab', 'aa', '\u2615b'])
def test_however_text_is_cut_it_reads_the_same(word):
    text = 'xaa\u2615aabaaxb'
    data, expected = text.encode(), text.split(word)[0]
    for cuts in itertools.combinations(range(1, len(data)), 2):
        pieces = [data[a:b] for a, b in itertools.pairwise((0, *cuts, len(data)))]
        deltas = shown(TextStream([word]), *pieces)
        assert ''.join(deltas) == expected
        whole = [''.join(deltas[:n]) for n in range(1, len(deltas) + 1)]
        assert all(expected.startswith(part) for part in whole)


def test_an_empty_stop_word_is_refused():
    with pytest.raises(ValueError):
        TextStream(['a', ''])
