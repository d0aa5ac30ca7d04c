# SPDX-License-Identifier: Apache-2.0
"""The camera: a head that looks around a table, never still, never leaving it.

World frame: z up, table top at z = 0. Camera frame: optical (x right, y down, z forward, REP 103).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from training.world.contract import Contract

TABLE_HALF = (0.80, 0.60)


@dataclass(frozen=True)
class Pinhole:
    """Intrinsics in pixels, pixel centres at whole numbers."""

    width: int
    height: int
    focal: float
    cx: float
    cy: float

    @classmethod
    def of(cls, contract: Contract) -> 'Pinhole':
        """The contract's camera."""
        return cls(contract.width, contract.height, contract.focal, *contract.centre)

    def project(self, points: np.ndarray) -> np.ndarray:
        """[n,3] in the camera frame, metres -> [n,2] pixels. Points behind give far-off pixels."""
        depth = np.maximum(points[:, 2:], 1e-3)
        return points[:, :2] / depth * self.focal + (self.cx, self.cy)

    def ray(self, u: float, v: float) -> np.ndarray:
        """Direction in the camera frame through a pixel, with z = 1."""
        return np.array([(u - self.cx) / self.focal, (v - self.cy) / self.focal, 1.0])


@dataclass(frozen=True)
class Pose:
    """Camera pose: `position` [3] in the world, `rotation` [3,3] takes camera to world axes."""

    position: np.ndarray
    rotation: np.ndarray

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """[n,3] world metres -> [n,3] camera metres."""
        return (np.asarray(points) - self.position) @ self.rotation

    def horizontal(self) -> tuple[np.ndarray, np.ndarray]:
        """World unit vectors, level: to the camera's right, and away from the camera."""
        forward = self.rotation[:, 2] * (1, 1, 0)
        forward = forward / np.linalg.norm(forward)
        return np.array([forward[1], -forward[0], 0.0]), forward


@dataclass(frozen=True)
class CameraPath:
    """Smooth pan, tilt, roll and translation about a resting pose; a value, evaluated at any time.

    `rate` (rad/s) turns time into phase; the looking direction goes round an ellipse, which keeps
    its speed nearly even, and drifts along a slower one. Angles in radians, lengths in metres.
    """

    position: tuple[float, float, float]
    yaw: float
    pitch: float
    rate: float
    phase: float
    turn: tuple[float, float]
    drift: tuple[float, float, float]
    roll: tuple[float, float]
    sway: tuple[float, float, float]
    sense: int

    def pose(self, t: float) -> Pose:
        """The pose at `t` seconds."""
        a = self.rate * t * self.sense + self.phase
        slow = 0.31 * self.rate * t + self.drift[2]
        yaw = self.yaw + self.turn[0] * np.cos(a) + self.drift[0] * np.sin(slow)
        pitch = self.pitch + self.turn[1] * np.sin(a) + self.drift[1] * np.cos(slow)
        roll = self.roll[0] + self.roll[1] * np.sin(0.57 * a + 1.0)
        forward = np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw),
                            -np.sin(pitch)])
        right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
        down = np.cross(forward, right)
        c, s = np.cos(roll), np.sin(roll)
        rotation = np.stack([c * right + s * down, c * down - s * right, forward], 1)
        # The body sways with the head: to the side as it pans, a little nearer as it nods.
        level = np.array([np.cos(self.yaw), np.sin(self.yaw), 0.0])
        side = np.array([level[1], -level[0], 0.0])
        sway = (self.sway[0] * np.sin(0.43 * a + 0.5) * side
                + self.sway[1] * np.sin(0.36 * a + 2.0) * level
                + self.sway[2] * np.sin(0.5 * a + 4.0) * np.array([0, 0, 1.0]))
        return Pose(np.array(self.position) + sway, rotation)


def image_motion(path: CameraPath, points: np.ndarray, pinhole: Pinhole, times: np.ndarray
                 ) -> np.ndarray:
    """Median motion in pixels of static world points [n,3] between consecutive `times`: [t-1]."""
    pixels = np.stack([pinhole.project(path.pose(t).to_camera(points)) for t in times])
    return np.median(np.linalg.norm(np.diff(pixels, axis=0), axis=2), axis=1)


def sample_path(rng: np.random.Generator, contract: Contract, seconds: float) -> CameraPath:
    """A path whose image motion holds the contract's speeds over `seconds`; may take some draws."""
    pinhole, limits = Pinhole.of(contract), contract.camera
    fast = rng.random() < limits['fast_share']
    grid = np.array([(x, y, 0.04) for x in (-.3, 0, .3) for y in (-.25, 0, .25)])
    times = np.arange(0, seconds + 1e-6, 1 / contract.rate_hz)
    while True:
        aim = rng.uniform(*(limits['fast'] if fast else limits['calm']))
        elevation = np.radians(rng.uniform(24, 50))
        distance = rng.uniform(0.62, 1.12)
        azimuth = np.radians(90 + rng.uniform(-55, 55))
        target = np.array([rng.uniform(-.16, .16), rng.uniform(-.14, .10), 0.02])
        back = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation),
                         -np.sin(elevation)])
        turn = np.radians(rng.uniform(4.5, 8.0)) * (1.35 if fast else 1.0)
        path = CameraPath(
            position=tuple(target - distance * back), yaw=azimuth, pitch=elevation, rate=1.0,
            phase=rng.uniform(0, 2 * np.pi), turn=(turn * rng.uniform(1, 1.25),
                                                   turn * rng.uniform(.62, .85)),
            drift=(np.radians(rng.uniform(0, 4)), np.radians(rng.uniform(0, 2)),
                   rng.uniform(0, 2 * np.pi)),
            roll=(np.radians(rng.uniform(-3, 3)), np.radians(rng.uniform(1, 4.5))),
            sway=(rng.uniform(.02, .07), rng.uniform(.01, .04), rng.uniform(.005, .025)),
            sense=int(rng.choice((-1, 1))))
        for _ in range(3):
            speed = image_motion(path, grid, pinhole, times).mean()
            path = replace(path, rate=float(np.clip(path.rate * aim / max(speed, 1e-3), .2, 9)))
        speeds = image_motion(path, grid, pinhole, times)
        low, high = limits['speed']
        if np.quantile(speeds, .03) >= low and np.quantile(speeds, .97) <= high:
            return path
