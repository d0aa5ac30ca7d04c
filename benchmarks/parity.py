# SPDX-License-Identifier: Apache-2.0
"""Compare PixelRefer or PixelRefer-Lite with recorded cases, stage by stage.

    ./run python benchmarks/parity.py --cases DIR --checkpoint DIR [--device cpu]

A case is NAME.json (question, modality, mask_ids, seed, regions, sha256, ...) and
NAME.safetensors (in.images, in.masks and any of the recorded results). What a case did not record
is skipped and counted; a case that leaves nothing to compare fails, and so does one that recorded
what nothing here is called. Exit status: 0 all within tolerance, 1 something over it, 2 unreadable
input (cases that can be read are compared all the same).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ''):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.recorded import Case, Unreadable
from benchmarks.stages import (
    TOLERANCES, Report, compare_grids, compare_images, compare_language, compare_tokens,
    compare_whole, expected_names, first_centroids)
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.pixelrefer import (
    EncodePolicy, ImageInputs, PixelRefer, PixelReferModel, collate, prepare_images, prepare_video)
from pixelrefer_model.pixelrefer.processing_pixelrefer import pack_regions, region_images


def compare_case(case: Case, model: PixelReferModel) -> Report:
    """Run a case with published behaviour and compare all that it recorded."""
    report, config = Report(case.name), model.config
    policy = EncodePolicy.published(int(case.meta.get('seed') or 0))
    masks = [mask.numpy() for mask in case.tensors['in.masks']]
    images = region_images(list(case.masked.numpy()), masks, case.meta['mask_ids'], config, policy)
    inputs = pack_regions(images, config, policy)
    whole = whole_images(case, model, policy) if isinstance(model, PixelRefer) else None
    compare_images(case, images, inputs, config.patch_size, report)
    compare_grids(case, images, inputs, report)
    sizes = [] if whole is None else compare_whole(case, whole, report)
    batch = collate([inputs], first_centroids(case, inputs, policy, report), whole)
    batch = batch.to(model.device)
    prompted = compare_tokens(case, model, batch, images, sizes, report)
    compare_language(case, model, prompted, report)
    for name in sorted(case.results):
        report.named(name, name in case.asked)
    report.skipped = len(set(expected_names(images, model)) - set(case.tensors))
    return report


def whole_images(case: Case, model: PixelRefer, policy: EncodePolicy) -> ImageInputs:
    """The images or frames of a case as the language model sees them."""
    images = list(case.tensors['in.images'].numpy())
    if case.meta.get('modality') == 'video':
        return prepare_video(images, model.config, policy, model.dtype)
    return prepare_images(images, model.config, policy)


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


def compare_folder(cases: Path, checkpoint: Path, device: str = 'cpu'
                   ) -> tuple[list[Report], list[Unreadable]]:
    """Compare every case of a folder: reports, and why other cases have none.

    Raises Unreadable if there is no case at all, or PixelReferError CHECKPOINT.
    """
    files = sorted(cases.glob('*.json')) if cases.is_dir() else []
    if not files:
        raise Unreadable(f'{cases}: there is no case (NAME.json with NAME.safetensors)')
    model = PixelReferModel.from_checkpoint(checkpoint, device=device)
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
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: %(default)s)')
    options = parser.parse_args(arguments)
    try:
        reports, unreadable = compare_folder(options.cases, options.checkpoint, options.device)
    except (Unreadable, PixelReferError) as error:
        print(f'parity: {error}', file=sys.stderr)
        return 2
    print(table(reports))
    for error in unreadable:
        print(f'parity: {error}', file=sys.stderr)
    return 2 if unreadable else 1 if any(r.failed for r in reports) else 0


if __name__ == '__main__':
    sys.exit(main())
