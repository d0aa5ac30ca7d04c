# SPDX-License-Identifier: Apache-2.0
"""Pictures of the stages before are asked about as they were, with tokens that are made once."""

from random import Random

import pytest
import torch
from tenses_support import CONTRACT

from pixelrefer_model.engine import TINY
from pixelrefer_model.pixelrefer import PixelReferLite, RegionEncoder
from training.refer.questions import Asker
from training.refer.records import Record, make_record, write_shard
from training.refer.render import shard_path
from training.refer.texts import Questioner
from training.tenses.pictures import (
    LOOKS, PicturePool, main, picture_path, pictures_of, read_pictures, write_pictures)
from training.tenses.records import write_shard as write_long
from training.tenses.render import shard_path as long_path
from training.tenses.train import pools_of
from training.together import Together
from training.world import World


@pytest.fixture(scope='module')
def model() -> PixelReferLite:
    return PixelReferLite.from_checkpoint(TINY['refer'])


@pytest.fixture(scope='module')
def rendered() -> list[Record]:
    with World() as world:
        return [make_record(world, 11, 'train', False), make_record(world, 12, 'train', True)]


def test_the_tokens_are_those_that_inference_makes(model, rendered):
    picture = pictures_of(rendered[:1], model, CONTRACT, None)[0]
    view = rendered[0].views[0]
    masks = [view.seg() == i + 1 for _, i in picture.scene.regions]
    assert torch.allclose(picture.tokens, RegionEncoder(model).encode(view.image(), masks),
                          atol=1e-4)


def test_pictures_come_back_and_are_asked_about_as_before(model, rendered, tmp_path):
    made = pictures_of(rendered, model, CONTRACT, 3)
    assert len(made) == LOOKS * len(rendered)
    assert not torch.equal(made[0].tokens, made[1].tokens)
    write_pictures(picture_path(tmp_path, 0), made, 'key')
    back = read_pictures(picture_path(tmp_path, 0), 'key')
    for one, other in zip(made, back, strict=True):
        assert torch.equal(one.tokens.bfloat16().float(), other.tokens)
        asked = []
        for picture in (one, other):
            rng = Random(1)
            asked.append(Questioner(rng, Asker(rng, CONTRACT, 'train')).about(
                picture.scene, 0, singles=3, pairs=4, windows=2))
        assert asked[0] == asked[1] and asked[0]
    with pytest.raises(ValueError, match='was made with key, not with other'):
        read_pictures(picture_path(tmp_path, 0), 'other')


def test_a_pool_takes_up_files_that_come_later_and_draws_the_same_again(model, rendered, tmp_path):
    pool = PicturePool(tmp_path, 'key', 0)
    assert pool.draw(0, 2, 2) == []
    made = pictures_of(rendered, model, CONTRACT, 3)
    write_pictures(picture_path(tmp_path, 4), made, 'key')
    pool.refresh()
    pool.refresh()
    assert (len(pool.singles), len(pool.clips)) == (LOOKS, LOOKS)
    assert [len(one.scene.seconds) for one in pool.draw(5, 1, 1)] == [1, 4]
    again = PicturePool(tmp_path, 'key', 0).draw(5, 1, 1)
    for one, other in zip(pool.draw(5, 1, 1), again, strict=True):
        assert torch.equal(one.tokens, other.tokens)


def test_processes_that_learn_together_hold_each_a_part_of_what_is_remembered(
        model, rendered, records, tmp_path):
    made, held = pictures_of(rendered, model, CONTRACT, 3), []
    for number in range(2):
        write_pictures(picture_path(tmp_path, number), made, 'key')
        write_long(long_path(tmp_path, number), records, 'key')
        pools = [pools_of(Together(rank, 2), (tmp_path, 2, 'key', 0), (tmp_path, 'key', 0)).pools
                 for rank in range(2)]
        held.append([(len(long.records), len(seen.singles) + len(seen.clips))
                     for long, seen in pools])
    every = len(records), len(made)
    assert held == [[every, (0, 0)], [every, every]]


def test_of_many_shards_so_many_are_made_pictures_of_as_are_asked_for(
        rendered, tmp_path, monkeypatch):
    records, out = tmp_path / 'records', tmp_path / 'pictures'
    records.mkdir()
    for number in (0, 1, 5):
        write_shard(shard_path(records, number), rendered[:1])
    monkeypatch.setattr('sys.argv', ['pictures', '--records', str(records), '--out', str(out),
                                     '--shards', '2'])
    main()
    assert sorted(path.name for path in out.iterdir()) == ['seen-0000.pt', 'seen-0001.pt']
