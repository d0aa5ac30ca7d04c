# SPDX-License-Identifier: Apache-2.0
"""Where objects are and how they lie to one another, from masks and registered depth."""

from pixelrefer_model.geometry.placing import Pinhole, Placed, locate
from pixelrefer_model.geometry.relating import Measured, measure
from pixelrefer_model.geometry.telling import tell

__all__ = ['Measured', 'Pinhole', 'Placed', 'locate', 'measure', 'tell']
