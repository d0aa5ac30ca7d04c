# SPDX-License-Identifier: Apache-2.0
"""World: plans scenes and draws them. One compiled model, one context, any number of scenes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from training.world import gl
from training.world import objects as shapes
from training.world.contract import Contract
from training.world.planner import plan_scene
from training.world.scene import ScenePlan
from training.world.textures import LAYOUTS, texture_name

OPTICAL = np.diag([1.0, -1.0, -1.0])   # the camera of the renderer looks along -z with y up
ROLES = {'metal': (.70, .71, .73), 'paper': (.93, .91, .84), 'cap': (.34, .35, .38)}


@dataclass(frozen=True)
class Shot:
    """One picture of a scene.

    `rgb` [h,w,3] uint8; `seg` [h,w] uint8, 0 for nothing, i+1 for object i; `depth` [h,w] float32
    metres along the optical axis, or None when it was not asked for; `t` seconds.
    """

    rgb: np.ndarray
    seg: np.ndarray
    depth: np.ndarray | None
    t: float


class World:
    """Context manager that owns the compiled model and the OpenGL context.

    Use it from the thread that opened it, and one per process. `samples` is the number of samples
    per pixel of the colour image (0 for none: a slight blur of the lens, `LENS` pixels, softens
    the edges at a third of the cost), `shadows` the side of the shadow map.
    Raises RuntimeError when no off-screen OpenGL opens.
    """

    LENS = 0.55

    def __init__(self, contract: Contract | None = None, *, samples: int = 0,
                 shadows: int = 512) -> None:
        self.contract = contract or Contract.load()
        self._samples, self._shadows = samples, shadows
        self._gl = None

    def __enter__(self) -> 'World':
        self._gl = gl.open_context(self.contract.width, self.contract.height)
        # MuJoCo chooses its GL library when it is imported; that is why it is imported this late.
        import mujoco

        from training.world import model
        self._mj, self._names = mujoco, model
        self._model = model.build_model(self.contract, self._samples, self._shadows)
        self._data = mujoco.MjData(self._model)
        self._scene = mujoco.MjvScene(self._model, maxgeom=self._model.ngeom + 16)
        self._option = mujoco.MjvOption()
        mujoco.mjv_defaultOption(self._option)
        self._option.geomgroup[:] = 0
        self._option.geomgroup[model.SEEN] = 1
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = self._model.camera('head').id
        self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._rect = mujoco.MjrRect(0, 0, self.contract.width, self.contract.height)
        self._index()
        self._plan: ScenePlan | None = None
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the context and the model; closing twice is fine."""
        if self._gl is not None:
            self._context.free()
            self._gl.free()
            self._gl = self._context = self._scene = self._model = self._data = None

    def plan(self, seed: int, split: str = 'train', seconds: float = 4.0,
             kind: str | None = None) -> ScenePlan:
        """The scene of this seed: see planner.plan_scene, which needs no renderer."""
        return plan_scene(self.contract, seed, split, seconds, kind)

    def render(self, plan: ScenePlan, t: float, depth: bool = False) -> Shot:
        """Colour, object indices and, if asked for, depth of the scene at `t` seconds."""
        self._set(plan, t)
        rgb = self._colour()
        seg, metres = self._indices(depth)
        return Shot(rgb, seg, metres, float(t))

    def segment(self, plan: ScenePlan, t: float) -> np.ndarray:
        """The `seg` of render() alone, [h,w] uint8: several times as fast."""
        self._set(plan, t)
        return self._indices(False)[0]

    def amodal(self, plan: ScenePlan, t: float) -> np.ndarray:
        """[n] int pixels each object would have with nothing before it, inside the image."""
        self._set(plan, t)
        groups = self._model.geom_group.copy()
        areas = np.zeros(len(plan.objects), int)
        for i in range(len(plan.objects)):
            if plan.present(i, t):
                self._model.geom_group[:] = np.where(self._owner == i + 1, groups,
                                                     self._names.UNSEEN)
                areas[i] = int((self._indices(False)[0] == i + 1).sum())
        self._model.geom_group[:] = groups
        return areas

    # -- from here on: the renderer's own business

    def _index(self) -> None:
        """Note which geoms belong to which slot, once."""
        m = self._model
        self._owner = np.zeros(m.ngeom, np.uint8)
        self._slots, self._mocap = [], []
        count = self.contract.objects_per_scene[1]
        for k, name in enumerate([f'object{k}' for k in range(count)] + ['clutter', 'board']):
            body = m.body(name)
            geoms = np.arange(body.geomadr[0], body.geomadr[0] + body.geomnum[0])
            self._slots.append(geoms)
            self._mocap.append(int(body.mocapid[0]))
            if k < count:
                self._owner[geoms] = k + 1
        self._material = {m.material(k).name: k for k in range(m.nmat)}
        self._kind = {name: int(getattr(self._mj.mjtGeom, f'mjGEOM_{name.upper()}'))
                      for name in ('box', 'cylinder', 'capsule', 'ellipsoid')}

    def _dress(self, plan: ScenePlan) -> None:
        """Fill the slots with the plan's objects and set its look."""
        m, look, unseen = self._model, plan.look, self._names.UNSEEN
        for geoms in self._slots:
            m.geom_group[geoms] = unseen
        for slot, spec in zip(self._slots, plan.objects):
            self._fill(slot, spec)
        clutter = self._slots[-2]
        for geom, shape, rgb in zip(clutter, look.clutter, look.clutter_rgb):
            self._geom(geom, shape, 1.0, (*rgb, 1.0), self._names.MATTE)
        m.geom_matid[m.geom('top').id] = self._material[f'table{look.table}']
        m.geom_rgba[m.geom('top').id] = (*look.table_tint, 1)
        m.geom_rgba[m.geom('slab').id] = (*np.multiply(look.table_tint, (.52, .46, .40)), 1)
        m.geom_matid[m.geom('floor').id] = self._material[f'floor{look.floor}']
        m.geom_rgba[m.geom('floor').id] = (.9, .9, .9, 1)
        for k in range(3):
            m.geom_rgba[m.geom(f'wall{k}').id] = (*(np.array(look.wall) * (1 - .06 * k)), 1)
        key, fill = m.light('key').id, m.light('fill').id
        m.light_dir[key] = np.array(look.light_dir) / np.linalg.norm(look.light_dir)
        m.light_pos[key] = -1.6 * m.light_dir[key]
        m.light_diffuse[key] = look.light
        m.light_specular[key] = np.array(look.light) * .5
        m.light_diffuse[fill] = np.array(look.light) * .35
        m.vis.headlight.ambient = (look.ambient,) * 3
        m.vis.headlight.diffuse = (.12,) * 3
        m.vis.headlight.specular = (0, 0, 0)
        self._plan = plan

    def _fill(self, slot: np.ndarray, spec: object) -> None:
        colour = self.contract.colours[spec.colour]
        main = np.clip(np.array(colour.rgb) * spec.tint, 0, 1)
        second = np.clip(np.array(colour.second) * spec.tint, 0, 1)
        middle = spec.form.height / 2
        for geom, part in zip(slot, spec.form.geoms):
            # The slot turns about the object's middle, so parts are kept relative to that.
            part = shapes.Geom(part.kind, part.size, (*part.pos[:2], part.pos[2] - middle),
                               part.quat, part.role, part.cell)
            material, rgb = self._names.GLOSS, main
            if part.role in ROLES:
                rgb = np.array(ROLES[part.role])
                material = self._names.METAL if part.role == 'metal' else self._names.MATTE
            elif part.role == 'dark':
                rgb = main * .42 + .015
            elif part.role == 'cell' and spec.pattern != 'plain':
                row, column = part.cell
                parity = {'bands': column // 1, 'staves': column, 'checks': row + column}[
                    LAYOUTS[spec.pattern][spec.layout]]
                rgb = second if parity % 2 else main
            elif part.role == 'body' and spec.pattern != 'plain':
                layout = LAYOUTS[spec.pattern][spec.layout]
                material = texture_name(part.kind, layout, spec.colour)
                rgb = np.full(3, min(spec.tint, 1.0))
            self._geom(geom, part, spec.scale, (*rgb, 1.0), material)

    def _geom(self, index: int, part: shapes.Geom, scale: float, rgba: tuple, material: str
              ) -> None:
        m = self._model
        m.geom_type[index] = self._kind[part.kind]
        m.geom_size[index] = np.array(part.size) * scale
        m.geom_pos[index] = np.array(part.pos) * scale
        m.geom_quat[index] = part.quat
        m.geom_rgba[index] = rgba
        m.geom_matid[index] = self._material[material]
        m.geom_group[index] = self._names.SEEN
        m.geom_rbound[index] = np.linalg.norm(part.size) * scale

    def _set(self, plan: ScenePlan, t: float) -> None:
        """Everything where it is at `t`."""
        if self._gl is None:
            raise RuntimeError('the world is closed: use it inside its with block')
        if plan is not self._plan:
            self._dress(plan)
        m, d = self._model, self._data
        for i, spec in enumerate(plan.objects):
            d.mocap_pos[self._mocap[i]] = plan.middle(i, t)
            d.mocap_quat[self._mocap[i]] = spec.quat
            here = self._slots[i][:len(spec.form.geoms)]
            m.geom_group[here] = self._names.SEEN if plan.present(i, t) else self._names.UNSEEN
        board = self._slots[-1][0]
        m.geom_group[board] = self._names.UNSEEN
        for cover in plan.covers:
            place = cover.position(t)
            if place is not None:
                self._geom(board, shapes.Geom('box', (*cover.half, .003), (0, 0, 0)), 1.0,
                           (*plan.look.board_rgb, 1.0), self._names.MATTE)
                d.mocap_pos[self._mocap[-1]] = place
                d.mocap_quat[self._mocap[-1]] = cover.quat
        pose = plan.camera.pose(t)
        m.cam_pos[0] = pose.position
        m.cam_quat[0] = shapes.quaternion(pose.rotation @ OPTICAL)
        self._mj.mj_kinematics(m, d)
        self._mj.mj_camlight(m, d)

    def _draw(self) -> None:
        self._gl.make_current()
        self._mj.mjv_updateScene(self._model, self._data, self._option, None, self._camera,
                                 self._mj.mjtCatBit.mjCAT_ALL, self._scene)
        self._mj.mjr_render(self._rect, self._scene, self._context)

    def _colour(self) -> np.ndarray:
        rgb = np.empty((self.contract.height, self.contract.width, 3), np.uint8)
        self._draw()
        self._mj.mjr_readPixels(rgb, None, self._rect, self._context)
        return cv2.GaussianBlur(np.ascontiguousarray(rgb[::-1]), (3, 3), self.LENS)

    def _indices(self, depth: bool) -> tuple[np.ndarray, np.ndarray | None]:
        flags = self._scene.flags
        for flag in (self._mj.mjtRndFlag.mjRND_SEGMENT, self._mj.mjtRndFlag.mjRND_IDCOLOR):
            flags[flag] = 1
        try:
            shape = (self.contract.height, self.contract.width)
            codes = np.empty((*shape, 3), np.uint8)
            raw = np.empty(shape, np.float32) if depth else None
            self._draw()
            self._mj.mjr_readPixels(codes, raw, self._rect, self._context)
        finally:
            for flag in (self._mj.mjtRndFlag.mjRND_SEGMENT, self._mj.mjtRndFlag.mjRND_IDCOLOR):
                flags[flag] = 0
        codes = codes[::-1].astype(np.uint32)
        number = codes[..., 0] | codes[..., 1] << 8 | codes[..., 2] << 16
        # Scene geoms are the model's drawn geoms in their order; 0 is the background.
        drawn = self._owner[self._model.geom_group == self._names.SEEN]
        if len(drawn) != self._scene.ngeom:
            raise RuntimeError(f'{self._scene.ngeom} geoms were drawn, {len(drawn)} expected')
        seg = np.concatenate([[0], drawn]).astype(np.uint8)[number]
        return seg, None if raw is None else self._metres(raw[::-1])

    def _metres(self, raw: np.ndarray) -> np.ndarray:
        """Reversed depth buffer (1 near, 0 far) to metres along the optical axis."""
        extent = self._model.stat.extent
        near, far = self._model.vis.map.znear * extent, self._model.vis.map.zfar * extent
        return (near * far / (near + raw * (far - near))).astype(np.float32)
