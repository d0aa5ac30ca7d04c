# SPDX-License-Identifier: Apache-2.0
"""How long what is packaged takes to train from nothing, as the commands are set."""

from pixelrefer_model.engine import TINY
from pixelrefer_model.pixelrefer import PixelReferConfig
from training.refer.recipe import Recipe
from training.refer.sizes import TOWERS, tiny_config
from training.refer.tokenizer import train_tokenizer
from training.tenses.recipe import TenseRecipe
from training.tracker.train import MINUTES

#: What the three take by the clock besides: the first scenes, and the points of their curves.
BESIDE = 12


def test_both_checkpoints_train_from_nothing_in_three_hours_of_two_cores():
    assert MINUTES + Recipe.minutes + TenseRecipe.minutes + BESIDE <= 180


def test_what_begins_from_nothing_on_cpus_has_the_sizes_of_what_is_packaged():
    made = tiny_config(train_tokenizer(), TOWERS['cpu'])
    packaged = PixelReferConfig.from_folder(TINY['refer'])
    assert made.vision == packaged.vision
    for name in ('mask_num', 'global_image_size', 'local_image_size', 'crop_patches'):
        assert getattr(made, name) == getattr(packaged, name), name
    assert made.language.hidden_size == packaged.language.hidden_size
