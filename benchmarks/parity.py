# SPDX-License-Identifier: Apache-2.0
"""Compare PixelRefer-Lite with recorded cases, stage by stage.

    ./run python benchmarks/parity.py --cases DIR --checkpoint DIR

A case is NAME.json (question, modality, mask_ids, seed, regions, sha256, ...) and
NAME.safetensors (in.images, in.masks and any of the recorded results). What a case did not record
is skipped and counted; a case that leaves nothing to compare fails. Exit status: 0 all within
tolerance, 1 something over it, 2 unreadable input.
"""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

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
    'crops': 0.0, 'grids': 0.0, 'pixels': 1e-6, 'init': 0.0, 'feats': 1e-4, 'pooled': 1e-4,
    'local': 1e-4, 'global': 1e-4, 'tokens': 1e-4, 'prompt': 0.0, 'ids': 0.0, 'embeds': 1e-4,
    'logits': 1e-3, 'greedy': 0.0, 'penalty': 0.0}
PENALTY = 1.1


class Unreadable(Exception):
    """A case that cannot be read, with its file and the reason."""


@dataclass(frozen=True)
class Case:
    """One recorded case: its description and its tensors."""

    name: str
    meta: dict
    tensors: dict[str, torch.Tensor]

    @classmethod
    def read(cls, file: Path) -> 'Case':
        """From NAME.json and NAME.safetensors beside it. Raises Unreadable."""
        try:
            meta = json.loads(file.read_text(encoding='utf-8'))
            tensors = load_file(file.with_suffix('.safetensors'))
            needed = (meta['question'], meta['mask_ids'], tensors['in.images'],
                      tensors['in.masks'])
        except (OSError, ValueError, TypeError, SafetensorError) as error:
            raise Unreadable(f'{file}: {error}') from None
        except KeyError as error:
            raise Unreadable(f'{file}: {error} is missing') from None
        _, owners, images, masks = needed
        if images.ndim != 4 or masks.ndim != 3 or len(owners) != len(masks) or \
                any(not 0 <= i < len(images) for i in owners):
            raise Unreadable(f'{file}: {len(owners)} mask_ids do not fit masks '
                             f'{list(masks.shape)} and images {list(images.shape)}')
        return cls(file.stem, meta, tensors)


@dataclass
class Report:
    """Worst error and number of comparisons of each stage of one case."""

    name: str
    errors: dict[str, float] = field(default_factory=dict)
    compared: dict[str, int] = field(default_factory=dict)
    skipped: int = 0

    def add(self, stage: str, error: float) -> None:
        """Count one comparison. An error that is not a number is an infinite one."""
        error = float('inf') if error != error else float(error)
        self.errors[stage] = max(self.errors.get(stage, 0.0), error)
        self.compared[stage] = self.compared.get(stage, 0) + 1

    def equal(self, stage: str, ours: object, recorded: object) -> None:
        """Count a comparison that allows no difference."""
        self.add(stage, 0.0 if ours == recorded else float('inf'))

    @property
    def failed(self) -> list[str]:
        """Stages over their tolerance; 'nothing compared' if there was none."""
        return [s for s, e in self.errors.items() if e > TOLERANCES[s]] or (
            [] if self.compared else ['nothing compared'])


@dataclass(frozen=True)
class RecordedInit:
    """First centroids as a case recorded them, drawn from its seed where it did not."""

    indices_of: Sequence[torch.Tensor | None]
    seed: int

    def indices(self, counts: list[int], k: int) -> list[torch.Tensor]:
        drawn = SeededPermutation(self.seed).indices(counts, k)
        usable = len(counts) == len(self.indices_of)
        return [old if usable and old is not None and int(old.max()) < n else new
                for old, new, n in zip(self.indices_of if usable else drawn, drawn, counts,
                                       strict=True)]


def compare_case(case: Case, model: PixelReferLite, languages: Mapping[float, LanguageModel]
                 ) -> Report:
    """Run a case with published behaviour and compare all that it recorded.

    languages: language model per repetition penalty (1 and `PENALTY`).
    """
    report, config = Report(case.name), model.config
    policy = EncodePolicy.published(int(case.meta.get('seed') or 0))
    masks = [mask.numpy() for mask in case.tensors['in.masks']]
    images = region_images(list(case.tensors['in.images'].numpy()), masks,
                           case.meta['mask_ids'], config, policy)
    inputs = pack_regions(images, config, policy)
    compare_images(case, images, inputs, config.patch_size, report)
    batch = collate([inputs], _first_centroids(case, inputs, policy, report))
    tokens = compare_tokens(case, model, batch, inputs, report)
    compare_language(case, model, languages, tokens, report)
    known = set(_stages(len(inputs), len(images.globals_), len(images.locals_)))
    wanted = known - {name for name in case.tensors if name in known}
    report.skipped = len(wanted)
    return report


def _stages(regions: int, globals_: int, locals_: int) -> Iterator[str]:
    """Names of the tensors that a case of this size may record."""
    for r in range(regions):
        yield from (f'r{r}.crop', f'r{r}.mask_grid', f'r{r}.feat', f'r{r}.tok_pool')
    for kind, count in (('global', globals_), ('local', locals_)):
        for u in range(count):
            yield from (f'{kind}{u}.image', f'{kind}{u}.feat')
    yield from ('tok_after_local', 'tok_after_global', 'tok_llm', 'input_ids', 'inputs_embeds',
                'first_logits', 'output_ids', 'output_ids_reppen_1p1')


def compare_images(case: Case, images: RegionImages, inputs: RegionInputs, patch: int,
                   report: Report) -> None:
    """Crops, context images, boxes, mask grids, patch grids and pixel values."""
    count, unique = len(images.crops), len(images.globals_)
    made = {f'r{i}.crop': c.image for i, c in enumerate(images.crops)}
    made |= {f'global{u}.image': g for u, g in enumerate(images.globals_)}
    made |= {f'local{u}.image': g for u, g in enumerate(images.locals_)}
    names = list(made)
    for index, name in enumerate(names):
        fitted = unpatchify(inputs.patches[index], tuple(inputs.grids[index]), patch)
        made[f'{name}_pil'] = made[name.replace('.image', '_pil')] = fitted
        made[name.replace('.image', '.image_pil')] = fitted
    for name, image in made.items():
        if name in case.tensors:
            report.add('crops', _difference(image, case.tensors[name].numpy()))
        entry = case.meta.get('sha256', {}).get(name)
        if entry is not None:
            expected = entry['sha256'] if isinstance(entry, dict) else entry
            report.equal('crops', hashlib.sha256(np.ascontiguousarray(image)).hexdigest(),
                         expected)
    for i, (crop, region) in enumerate(zip(images.crops, case.meta.get('regions') or [],
                                           strict=False)):
        found = {'box_tlbr': list(crop.box), 'mask_grid': list(crop.mask_grid.shape),
                 'crop_grid': inputs.grids[i].tolist(),
                 'global_grid': inputs.grids[inputs.global_[i]].tolist(),
                 'local_grid': inputs.grids[inputs.local[i]].tolist(),
                 'n_masked': len(inputs.cells[i]), 'global': images.global_of[i],
                 'local': images.local_of[i]}
        for key, value in found.items():
            if key in region:
                report.equal('grids', value, region[key])
    for i in range(count):
        grid = case.tensors.get(f'r{i}.mask_grid')
        if grid is not None:
            report.add('grids', _difference(images.crops[i].mask_grid, grid.numpy()))
    places = {f'r{i}.crop': i for i in range(count)}
    places |= {f'global{u}': count + u for u in range(unique)}
    places |= {f'local{u}': count + unique + u for u in range(len(images.locals_))}
    for name, index in places.items():
        pixels = case.tensors.get(f'{name}.pixel_values')
        if pixels is not None:
            values = (torch.from_numpy(inputs.patches[index]).float() / 255 - 0.5) / 0.5
            report.add('pixels', _difference(values.numpy(), pixels.float().numpy()))


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
    recorded = [case.tensors.get(f'r{i}.kmeans_init') for i in many]
    for new, old in zip(drawn, recorded, strict=True):
        if old is not None and case.meta.get('seed') is not None:
            report.equal('init', new.tolist(), old.tolist())
    return RecordedInit(recorded, policy.kmeans.seed)


@torch.inference_mode()
def compare_tokens(case: Case, model: PixelReferLite, batch: RegionBatch, inputs: RegionInputs,
                   report: Report) -> torch.Tensor:
    """Features, then object tokens after each step. Returns the object tokens."""
    features = model.features(batch)
    stages = model.model.region_encoder(features, batch)
    count = len(inputs)
    for name, recorded in case.tensors.items():
        index = _image_index(name, inputs)
        if index is None:
            continue
        start, (rows, columns) = int(batch.starts[index]), inputs.grids[index]
        ours = features[start:start + rows * columns].view(rows, columns, -1)
        report.add('feats', _difference(ours, recorded))
    for i in range(count):
        if f'r{i}.tok_pool' in case.tensors:
            report.add('pooled', _difference(stages.pooled[i], case.tensors[f'r{i}.tok_pool']))
    for stage, ours, name in (('local', stages.after_local, 'tok_after_local'),
                              ('global', stages.after_global, 'tok_after_global'),
                              ('tokens', stages.tokens, 'tok_llm')):
        if name in case.tensors:
            report.add(stage, _difference(ours, case.tensors[name]))
    return stages.tokens


def _image_index(name: str, inputs: RegionInputs) -> int | None:
    """Which encoded image a recorded feature `r1.feat`, `global0.feat`, `local2.feat` is of."""
    match = re.fullmatch(r'(r|global|local)(\d+)\.feat', name)
    if match is None:
        return None
    images = {'r': inputs.crop, 'global': inputs.global_, 'local': inputs.local}[match[1]]
    return dict(enumerate(sorted(set(images.tolist())))).get(int(match[2]))


def compare_language(case: Case, model: PixelReferLite, languages: Mapping[float, LanguageModel],
                     tokens: torch.Tensor, report: Report) -> None:
    """Prompt, ids, embeddings, first logits and greedy answers."""
    k = model.config.mask_num
    text = chat_text(fill_regions(case.meta['question'], _brackets(case.meta, k)))
    prompt = RenderedPrompt(text, tokens.flatten(0, 1))
    if 'prompt' in case.meta:
        report.equal('prompt', text.replace('<REGION>' * k, f'<REGION>*{k}'), case.meta['prompt'])
    recorded, plain = case.tensors, languages[1]
    if 'input_ids' in recorded:
        report.equal('ids', plain.tokenizer.encode(text), recorded['input_ids'].tolist())
    if 'inputs_embeds' in recorded:
        report.add('embeds', _difference(plain.embed(prompt), recorded['inputs_embeds']))
    if 'first_logits' in recorded:
        report.add('logits', _difference(plain.prefill([prompt]).scores[0],
                                         recorded['first_logits']))
    for stage, name, language in (('greedy', 'output_ids', plain),
                                  ('penalty', 'output_ids_reppen_1p1', languages[PENALTY])):
        if name in recorded:
            expected = recorded[name].tolist()
            events = language.generate([prompt], max_new_tokens=max(len(expected), 1))
            report.equal(stage, collect(events, 1)[0].token_ids, expected)


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
    lines.append(f'{len(reports)} cases, {sum(not r.failed for r in reports)} passed; '
                 f'{sum(r.skipped for r in reports)} tensors were not recorded and skipped')
    return '\n'.join(lines)


def compare_folder(cases: Path, checkpoint: Path) -> list[Report]:
    """Compare every case of a folder. Raises Unreadable or PixelReferError CHECKPOINT."""
    files = sorted(cases.glob('*.json')) if cases.is_dir() else []
    if not files:
        raise Unreadable(f'{cases}: there is no case (NAME.json with NAME.safetensors)')
    model = PixelReferLite.from_checkpoint(checkpoint)
    languages = {penalty: LanguageModel(model, generation={
        **model.generation, 'repetition_penalty': penalty}) for penalty in (1, PENALTY)}
    reports = []
    for file in files:
        case = Case.read(file)
        try:
            reports.append(compare_case(case, model, languages))
        except (PixelReferError, ValueError, KeyError, IndexError, TypeError) as error:
            raise Unreadable(f'{file}: {type(error).__name__}: {error}') from error
    return reports


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the exit status is in the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--cases', type=Path, required=True, help='folder of recorded cases')
    parser.add_argument('--checkpoint', type=Path, required=True, help='checkpoint folder')
    options = parser.parse_args(arguments)
    try:
        reports = compare_folder(options.cases, options.checkpoint)
    except (Unreadable, PixelReferError) as error:
        print(f'parity: {error}', file=sys.stderr)
        return 2
    print(table(reports))
    return 1 if any(r.failed for r in reports) else 0


if __name__ == '__main__':
    sys.exit(main())
