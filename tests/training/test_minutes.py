# SPDX-License-Identifier: Apache-2.0
"""How long the packaged architectures take to train from nothing, as the commands are set."""

from training.refer.recipe import Recipe
from training.tenses.recipe import TenseRecipe
from training.tracker.train import MINUTES


def test_both_checkpoints_train_from_nothing_in_three_hours_of_two_cores():
    assert MINUTES + Recipe.minutes + TenseRecipe.minutes <= 180
