# SPDX-License-Identifier: Apache-2.0
"""The small world: table-top scenes with known truth, seen from a moving camera."""

from training.world.contract import Contract
from training.world.render import Shot, World
from training.world.scene import ObjectSpec, ScenePlan

__all__ = ['Contract', 'ObjectSpec', 'ScenePlan', 'Shot', 'World']
