# SPDX-License-Identifier: Apache-2.0
"""Values as the columns of the database hold them."""

import numpy as np
import torch

from pixelrefer_model.memory.observation import Whereabouts


def whereabouts(frame: str | None, x: float, y: float, z: float,
                covariance: bytes) -> Whereabouts | None:
    """A place out of its columns; None where there is none."""
    return None if frame is None else Whereabouts(
        frame, np.array([x, y, z]),
        np.frombuffer(covariance, np.float32).reshape(3, 3).astype(float))


def bytes_of(tokens: torch.Tensor) -> bytes:
    """The bytes of a contiguous tensor on the CPU, of any type."""
    return tokens.view(torch.uint8).numpy().tobytes()


def likeness_of(tokens: torch.Tensor) -> np.ndarray:
    """What tokens [K, D] are compared by: their mean, of length 1; float32 [D]."""
    mean = tokens.float().mean(0)
    return torch.nn.functional.normalize(mean, dim=0).numpy()


def halves(values: np.ndarray) -> bytes:
    """Numbers as float16 bytes."""
    return np.asarray(values, np.float16).tobytes()


def floats(values: np.ndarray) -> bytes:
    """Numbers as float32 bytes."""
    return np.asarray(values, np.float32).tobytes()
