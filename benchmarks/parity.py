# SPDX-License-Identifier: Apache-2.0
"""Compare PixelRefer-Lite with recorded cases, stage by stage.

    ./run python benchmarks/parity.py --cases DIR --checkpoint DIR

A case is NAME.json (question, modality, mask_ids, seed, regions, sha256, ...) and
NAME.safetensors (in.images, in.masks and any of the recorded results). What a case did not record
is skipped and counted; a case that leaves nothing to compare fails, and so does one that recorded
what nothing here is called. Exit status: 0 all within tolerance, 1 something over it, 2 unreadable
input (cases that can be read are compared all the same).
"""

import argparse
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

if __package__ in (None, ''):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from benchmarks.recorded import Case, Unreadable
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.language.chat import (
    RenderedPrompt, chat_text, fill_regions, place_holders)
from pixelrefer_model.language.generate import LanguageModel, collect
from pixelrefer_model.pixelrefer import EncodePolicy, PixelReferLite, SeededPermutation, collate
from pixelrefer_model.pixelrefer.batch import RegionBatch
from pixelrefer_model.pixelrefer.processing_pixelrefer import (
    RegionImages, RegionInputs, pack_regions, region_images)

#: Worst error allowed per stage, in the order of the computation; 0 means exactly equal.
TOLERANCES = {
    'names': 0.0, 'crops': 0.0, 'grids': 0.0, 'pixels': 1e-6, 'init': 0.0, 'feats': 1e-4,
    'pooled': 1e-4, 'local': 1e-4, 'global': 1e-4, 'tokens': 1e-4, 'prompt': 0.0, 'ids': 0.0,
    'embeds': 1e-4, 'logits': 1e-3, 'greedy': 0.0, 'text': 0.0, 'penalty': 0.0}
#: Repetition penalty of the answers recorded as output_ids_reppen_1p1.
PENALTY = 1.1
#: What is recorded of a region beside what is compared: it follows from the grids.
REMARKS = frozenset({'img_hw', 'crop_pil_resized', 'global_pil_resized', 'local_pil_resized',
                     'feat_interpolated'})


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
class RecordedInit:
    """First centroids as a case recorded them, drawn from its seed where it did not."""

    indices_of: Sequence[torch.Tensor | None]
    seed: int

    def indices(self, counts: list[int], k: int) -> list[torch.Tensor]:
        drawn = SeededPermutation(self.seed).indices(counts, k)
        return [new if old is None else old
                for old, new in zip(self.indices_of, drawn, strict=True)]


def compare_case(case: Case, model: PixelReferLite) -> Report:
    """Run a case with published behaviour and compare all that it recorded."""
    report, config = Report(case.name), model.config
    policy = EncodePolicy.published(int(case.meta.get('seed') or 0))
    masks = [mask.numpy() for mask in case.tensors['in.masks']]
    images = region_images(list(case.tensors['in.images'].numpy()), masks,
                           case.meta['mask_ids'], config, policy)
    inputs = pack_regions(images, config, policy)
    compare_images(case, images, inputs, config.patch_size, report)
    compare_grids(case, images, inputs, report)
    batch = collate([inputs], _first_centroids(case, inputs, policy, report))
    tokens = compare_tokens(case, model, batch, images, report)
    compare_language(case, model, tokens, report)
    for name in sorted(case.results):
        report.named(name, name in case.asked)
    report.skipped = len(set(_stages(images)) - set(case.tensors))
    return report


def _stages(images: RegionImages) -> Iterator[str]:
    """Names of the tensors that a case of this size may record."""
    for name in _encoded(images):
        yield from (f'{name}.feat', *((f'{name}.crop', f'{name}.mask_grid', f'{name}.tok_pool')
                                      if name[0] == 'r' else (f'{name}.image',)))
    yield from ('tok_after_local', 'tok_after_global', 'tok_llm', 'input_ids', 'inputs_embeds',
                'first_logits', 'output_ids', 'output_ids_reppen_1p1')


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
            report.equal('crops', hashlib.sha256(np.ascontiguousarray(image)).hexdigest(),
                         expected)
    for index, name in enumerate(_encoded(images)):
        values = (torch.from_numpy(inputs.patches[index]).float() / 255 - 0.5) / 0.5
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
                 'crop_grid': inputs.grids[i].tolist(),
                 'global_grid': inputs.grids[inputs.global_[i]].tolist(),
                 'local_grid': inputs.grids[inputs.local[i]].tolist(),
                 'n_masked': len(inputs.cells[i]), 'global': images.global_of[i],
                 'local': images.local_of[i]}
        for key, value in region.items():
            report.named(f'regions[{i}].{key}', key in found or key in REMARKS)
            if key in found:
                report.equal('grids', found[key], value)
    for i, crop in enumerate(images.crops):
        grid = case.tensor(f'r{i}.mask_grid')
        if grid is not None:
            report.add('grids', _difference(crop.mask_grid, grid.numpy()))


def unpatchify(patches: np.ndarray, grid: tuple[int, int], patch: int) -> np.ndarray:
    """The image that `patchify` cut."""
    rows, columns = grid
    blocks = patches.reshape(rows, columns, 3, patch, patch).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(blocks.reshape(rows * patch, columns * patch, 3))


def _first_centroids(case: Case, inputs: RegionInputs, policy: EncodePolicy,
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
def compare_tokens(case: Case, model: PixelReferLite, batch: RegionBatch, images: RegionImages,
                   report: Report) -> torch.Tensor:
    """Features, then object tokens after each step. Returns the object tokens."""
    features = model.features(batch)
    stages = model.model.region_encoder(features, batch)
    made = []
    for index, name in enumerate(_encoded(images)):
        start, (rows, columns) = int(batch.starts[index]), batch.grids[index]
        made.append(('feats', f'{name}.feat',
                     features[start:start + rows * columns].view(rows, columns, -1)))
    made += [('pooled', f'r{i}.tok_pool', pooled) for i, pooled in enumerate(stages.pooled)]
    made += [('local', 'tok_after_local', stages.after_local),
             ('global', 'tok_after_global', stages.after_global),
             ('tokens', 'tok_llm', stages.tokens)]
    for stage, name, ours in made:
        recorded = case.tensor(name)
        if recorded is not None:
            report.add(stage, _difference(ours, recorded))
    return stages.tokens


def compare_language(case: Case, model: PixelReferLite, tokens: torch.Tensor,
                     report: Report) -> None:
    """Prompt, ids, embeddings, first logits, greedy answers and the text of the first."""
    k = model.config.mask_num
    own = LanguageModel(model)
    penalised = LanguageModel(model, generation={
        **model.generation, 'repetition_penalty': PENALTY})
    text = chat_text(fill_regions(case.meta['question'], _brackets(case.meta, k)))
    prompt = RenderedPrompt(text, tokens.flatten(0, 1))
    if 'prompt' in case.meta:
        report.equal('prompt', text.replace('<REGION>' * k, f'<REGION>*{k}'), case.meta['prompt'])
    ids, embeds, logits = map(case.tensor, ('input_ids', 'inputs_embeds', 'first_logits'))
    if ids is not None:
        report.equal('ids', own.tokenizer.encode(text), ids.tolist())
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


def _brackets(meta: dict, k: int) -> list[str]:
    """The published bracket of each object: one per mask, or one per object of a video."""
    if meta.get('modality') != 'video':
        return [place_holders([None], k) for _ in meta['mask_ids']]
    return [place_holders([meta['timestamps'][t] for t in frames], k)
            for frames in meta['mask_ids_raw']]


def _difference(ours: np.ndarray | torch.Tensor, recorded: np.ndarray | torch.Tensor) -> float:
    """Largest absolute difference; infinite between different shapes."""
    ours, recorded = (torch.as_tensor(np.asarray(x.cpu() if isinstance(x, torch.Tensor) else x))
                      for x in (ours, recorded))
    if ours.shape != recorded.shape:
        return float('inf')
    return float((ours.double() - recorded.double()).abs().max()) if ours.numel() else 0.0


def table(reports: Sequence[Report]) -> str:
    """Worst error, number of comparisons and verdict of each stage, then of each bad case."""
    lines = [f'{"stage":<9}{"worst error":>13}{"tolerance":>12}{"compared":>10}  worst case']
    for stage, tolerance in TOLERANCES.items():
        having = [r for r in reports if stage in r.errors]
        if not having:
            lines.append(f'{stage:<9}{"-":>13}{tolerance:>12.0e}{0:>10}  not recorded')
            continue
        worst = max(having, key=lambda r: r.errors[stage])
        verdict = '' if worst.errors[stage] <= tolerance else '  OVER'
        lines.append(f'{stage:<9}{worst.errors[stage]:>13.2e}{tolerance:>12.0e}'
                     f'{sum(r.compared[stage] for r in having):>10}  {worst.name}{verdict}')
    lines += [f'FAILED {r.name}: {", ".join(r.failed)}' for r in reports if r.failed]
    lines += [f'UNKNOWN {r.name}: {", ".join(r.unknown)}' for r in reports if r.unknown]
    lines.append(f'{len(reports)} cases, {sum(not r.failed for r in reports)} passed; '
                 f'{sum(r.skipped for r in reports)} tensors were not recorded and skipped')
    return '\n'.join(lines)


def compare_folder(cases: Path, checkpoint: Path) -> tuple[list[Report], list[Unreadable]]:
    """Compare every case of a folder: reports, and why other cases have none.

    Raises Unreadable if there is no case at all, or PixelReferError CHECKPOINT.
    """
    files = sorted(cases.glob('*.json')) if cases.is_dir() else []
    if not files:
        raise Unreadable(f'{cases}: there is no case (NAME.json with NAME.safetensors)')
    model = PixelReferLite.from_checkpoint(checkpoint)
    reports, unreadable = [], []
    for file in files:
        try:
            reports.append(compare_case(Case.read(file), model))
        except Unreadable as error:
            unreadable.append(error)
        except (PixelReferError, ValueError, LookupError, TypeError, AttributeError,
                RuntimeError) as error:
            unreadable.append(Unreadable(f'{file}: {type(error).__name__}: {error}'))
    return reports, unreadable


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the exit status is in the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--cases', type=Path, required=True, help='folder of recorded cases')
    parser.add_argument('--checkpoint', type=Path, required=True, help='checkpoint folder')
    options = parser.parse_args(arguments)
    try:
        reports, unreadable = compare_folder(options.cases, options.checkpoint)
    except (Unreadable, PixelReferError) as error:
        print(f'parity: {error}', file=sys.stderr)
        return 2
    print(table(reports))
    for error in unreadable:
        print(f'parity: {error}', file=sys.stderr)
    return 2 if unreadable else 1 if any(r.failed for r in reports) else 0


if __name__ == '__main__':
    sys.exit(main())
