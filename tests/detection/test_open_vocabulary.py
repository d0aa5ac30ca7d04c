# SPDX-License-Identifier: Apache-2.0
"""Grounding DINO and OWLv2 of the real architectures: the boxes are those that transformers gives
of the same outputs, and a checkpoint that is not whole is named."""

import json
import shutil

import pytest
import torch
from detection_support import noise
from transformers import GroundingDinoImageProcessor, GroundingDinoProcessor, Owlv2ImageProcessor

from pixelrefer_model.detection import MatchPolicy, load_detector
from pixelrefer_model.detection.match import Match
from pixelrefer_model.detection.open_vocabulary import GroundingDino, Owlv2
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.prompt import Box

#: So that random weights find something: everything counts, and nothing is the same.
EVERYTHING = MatchPolicy(least=0.0, margin=1.0, floor=0.0)


@pytest.fixture(params=['grounding_dino', 'owlv2'])
def folder(request):
    return request.getfixturevalue(request.param)


def everything(folder, monkeypatch, **options):
    """A detector that gives every box it makes."""
    monkeypatch.setattr('pixelrefer_model.detection.open_vocabulary.SAME', 1.01)
    detector = load_detector(folder, **options)
    detector.policy = EVERYTHING
    return detector


def theirs(detector, image, words) -> list[Match]:
    """What transformers' own post-processing makes of the network's outputs."""
    inputs = detector._tokens(words)
    pixels = torch.from_numpy(detector._prepare.pixels(image))[None]
    with torch.inference_mode():
        out = detector.model(pixel_values=pixels, **inputs)
    sizes = [image.shape[:2]]
    if isinstance(detector, GroundingDino):
        processor = GroundingDinoProcessor(GroundingDinoImageProcessor(), detector._tokenizer)
        made = processor.post_process_grounded_object_detection(
            out, inputs['input_ids'], threshold=0.0, text_threshold=0.0, target_sizes=sizes)[0]
    else:
        made = Owlv2ImageProcessor().post_process_object_detection(out, 0.0, sizes)[0]
    height, width = image.shape[:2]
    found = []
    for score, (x0, y0, x1, y1) in zip(made['scores'].tolist(), made['boxes'].tolist()):
        box = Box(max(x0, 0), max(y0, 0), min(x1, width), min(y1, height))
        if box.x1 - box.x0 >= 1 and box.y1 - box.y0 >= 1:
            found.append(Match(box, score))
    return sorted(found, key=lambda one: -one.score)


@pytest.mark.parametrize('size', [(48, 100), (120, 60)])
def test_boxes_and_scores_are_those_of_transformers(folder, monkeypatch, size):
    detector, image = everything(folder, monkeypatch), noise(*size)
    own, wanted = detector.detect(image, 'The red mug'), theirs(detector, image, 'The red mug')
    assert len(own) == len(wanted) > 3
    for one, other in zip(own, wanted, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-6)
    key = lambda one: (one.box.x0, one.box.y0, one.box.x1, one.box.y1)  # noqa: E731
    for one, other in zip(sorted(map(key, own)), sorted(map(key, wanted)), strict=True):
        assert one == pytest.approx(other, abs=1e-3)


def test_the_kind_is_told_by_the_configuration(grounding_dino, owlv2):
    assert isinstance(load_detector(grounding_dino), GroundingDino)
    assert isinstance(load_detector(owlv2), Owlv2)
    assert load_detector(owlv2, least=0.5, margin=0.3).policy == MatchPolicy(
        0.5, 0.3, Owlv2.policy.floor)


def test_other_words_are_other_boxes(folder, monkeypatch):
    detector, image = everything(folder, monkeypatch), noise(48, 100)
    first, second = (detector.detect(image, words) for words in ('red mug', 'blue the'))
    assert [one.score for one in first] != [one.score for one in second]
    assert detector.detect(image, 'red mug') == first


def test_a_full_stop_within_the_words_makes_no_second_phrase(grounding_dino):
    detector = load_detector(grounding_dino)
    tokens = [detector._tokens(words)['input_ids'].tolist() for words in (
        'red mug', 'Red mug.', 'red. mug?')]
    assert tokens[0] == tokens[1] == tokens[2]
    assert tokens[0][0].count(detector._tokenizer.convert_tokens_to_ids('.')) == 1


def test_words_that_the_text_encoder_would_cut_off_are_refused(folder):
    with pytest.raises(PixelReferError) as caught:
        load_detector(folder).detect(noise(48, 64), 'red mug the ' * 8)
    assert caught.value.code == 'QUESTION_TOO_LONG' and '16 are allowed' in caught.value.message


def test_one_thing_is_found_once_and_what_scores_under_the_floor_is_none(folder):
    detector = load_detector(folder)
    detector.policy = MatchPolicy(least=0.3, margin=0.1, floor=0.3)
    assert all(one.score >= 0.3 for one in detector.detect(noise(48, 100), 'red mug'))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_runs(folder, monkeypatch, dtype):
    detector = everything(folder, monkeypatch, dtype=dtype)
    found = detector.detect(noise(48, 100), 'red mug')
    assert found and all(0 <= one.score <= 1 for one in found)


def refused(folder) -> str:
    with pytest.raises(PixelReferError) as caught:
        load_detector(folder)
    assert caught.value.code == 'CHECKPOINT'
    return caught.value.message


def test_what_is_no_detector_is_refused_with_the_file(tmp_path, folder):
    assert 'no folder' in refused(tmp_path / 'nowhere')
    assert str(tmp_path / 'config.json') in refused(tmp_path)
    (tmp_path / 'config.json').write_text('{"model_type": "bert"}')
    assert '"grounding-dino" or "owlv2"' in refused(tmp_path)
    (tmp_path / 'config.json').write_text('no json')
    assert 'is not JSON' in refused(tmp_path)


def test_a_checkpoint_that_lacks_something_is_refused(tmp_path, folder):
    copy = shutil.copytree(folder, tmp_path / 'copy')
    weights = copy / 'model.safetensors'
    whole = weights.read_bytes()
    weights.write_bytes(whole[:len(whole) // 2])
    assert str(copy) in refused(copy)
    weights.rename(copy / 'pytorch_model.bin')
    assert '.safetensors' in refused(copy)
    (copy / 'pytorch_model.bin').unlink()
    from safetensors.torch import load_file, save_file
    tensors = load_file(folder / 'model.safetensors')
    gone = next(name for name in sorted(tensors) if name.endswith('weight'))
    save_file({name: one for name, one in tensors.items() if name != gone}, weights,
              metadata={'format': 'pt'})
    assert gone in refused(copy)


def test_no_code_of_a_checkpoint_is_run(tmp_path, folder):
    copy = shutil.copytree(folder, tmp_path / 'copy')
    (copy / 'evil.py').write_text(f'open({str(tmp_path / "ran")!r}, "w")\nclass Evil: pass\n')
    config = json.loads((copy / 'config.json').read_text())
    config['auto_map'] = {name: 'evil.Evil' for name in (
        'AutoConfig', 'AutoModelForZeroShotObjectDetection')}
    (copy / 'config.json').write_text(json.dumps(config))
    load_detector(copy)
    assert not (tmp_path / 'ran').exists()
