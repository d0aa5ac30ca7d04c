# SPDX-License-Identifier: Apache-2.0
"""Memory that a 2B checkpoint takes to load and answer, on the CPU.

    ./run python benchmarks/load_memory.py FOLDER

Writes random PixelRefer-Lite weights of the released sizes, names and layout (bfloat16, two
shards, 4 GB) to FOLDER, loads them in a new process, asks it one question about one object of a
small image (whose pixel budget --patches cuts down, for CPUs that are slow in bfloat16), and prints
one JSON object: bytes of the weights, resident memory of the process before, after loading and at
its peak. FOLDER must not exist; it is deleted afterwards (unless --keep).
"""

import argparse
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ''):
    sys.path.insert(0, str(ROOT))

import numpy as np
import torch
from safetensors.torch import save_file

from pixelrefer_model.engine import TINY
from pixelrefer_model.language import Evidence, LanguageModel, collect, compose
from pixelrefer_model.pixelrefer import (
    LanguageConfig, PixelReferConfig, PixelReferLite, RegionEncoder, VisionConfig)

#: Sizes of the checkpoints that can be written: the released one, and one for a quick try.
SIZES = {
    '2b': PixelReferConfig(),
    'small': PixelReferConfig(
        VisionConfig(64, 128, 2, 4), LanguageConfig(
            2048, 128, 256, 2, 4, 2, bos_token_id=None, eos_token_id=1))}
#: How the shards are called, by the kind of file.
STEMS = {'safetensors': 'model', 'bin': 'pytorch_model'}


def write_checkpoint(folder: Path, config: PixelReferConfig, shards: int = 2,
                     kind: str = 'safetensors') -> None:
    """Random weights in bfloat16, one shard in memory at a time, with the names that are dead.
    kind: 'safetensors' or 'bin'."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    with torch.device('meta'):
        model = PixelReferLite(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()
              if name != 'lm_head.weight'} | dead_shapes(config)
    names, total = list(shapes), sum(map(elements, shapes.values()))
    places: dict[str, str] = {}
    for shard in range(shards):
        file = f'{STEMS[kind]}-{shard + 1:05}-of-{shards:05}.{kind}'
        tensors: dict[str, torch.Tensor] = {}
        held = 0
        while names and (shard == shards - 1 or held < total / shards):
            name = names.pop(0)
            held += elements(shapes[name])
            tensors[name] = random_weight(name, shapes[name])
        (save_file if kind == 'safetensors' else torch.save)(tensors, folder / file)
        places |= dict.fromkeys(tensors, file)
    for name, content in (
            (f'{STEMS[kind]}.{kind}.index.json', {
                'metadata': {'total_size': 2 * total}, 'weight_map': places}),
            ('config.json', config.to_dict() | {'torch_dtype': 'bfloat16'}),
            ('generation_config.json', {'eos_token_id': config.language.eos_token_id})):
        (folder / name).write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
    for name in ('tokenizer.json', 'tokenizer_config.json'):
        shutil.copy(TINY['refer'] / name, folder)


def dead_shapes(config: PixelReferConfig) -> dict[str, tuple[int, ...]]:
    """What released Lite checkpoints hold and nothing uses."""
    width, out = config.vision.hidden_size, config.language.hidden_size
    return {'model.region_encoder.mask_embedding.weight': (width, 1, 1, 1),
            'model.region_encoder.mask_embedding.bias': (width,),
            'model.mm_projector.readout.0.weight': (out, width),
            'model.mm_projector.readout.0.bias': (out,),
            'model.mm_projector.readout.2.weight': (out, out),
            'model.mm_projector.readout.2.bias': (out,)}


def random_weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Ones for the weights of norms, else normal with a deviation of 0.02."""
    if 'norm' in name and name.endswith('.weight'):
        return torch.ones(shape, dtype=torch.bfloat16)
    return torch.empty(shape, dtype=torch.bfloat16).normal_(std=0.02)


def elements(shape: tuple[int, ...]) -> int:
    """How many numbers a tensor of this shape holds."""
    return int(np.prod(shape, dtype=np.int64))


def measure(folder: Path, dtype: torch.dtype, new_tokens: int, patches: int) -> dict:
    """Load and answer in this process, with at most so many patches an image; what `main`
    prints."""
    report = {'before_load_bytes': resident('VmRSS')}
    model = PixelReferLite.from_checkpoint(folder, dtype=dtype)
    report |= {'after_load_bytes': resident('VmRSS'), 'peak_load_bytes': resident('VmHWM')}
    model.config = replace(model.config, mm_max_length=patches, crop_patches=patches)
    weights = {id(t): t.nbytes for t in model.parameters()}
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    mask = np.zeros((120, 160), bool)
    mask[30:90, 40:100] = True
    tokens = RegionEncoder(model).encode(image, [mask])
    prompt = compose('What is <object1>?', [Evidence('it', tokens)])
    answer = collect(LanguageModel(model).generate([prompt], max_new_tokens=new_tokens), 1)[0]
    return {'dtype': str(dtype).removeprefix('torch.'), 'weight_bytes': sum(weights.values()),
            **report, 'peak_bytes': resident('VmHWM'), 'answer_tokens': len(answer.token_ids),
            'patches': model.tower.patches, 'torch': torch.__version__,
            'machine': platform.machine(), 'threads': torch.get_num_threads()}


def resident(field: str) -> int:
    """A memory figure of this process in bytes: VmRSS (now) or VmHWM (its peak)."""
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(f'{field}:'):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f'/proc/self/status has no {field}; this benchmark needs Linux')


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report of the new process, and its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--size', choices=SIZES, default='2b')
    parser.add_argument('--dtype', choices=('bfloat16', 'float16', 'float32'), default='bfloat16')
    parser.add_argument('--kind', choices=STEMS, default='safetensors')
    parser.add_argument('--new-tokens', type=int, default=2)
    parser.add_argument('--patches', type=int, default=576, help='most patches of an image')
    parser.add_argument('--keep', action='store_true', help='do not delete the checkpoint')
    parser.add_argument('--measure', action='store_true', help='only load and answer')
    options = parser.parse_args(arguments)
    if options.measure:
        print(json.dumps(measure(options.folder, getattr(torch, options.dtype),
                                 options.new_tokens, options.patches)))
        return 0
    if options.folder.exists():
        parser.error(f'{options.folder} exists; the name of a new folder is needed')
    try:
        write_checkpoint(options.folder, SIZES[options.size], kind=options.kind)
        return subprocess.run(
            [sys.executable, str(Path(__file__).resolve()), str(options.folder), '--measure',
             '--dtype', options.dtype, '--new-tokens', str(options.new_tokens),
             '--patches', str(options.patches)]).returncode
    finally:
        if not options.keep:
            shutil.rmtree(options.folder, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
