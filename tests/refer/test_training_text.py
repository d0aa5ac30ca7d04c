# SPDX-License-Identifier: Apache-2.0
"""Training reads what inference reads: the same text, the same object tokens at the same places."""

from random import Random

import pytest
import torch

from pixelrefer_model.language import Evidence, LanguageModel, compose
from pixelrefer_model.language.generate import collect
from pixelrefer_model.pixelrefer import EncodePolicy, PixelReferLite
from training.refer import answers
from training.refer.questions import Asker, Item
from training.refer.records import make_record
from training.refer.scenes import make_scene
from training.refer.sizes import tiny_config
from training.refer.texts import Asked, Questioner, sequences, word_end
from training.refer.tokenizer import train_tokenizer
from training.refer.trainer import Recipe, Trainer
from training.world import Contract, World

K = 16
ASKED = [
    Asked(Item('category', 'What is <object1>?', (0,), 'mug'), [[2]], None),
    Asked(Item('same_colour', 'Are they the same colour?', (0, 1), 'Yes.'), [[1], [0]], None),
    Asked(Item('relation', 'Is <object2> left of <object1>, or <object1>?', (0, 1),
               'To the left.'), [[1], [3]], None),
    Asked(Item('category', 'What is <object1>?', (0,), 'can'), [[3, 1]], None),
    Asked(Item('motion', 'Did <object1> move?', (0,), 'Still, it does not move.'), [[0, 3, 1]],
          [[12.5, 13.25, 14.0]])]


def test_a_training_sequence_is_the_prompt_of_inference_and_its_answer():
    torch.manual_seed(0)
    tokenizer = train_tokenizer()
    model = PixelReferLite.from_config(tiny_config(tokenizer)).eval()
    model.tokenizer, model.generation = tokenizer, {}
    trainer = Trainer(model, tokenizer, Recipe(), Contract.load())
    language = LanguageModel(model, tokenizer, {})
    tokens = torch.randn(4, K, model.config.language.hidden_size)
    for one in ASKED:
        batch, = sequences([one], K, tokenizer, buckets=1)
        prompt = compose(one.item.text, [
            Evidence(str(n), tokens[rows], None if one.seconds is None else one.seconds[n])
            for n, rows in enumerate(one.regions)])
        head = tokenizer.encode(prompt.text)
        answer = [*tokenizer.encode(one.item.answer), tokenizer.end_id]
        assert batch.ids[0].tolist() == head + answer
        assert torch.equal(tokens.flatten(0, 1)[batch.rows], prompt.tokens)
        assert batch.truth.tolist() == answer
        with torch.no_grad():
            scores = trainer.answer_scores(trainer.states(tokens, batch)[0], batch)
        said = collect(language.generate([prompt], max_new_tokens=1), 1)[0]
        assert said.token_ids == [int(scores[0].argmax())]


def test_a_picture_out_of_a_clip_is_asked_about_with_an_earlier_look_and_the_facts_of_the_last():
    with World() as world:
        record = make_record(world, 12, 'train', True)
    config, contract = tiny_config(train_tokenizer()), Contract.load()
    scene = make_scene(record, config, EncodePolicy.robot(), contract, most=3, rng=None)
    questioner = Questioner(Random(0), Asker(Random(0), contract, 'train'))
    looks = [one for _ in range(60) for one in questioner.about(scene, 0, singles=2, pairs=4,
                                                                windows=1) if not one.seconds]
    both = [one for one in looks if len(one.regions[0]) == 2]
    assert len(looks) / 3 < len(both) < len(looks)
    for one in both:
        for rows in one.regions:
            (first, thing), (last, same) = (scene.regions[row] for row in rows)
            assert first < last and thing == same
    where = [one for one in both if one.item.kind == 'position']
    assert where and all(one.item.answer == f'{answers.where(fact).capitalize()}.' for one in where
                         for view, thing in [scene.regions[one.regions[0][1]]]
                         for fact in [scene.facts[view][thing]])


def test_a_probed_word_is_found_at_its_last_token_in_its_own_sequence():
    tokenizer = train_tokenizer()
    asked = [
        ASKED[0], Asked(Item('choice', 'Which is it: mug or can? (A) can (B) mug.', (0,), '(B)',
                             (('can', 0), ('mug', 1))), [[0]], None),
        Asked(Item('count', 'How many boxes are there?', (0, 1), '2', (('boxes', 2),)),
              [[0], [1]], None)]
    batch, = sequences(asked, K, tokenizer, buckets=1)
    ids = batch.ids.flatten()
    found = [(tokenizer.decode([int(ids[at])]), number)
             for at, number in zip(batch.probes.tolist(), batch.matches.tolist(), strict=True)]
    assert sorted(found) == [(' boxes', 2), (' can', 0), (' mug', 1)]
    letters = {word: tokenizer.decode(ids[at - 2:at].tolist())
               for (word, _), at in zip(found, batch.probes.tolist(), strict=True)}
    assert 'B' in letters[' mug'] and 'A' in letters[' can']
    with pytest.raises(ValueError):
        word_end([1, 2, 3], [3, 4])


def test_padding_changes_no_score():
    torch.manual_seed(1)
    tokenizer = train_tokenizer()
    model = PixelReferLite.from_config(tiny_config(tokenizer)).eval()
    trainer = Trainer(model, tokenizer, Recipe(), Contract.load())
    tokens = torch.randn(4, K, model.config.language.hidden_size)
    with torch.no_grad():
        together, = sequences(ASKED, K, tokenizer, buckets=1)
        scores = trainer.answer_scores(trainer.states(tokens, together)[0], together)
        alone = []
        for one in sorted(ASKED, key=lambda a: len(a.regions[0]) * 100 + len(a.regions)):
            batch, = sequences([one], K, tokenizer, buckets=1)
            alone.append(trainer.answer_scores(trainer.states(tokens, batch)[0], batch))
    lengths = [len(a) for a in alone]
    assert len(scores) == sum(lengths)
    both = sorted(map(tuple, scores.sum(1, keepdim=True).round(decimals=2).tolist()))
    apart = sorted(map(tuple, torch.cat(alone).sum(1, keepdim=True).round(decimals=2).tolist()))
    assert torch.allclose(torch.tensor(both), torch.tensor(apart), atol=0.02)


def test_questions_are_drawn_the_same_from_the_same_seed():
    from training.refer.questions import Asker
    drawn = [[Asker(Random(3), Contract.load()).text('category', 1) for _ in range(5)]
             for _ in range(2)]
    assert drawn[0] == drawn[1]
