# SPDX-License-Identifier: Apache-2.0
"""What the device is made to do: one read per token, fixed steps, and what is left without
memory."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from language_support import CHECKPOINT, observed
from pixelrefer_model.device import is_out_of_memory
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.language import (
    CudaGraphs, KeepPrefixes, LanguageModel, Sample, collect, compose, decoding)
from pixelrefer_model.language.graphs import LEAST_ROOM
from pixelrefer_model.pixelrefer import PixelReferLite

#: What makes the host wait for a device, or lets it see a value of it.
READS = ('tolist', 'item', 'cpu', 'numpy', '__bool__', '__int__', '__float__', '__index__',
         '__array__', 'nonzero')
HIDDEN = ('aten::_local_scalar_dense', 'aten::nonzero', 'aten::masked_select', 'aten::equal',
          'aten::is_nonzero')


class Hidden(TorchDispatchMode):
    """Counts the operators that read a value on their own account."""

    def __init__(self, counts):
        super().__init__()
        self.counts = counts

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name().split('.')[0]
        if name in HIDDEN:
            self.counts[name] += 1
        return function(*args, **kwargs or {})


@pytest.fixture(scope='module')
def model():
    return PixelReferLite.from_checkpoint(CHECKPOINT)


@pytest.fixture(scope='module')
def prompts():
    return [compose('What is <object1>?', [observed('a', seed=5)]),
            compose('Which is taller?', [observed('a', seed=2), observed('b', seed=3)]),
            compose('What moved?', [observed('a', 3, [0, 0.5, 1], seed=4)])]


def reads(monkeypatch, language, prompts, count, **how):
    """Reads of a whole answer of `count` tokens, by name."""
    counts = Counter()
    with monkeypatch.context() as patch:
        for name in READS:
            method = getattr(torch.Tensor, name)

            def counted(self, *arguments, name=name, method=method, **named):
                counts[name] += 1
                return method(self, *arguments, **named)
            patch.setattr(torch.Tensor, name, counted)
        with Hidden(counts):
            events = list(language.generate(prompts, max_new_tokens=count, **how))
    assert len(events) == count * len(prompts)
    return counts


@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize('how', [{}, {'sampling': Sample(1.0, 0.9)}])
@pytest.mark.parametrize('steps', [None, CudaGraphs()])
def test_a_token_is_read_from_the_device_once_however_many_rows_there_are(
        monkeypatch, model, prompts, batch, how, steps):
    language = LanguageModel(model, generation={'repetition_penalty': 1.1},
                             **({} if steps is None else {'steps': steps}))
    language.ends = frozenset()
    few, many = (reads(monkeypatch, language, prompts[:batch], n, **how) for n in (4, 14))
    assert many - few == {'tolist': 10}


def test_a_device_that_works_by_itself_is_one_step_ahead_and_says_the_same(
        monkeypatch, model, prompts):
    behind = LanguageModel(model, generation={'repetition_penalty': 1.1})
    ahead = LanguageModel(model, generation={'repetition_penalty': 1.1})
    ahead.ahead = 1
    calls = []
    decode = decoding.decode
    monkeypatch.setattr(decoding, 'decode', lambda *a: (calls.append(1), decode(*a))[1])
    first = next(ahead.generate(prompts[:1], max_new_tokens=9))
    assert len(calls) == 1 and first.token_id is not None
    for count in (1, 2, 24):
        one, other = (collect(language.generate(prompts, max_new_tokens=count), 3)
                      for language in (behind, ahead))
        assert one == other


def test_ahead_too_rows_that_end_leave_and_a_cancel_shows_no_token_more(model, prompts):
    whole = collect(LanguageModel(model).generate(prompts, max_new_tokens=12), 3)
    early = whole[1].token_ids[4]
    one, other = (LanguageModel(model, generation={'eos_token_id': [early]}) for _ in range(2))
    other.ahead = 1
    assert collect(one.generate(prompts, max_new_tokens=12), 3) == collect(
        other.generate(prompts, max_new_tokens=12), 3)
    events = other.generate(prompts[:1], max_new_tokens=12, ended=lambda _: 'cancelled' if stop else '')
    stop = []
    next(events)
    stop.append(True)
    assert [e.reason for e in events] == ['cancelled']


def test_steps_of_fixed_shape_say_the_same_and_are_made_once_for_a_shape(model, prompts):
    eager, fixed = LanguageModel(model), LanguageModel(model, steps=CudaGraphs(most=2))
    early = collect(eager.generate(prompts, max_new_tokens=12), 3)[1].token_ids[4]
    for ends in ([], [early]):
        for one in (eager, fixed):
            one.ends = frozenset([*ends, one.tokenizer.end_id])
        for some in (prompts, prompts[:1], prompts):
            for one, other in zip(*(collect(language.generate(some, max_new_tokens=12), len(some))
                                    for language in (eager, fixed)), strict=True):
                assert one.token_ids == other.token_ids and one.reason == other.reason
    assert len(fixed._fixed) == 2 and fixed._fixed.of(3, 9).cache.room == LEAST_ROOM
    collect(fixed.generate(prompts[:2], max_new_tokens=2), 2)
    assert len(fixed._fixed) == 2


def test_two_answers_under_way_do_not_share_a_captured_step(model, prompts):
    alone = [collect(LanguageModel(model, steps=CudaGraphs()).generate(
        [prompt], max_new_tokens=8), 1)[0] for prompt in prompts[:2]]
    language = LanguageModel(model, steps=CudaGraphs())
    first = language.generate(prompts[:1], max_new_tokens=8)
    begun = [next(first), next(first)]
    assert collect(language.generate(prompts[1:2], max_new_tokens=8), 1)[0] == alone[1]
    assert collect([*begun, *first], 1)[0] == alone[0]
    assert not any(step.busy for step in language._fixed._held.values())


@pytest.mark.parametrize('said', [
    'MPS backend out of memory (MPS allocated: 1 GB)', 'CUDA error: out of memory',
    'CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`'])
def test_every_library_may_say_it_in_its_words(said):
    assert is_out_of_memory(RuntimeError(said))


def test_a_batch_without_memory_to_let_a_row_go_fails_by_its_code(monkeypatch, model, prompts):
    language = LanguageModel(model, prefixes=KeepPrefixes())

    def full(*_):
        raise torch.OutOfMemoryError('no memory')
    monkeypatch.setattr(decoding.Decoding, 'keep', full)
    with pytest.raises(PixelReferError) as error:
        collect(language.generate(prompts, max_new_tokens=[1, 9, 9]), 3)
    assert error.value.code == 'OUT_OF_MEMORY' and len(language.prefixes) == 0


def test_out_of_memory_is_told_from_other_errors():
    assert is_out_of_memory(torch.OutOfMemoryError('CUDA out of memory'))
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(error.value)
    assert not is_out_of_memory(RuntimeError('shape')) and not is_out_of_memory(ValueError())


@pytest.mark.parametrize('failing', ['prefill', 'decode'])
def test_without_memory_a_request_fails_by_its_code_and_the_next_smaller_one_is_answered(
        monkeypatch, model, prompts, failing):
    language = LanguageModel(model, prefixes=KeepPrefixes())
    expected = collect(language.generate(prompts[:1], max_new_tokens=6), 1)
    assert language.prefixes.bytes > 0
    real = getattr(decoding, failing)

    def short(model, work, *rest):
        if len(getattr(work, 'rows', work)) > 1:
            raise torch.OutOfMemoryError('no memory')
        return real(model, work, *rest)
    monkeypatch.setattr(decoding, failing, short)
    with pytest.raises(PixelReferError) as error:
        collect(language.generate(prompts, max_new_tokens=6), 3)
    assert error.value.code == 'OUT_OF_MEMORY' and error.value.__context__ is None
    assert language.prefixes.bytes == len(language.prefixes) == 0
    assert collect(language.generate(prompts[:1], max_new_tokens=6), 1) == expected


def test_another_fault_of_a_step_is_not_taken_for_want_of_memory(monkeypatch, model, prompts):
    def broken(*_):
        raise RuntimeError('a fault')
    monkeypatch.setattr(decoding, 'prefill', broken)
    with pytest.raises(RuntimeError, match='a fault'):
        list(LanguageModel(model).generate(prompts))
