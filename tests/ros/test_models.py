# SPDX-License-Identifier: Apache-2.0
"""What is set as a parameter arrives at the models, and the parameter file names them all."""

from pathlib import Path

import pytest
import yaml

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.language import CudaGraphs, Greedy, Sample
from pixelrefer_ros import models
from pixelrefer_ros.parameters import RULES, Settings

DEFAULTS = {name: rule.default for name, rule in RULES.items()}


def test_the_parameter_file_says_the_defaults_of_all():
    file = Path(__file__).parents[2] / 'config' / 'pixelrefer.yaml'
    assert yaml.safe_load(file.read_text())['/**']['ros__parameters'] == DEFAULTS


def test_the_trackers_parameters_arrive():
    tracker = models.load(Settings(**DEFAULTS | {
        'tracker_input_size': 128, 'tracker_memory_frames': 3, 'tracker_memory_stride': 5,
        'tracker_compile': True})).tracker
    assert tracker.network.size == 128
    assert (tracker.memory.spatial, tracker.memory.stride) == (3, 5)
    assert tracker.compute.compile_encoder


def test_zero_means_what_the_checkpoint_says():
    tracker = models.load(Settings(**DEFAULTS)).tracker
    assert tracker.network.size == 288 and tracker.memory.spatial is None


def test_prompts_are_remembered_within_bounds_and_not_at_all_in_lockstep():
    def kept(**given) -> int:
        return models.load(Settings(**DEFAULTS | given)).language.prefixes.policy.most_bytes

    assert kept(prefix_cache_mib=3) == 3 * 2 ** 20
    assert kept(prefix_cache_mib=3, lockstep=True) == 0


def test_how_answers_are_chosen_and_stepped_arrives():
    engine = models.load(Settings(**DEFAULTS | {
        'temperature': 0.5, 'top_p': 0.8, 'sampling_seed': 7, 'cuda_graphs': True}))
    assert engine.settings.sampling == Sample(0.5, 0.8, seed=7)
    assert engine.settings.steps == CudaGraphs()
    assert models.load(Settings(**DEFAULTS)).settings.sampling == Greedy()


def test_an_attention_that_the_device_does_not_suit_is_refused_with_the_reason():
    with pytest.raises(PixelReferError, match='flash') as error:
        models.load(Settings(**DEFAULTS | {'attention': 'flash'}))
    assert error.value.code == 'UNSUPPORTED'
