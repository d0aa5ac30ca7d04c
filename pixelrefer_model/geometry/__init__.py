# SPDX-License-Identifier: Apache-2.0
"""Where objects are and how they lie to one another, from masks and registered depth."""

from pixelrefer_model.geometry.placing import Pinhole, Placed, Surface, locate, surface
from pixelrefer_model.geometry.pose import Pose
from pixelrefer_model.geometry.relating import Measured, measure, measure_upright
from pixelrefer_model.geometry.telling import tell

__all__ = ['Measured', 'Pinhole', 'Placed', 'Pose', 'Surface', 'locate', 'measure',
           'measure_upright', 'surface', 'tell']
