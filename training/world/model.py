# SPDX-License-Identifier: Apache-2.0
"""The one MuJoCo model of the world: a room, a table, and slots of geoms for any scene to fill."""

from __future__ import annotations

import mujoco
import numpy as np

from training.world.camera import TABLE_HALF
from training.world.contract import Contract
from training.world.objects import MOST_GEOMS
from training.world.textures import FACE, pattern_textures, surface_textures

SEEN, UNSEEN = 0, 4      # geom groups: what is drawn, what is not
CLUTTER_GEOMS = 24
TEXELS = 256
MATTE, GLOSS, METAL = 'matte', 'gloss', 'metal'


def _slot(name: str, count: int) -> str:
    geoms = ''.join(f'<geom name="{name}-{k}" type="box" size=".01 .01 .01" group="{UNSEEN}" '
                    f'material="{MATTE}"/>' for k in range(count))
    return f'<body name="{name}" mocap="true" pos="0 0 0">{geoms}</body>'


def _room() -> str:
    x, y = TABLE_HALF
    box = '<geom type="box" size="{}" pos="{}" name="{}" rgba="{}" material="matte"/>'
    legs = ''.join(box.format('.035 .035 .35', f'{sx * (x - .07)} {sy * (y - .07)} -.39',
                              f'leg{k}', '.30 .26 .22 1')
                   for k, (sx, sy) in enumerate(((1, 1), (1, -1), (-1, 1), (-1, -1))))
    sides = (('2.6 {} 1.6', '0 2.3 .86'), ('{} 2.6 1.6', '-2.4 0 .86'), ('{} 2.6 1.6', '2.4 0 .86'))
    walls = ''.join(box.format(size.format('.02'), pos, f'wall{k}', '.7 .7 .7 1')
                    for k, (size, pos) in enumerate(sides))
    skirting = (('2.6 .012 .06', '0 2.27 -.68'), ('.012 2.6 .06', '-2.37 0 -.68'),
                ('.012 2.6 .06', '2.37 0 -.68'))
    base = ''.join(box.format(size, pos, f'base{k}', '.85 .84 .82 1')
                   for k, (size, pos) in enumerate(skirting))
    decor = ''.join(box.format(size, pos, name, rgba) for name, size, pos, rgba in (
        ('frame0', '.36 .015 .26', '-.75 2.27 .42', '.25 .20 .16 1'),
        ('sheet0', '.32 .015 .22', '-.75 2.262 .42', '.62 .70 .72 1'),
        ('frame1', '.20 .015 .28', '.85 2.27 .38', '.80 .78 .74 1'),
        ('sheet1', '.17 .015 .25', '.85 2.262 .38', '.66 .56 .46 1'),
        ('shelf', '.16 .55 .42', '-2.2 .5 -.32', '.42 .33 .25 1'),
        ('couch', '.60 .28 .22', '.9 1.85 -.52', '.40 .43 .48 1'),
        ('back', '.60 .07 .40', '.9 2.1 -.34', '.36 .39 .44 1'),
        ('cupboard', '.22 .45 .50', '2.15 .4 -.24', '.66 .62 .56 1')))
    return f'''
      <geom name="floor" type="plane" size="3 3 .1" pos="0 0 -.74" material="floor0"/>
      <geom name="top" type="plane" size="{x} {y} .1" pos="0 0 0" material="table0"/>
      <geom name="slab" type="box" size="{x} {y} .018" pos="0 0 -.022" material="matte"/>
      {legs}{walls}{base}{decor}'''


def _assets(cubes: dict[str, np.ndarray], tables: int, floors: int) -> str:
    made = [f'<material name="{MATTE}" specular=".12" shininess=".2"/>',
            f'<material name="{GLOSS}" specular=".45" shininess=".6"/>',
            f'<material name="{METAL}" specular=".8" shininess=".7"/>']
    for name in cubes:
        made.append(f'<texture name="{name}" type="cube" builtin="flat" width="{FACE}" '
                    f'height="{FACE * 6}"/><material name="{name}" texture="{name}" '
                    'specular=".35" shininess=".5"/>')
    for kind, count, repeat in (('table', tables, '1 1'), ('floor', floors, '3 3')):
        for index in range(count):
            made.append(f'<texture name="{kind}{index}" type="2d" builtin="flat" '
                        f'width="{TEXELS}" height="{TEXELS}"/><material name="{kind}{index}" '
                        f'texture="{kind}{index}" texrepeat="{repeat}" specular=".15" '
                        'shininess=".3"/>')
    return '\n'.join(made)


def build_model(contract: Contract, samples: int, shadows: int) -> mujoco.MjModel:
    """Compile the world once, its textures filled in.

    `samples` is the number of samples per pixel of the colour image, `shadows` the side of the
    shadow map in texels.
    """
    cubes = pattern_textures(contract)
    tables, floors = surface_textures(TEXELS)
    slots = ''.join(_slot(f'object{k}', MOST_GEOMS) for k in range(contract.objects_per_scene[1]))
    xml = f'''<mujoco>
      <statistic extent="1" center="0 0 0"/>
      <visual>
        <global offwidth="{contract.width}" offheight="{contract.height}"/>
        <quality shadowsize="{shadows}" offsamples="{samples}" numslices="20" numstacks="12"
                 numquads="1"/>
        <map znear="{contract.near}" zfar="{contract.far}" shadowclip="1" shadowscale=".7"/>
      </visual>
      <asset>{_assets(cubes, len(tables), len(floors))}</asset>
      <worldbody>
        <light name="key" directional="true" castshadow="true" pos="0 0 1.6" dir="0 0 -1"/>
        <light name="fill" directional="true" castshadow="false" pos="0 0 2" dir="0 .4 -1"
               specular="0 0 0"/>
        <camera name="head" fovy="{contract.fovy_degrees}"/>
        {_room()}{slots}{_slot('clutter', CLUTTER_GEOMS)}{_slot('board', 1)}
      </worldbody>
    </mujoco>'''
    model = mujoco.MjModel.from_xml_string(xml)
    # Compiled at their body's origin, geoms are marked as lying there for good; forget that, or
    # the places filled in later are ignored.
    model.geom_sameframe[:] = mujoco.mjtSameFrame.mjSAMEFRAME_NONE
    pictures = dict(cubes)
    pictures.update({f'table{k}': picture for k, picture in enumerate(tables)})
    pictures.update({f'floor{k}': picture for k, picture in enumerate(floors)})
    for name, picture in pictures.items():
        texture = model.texture(name).id
        start = model.tex_adr[texture]
        model.tex_data[start:start + picture.size] = picture.reshape(-1)
    return model
