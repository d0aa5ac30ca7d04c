# SPDX-License-Identifier: Apache-2.0
"""What a recorded case is compared in, stage by stage: images, grids, tokens, prompt, answers."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from benchmarks.recorded import Case
from pixelrefer_model.language.chat import (
    RenderedPrompt, chat_text, fill_regions, place_holders)
from pixelrefer_model.language.generate import LanguageModel, collect
from pixelrefer_model.language.images import VIDEO, fill_images, image_text, video_text
from pixelrefer_model.language.tokenizer import IMAGE, REGION
from pixelrefer_model.pixelrefer import (
    EncodePolicy, ImageInputs, PixelRefer, PixelReferModel, SeededPermutation)
from pixelrefer_model.pixelrefer.batch import RegionBatch
from pixelrefer_model.pixelrefer.processing_image import normalised
from pixelrefer_model.pixelrefer.processing_pixelrefer import RegionImages, RegionInputs

#: Worst error allowed per stage, in the order of the computation; 0 means exactly equal.
TOLERANCES = {
    'names': 0.0, 'crops': 0.0, 'grids': 0.0, 'whole': 0.0, 'pixels': 1e-6, 'init': 0.0,
    'feats': 1e-4, 'images': 1e-4, 'pooled': 1e-4, 'local': 1e-4, 'global': 1e-4, 'tokens': 1e-4,
    'prompt': 0.0, 'ids': 0.0, 'embeds': 1e-4, 'logits': 1e-3, 'greedy': 0.0, 'text': 0.0,
    'penalty': 0.0}
#: Repetition penalty of the answers recorded as output_ids_reppen_1p1.
PENALTY = 1.1
#: What is recorded of a region beside what is compared: it follows from the grids.
REMARKS = frozenset({'img_hw', 'crop_pil_resized', 'global_pil_resized', 'local_pil_resized',
                     'feat_interpolated', 'tokens', 'placeholders'})


@dataclass
class Report:
    """Worst error and number of comparisons of each stage of one case. unknown: recorded names
    that nothing here is called. skipped: names that were not recorded."""

    name: str
    errors: dict[str, float] = field(default_factory=dict)
    compared: dict[str, int] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    skipped: int = 0

    def add(self, stage: str, error: float) -> None:
        """Count one comparison. An error that is not a number is an infinite one."""
        error = float('inf') if error != error else float(error)
        self.errors[stage] = max(self.errors.get(stage, 0.0), error)
        self.compared[stage] = self.compared.get(stage, 0) + 1

    def equal(self, stage: str, ours: object, recorded: object) -> None:
        """Count a comparison that allows no difference."""
        self.add(stage, 0.0 if ours == recorded else float('inf'))

    def named(self, name: str, known: bool) -> None:
        """Count a recorded name; one that is not known is an infinite error."""
        self.equal('names', known, True)
        self.unknown += [] if known else [name]

    @property
    def failed(self) -> list[str]:
        """Stages over their tolerance; 'nothing compared' if there was none."""
        return [s for s, e in self.errors.items() if e > TOLERANCES[s]] or (
            [] if set(self.compared) - {'names'} else ['nothing compared'])


@dataclass(frozen=True)
class Prompted:
    """Tokens that go into the prompt of a case. objects: [n, D] per region. images: [S, D] per
    whole image, what is kept of it; sizes: how many there were before. Both empty in Lite."""

    objects: list[torch.Tensor]
    images: list[torch.Tensor] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class RecordedInit:
    """First centroids as a case recorded them, drawn from its seed where it did not."""

    indices_of: Sequence[torch.Tensor | None]
    seed: int

    def indices(self, counts: list[int], k: int) -> list[torch.Tensor]:
        drawn = SeededPermutation(self.seed).indices(counts, k)
        return [new if old is None else old
                for old, new in zip(self.indices_of, drawn, strict=True)]


def expected_names(images: RegionImages, model: PixelReferModel) -> Iterator[str]:
    """Names of the tensors that a case of this size may record."""
    for name in _encoded(images):
        yield from (f'{name}.feat', *((f'{name}.crop', f'{name}.mask_grid', f'{name}.tok_pool')
                                      if name[0] == 'r' else (f'{name}.image',)))
    yield from (('image_tokens',) if isinstance(model, PixelRefer) else
                ('tok_after_local', 'tok_after_global'))
    yield from ('tok_llm', 'input_ids', 'inputs_embeds', 'first_logits', 'output_ids',
                'output_ids_reppen_1p1')


def _encoded(images: RegionImages) -> list[str]:
    """Names of the encoded images, in the order of RegionInputs: crops, globals, locals."""
    return [f'{kind}{n}' for kind, made in (('r', images.crops), ('global', images.globals_),
                                            ('local', images.locals_)) for n in range(len(made))]


def compare_images(case: Case, images: RegionImages, inputs: RegionInputs, patch: int,
                   report: Report) -> None:
    """Crops and context images, before and after the pixel budget, and pixel values."""
    made = {f'r{i}.crop': c.image for i, c in enumerate(images.crops)}
    made |= {f'global{u}.image': g for u, g in enumerate(images.globals_)}
    made |= {f'local{u}.image': g for u, g in enumerate(images.locals_)}
    for index, name in enumerate(list(made)):
        fitted = unpatchify(inputs.patches[index], tuple(inputs.grids[index]), patch)
        made[f'{name}_pil'] = made[f'{name.removesuffix(".image")}_pil'] = fitted
    for name, image in made.items():
        recorded, expected = case.tensor(name), case.sha256(name)
        if recorded is not None:
            report.add('crops', _difference(image, recorded.numpy()))
        if expected is not None:
            report.equal('crops', _sha256(image), expected)
    for index, name in enumerate(_encoded(images)):
        values = normalised(torch.from_numpy(inputs.patches[index]), torch.float32)
        for called in (f'{name}.pixel_values', f'{name}.crop.pixel_values',
                       f'{name}.image.pixel_values'):
            pixels = case.tensor(called)
            if pixels is not None:
                report.add('pixels', _difference(values, pixels.float()))


def compare_grids(case: Case, images: RegionImages, inputs: RegionInputs, report: Report) -> None:
    """Boxes, mask grids, patch grids and numbers of selected cells of every region."""
    regions = case.meta.get('regions')
    if regions is not None:
        report.equal('grids', len(images.crops), len(regions))
    for i, (crop, region) in enumerate(zip(images.crops, regions or [], strict=False)):
        found = {'box_tlbr': list(crop.box), 'mask_grid': list(crop.mask_grid.shape),
                 'crop_grid': inputs.grids[i].tolist(), 'n_masked': len(inputs.cells[i])}
        if inputs.global_ is not None:
            found |= {'global_grid': inputs.grids[inputs.global_[i]].tolist(),
                      'local_grid': inputs.grids[inputs.local[i]].tolist(),
                      'global': images.global_of[i], 'local': images.local_of[i]}
        for key, value in region.items():
            report.named(f'regions[{i}].{key}', key in found or key in REMARKS)
            if key in found:
                report.equal('grids', found[key], value)
    for i, crop in enumerate(images.crops):
        grid = case.tensor(f'r{i}.mask_grid')
        if grid is not None:
            report.add('grids', _difference(crop.mask_grid, grid.numpy()))
        expected = case.sha256(f'r{i}.mask_grid')
        if expected is not None:
            report.equal('grids', _sha256(crop.mask_grid), expected)


def unpatchify(patches: np.ndarray, grid: tuple[int, int], patch: int) -> np.ndarray:
    """The image that `patchify` cut."""
    rows, columns = grid
    blocks = patches.reshape(rows, columns, 3, patch, patch).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(blocks.reshape(rows * patch, columns * patch, 3))


def first_centroids(case: Case, inputs: RegionInputs, policy: EncodePolicy,
                     report: Report) -> RecordedInit:
    """Compare what the seed draws with what was recorded; clustering goes on with the latter."""
    many = [i for i, cells in enumerate(inputs.cells) if len(cells) > inputs.k]
    drawn = policy.kmeans.indices([len(inputs.cells[i]) for i in many], inputs.k)
    recorded = [case.tensor(f'r{i}.kmeans_init') for i in many]
    for place, (i, new, old) in enumerate(zip(many, drawn, recorded, strict=True)):
        if old is None:
            continue
        possible = old.shape == new.shape and 0 <= int(old.min()) and \
            int(old.max()) < len(inputs.cells[i])
        same = case.meta.get('seed') is None or new.tolist() == old.tolist()
        report.equal('init', possible and same, True)
        recorded[place] = old if possible else None
    return RecordedInit(recorded, policy.kmeans.seed)


@torch.inference_mode()
def compare_tokens(case: Case, model: PixelReferModel, batch: RegionBatch, images: RegionImages,
                   sizes: list[int], report: Report) -> Prompted:
    """Features, then tokens after each step. Returns those for the prompt; sizes: tokens of each
    whole image before any is dropped."""
    features = model.features(batch)
    stages = model.model.region_encoder(features, batch)
    made = []
    for index, name in enumerate(_encoded(images)):
        start, (rows, columns) = int(batch.starts[index]), batch.grids[index]
        made.append(('feats', f'{name}.feat',
                     features[start:start + rows * columns].view(rows, columns, -1)))
    if isinstance(model, PixelRefer):
        whole, pictures = model.image_tokens(features, batch.pictures.rows), batch.pictures
        made += [('images', 'image_tokens', whole)]
        objects = [tokens[:n] for tokens, n in zip(stages.tokens, batch.counts, strict=True)]
        made += [('pooled', f'r{i}.tok_pool', pooled[:n])
                 for i, (pooled, n) in enumerate(zip(stages.pooled, batch.counts, strict=True))]
        made += [('tokens', 'tok_llm', torch.cat(objects))]
        prompted = Prompted(objects, list(whole[pictures.kept].split(pictures.counts)),
                            sizes)
    else:
        made += [('pooled', f'r{i}.tok_pool', pooled) for i, pooled in enumerate(stages.pooled)]
        made += [('local', 'tok_after_local', stages.after_local),
                 ('global', 'tok_after_global', stages.after_global),
                 ('tokens', 'tok_llm', stages.tokens)]
        prompted = Prompted(list(stages.tokens))
    for stage, name, ours in made:
        recorded = case.tensor(name)
        if recorded is not None:
            report.add(stage, _difference(ours, recorded))
    return prompted


def compare_whole(case: Case, whole: ImageInputs, report: Report) -> list[int]:
    """Grids and numbers of tokens of the whole images. Returns the tokens before any is dropped."""
    sizes = [len(kept) for kept in whole.kept]
    for name, ours in (('image_grids', whole.grids.tolist()), ('image_stride', whole.merge),
                       ('n_image_tokens', sum(sizes)),
                       ('n_image_tokens_kept', sum(whole.tokens))):
        if name in case.meta:
            report.equal('whole', ours, case.meta[name])
    for index, patches in enumerate(whole.patches):
        recorded = case.tensor(f'image{index}.pixel_values')
        if recorded is not None:
            report.add('pixels', _difference(normalised(torch.from_numpy(patches), torch.float32),
                                             recorded.float()))
    return sizes


def compare_language(case: Case, model: PixelReferModel, prompted: Prompted,
                     report: Report) -> None:
    """Prompt, ids, embeddings, first logits, greedy answers and the text of the first."""
    own = LanguageModel(model)
    penalised = LanguageModel(model, generation={
        **model.generation, 'repetition_penalty': PENALTY})
    whole = chat_text(_filled(case.meta, prompted, prompted.sizes))
    text = chat_text(_filled(case.meta, prompted, [len(image) for image in prompted.images]))
    prompt = RenderedPrompt(text, _in_order(text, prompted))
    if 'prompt' in case.meta:
        report.equal('prompt', _shortened(whole), case.meta['prompt'])
    counts = case.meta.get('mask_token_counts')
    if counts is not None:
        report.equal('prompt', [len(tokens) for tokens in prompted.objects], counts)
    ids, embeds, logits = map(case.tensor, ('input_ids', 'inputs_embeds', 'first_logits'))
    if ids is not None:
        report.equal('ids', own.tokenizer.encode(whole), ids.tolist())
    if embeds is not None:
        report.add('embeds', _difference(own.embed(prompt), embeds))
    if logits is not None:
        report.add('logits', _difference(own.prefill([prompt]).scores[0], logits))
    for stage, name, language in (('greedy', 'output_ids', own),
                                  ('penalty', 'output_ids_reppen_1p1', penalised)):
        expected = case.tensor(name)
        if expected is not None:
            answer = collect(language.generate(
                [prompt], max_new_tokens=max(len(expected), 1)), 1)[0]
            report.equal(stage, answer.token_ids, expected.tolist())
            if language is own and 'text' in case.meta:
                report.equal('text', answer.text, case.meta['text'])


def _filled(meta: dict, prompted: Prompted, sizes: Sequence[int]) -> str:
    """The question with its objects, and with whole images of so many tokens."""
    text = fill_regions(meta['question'], _brackets(meta, prompted))
    if not sizes:
        return text
    if meta.get('modality') == 'video':
        return fill_images(text, [video_text(sizes, meta['timestamps'])], VIDEO)
    return fill_images(text, [image_text(size) for size in sizes])


def _brackets(meta: dict, prompted: Prompted) -> list[str]:
    """The published bracket of each object: one per mask, or in Lite one per object of a video."""
    if meta.get('modality') != 'video' or prompted.images:
        return [place_holders([None], len(tokens)) for tokens in prompted.objects]
    return [place_holders([meta['timestamps'][t] for t in frames], len(prompted.objects[0]))
            for frames in meta['mask_ids_raw']]


def _in_order(text: str, prompted: Prompted) -> torch.Tensor:
    """Rows for the marked places of a prompt, [sum, D]."""
    coming = {REGION: iter(torch.cat(prompted.objects))}
    if prompted.images:
        coming[IMAGE] = iter(torch.cat(prompted.images))
    return torch.stack([next(coming[place]) for place in re.findall(f'{IMAGE}|{REGION}', text)])


def _shortened(text: str) -> str:
    """Runs of tokens as cases write them: `<REGION>*32`."""
    return re.sub(f'({IMAGE}|{REGION})\\1*',
                  lambda run: f'{run[1]}*{len(run[0]) // len(run[1])}', text)


def _difference(ours: np.ndarray | torch.Tensor, recorded: np.ndarray | torch.Tensor) -> float:
    """Largest absolute difference; infinite between different shapes."""
    ours, recorded = (torch.as_tensor(np.asarray(x.cpu() if isinstance(x, torch.Tensor) else x))
                      for x in (ours, recorded))
    if ours.shape != recorded.shape:
        return float('inf')
    return float((ours.double() - recorded.double()).abs().max()) if ours.numel() else 0.0


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()
