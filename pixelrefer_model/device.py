# SPDX-License-Identifier: Apache-2.0
"""What may happen on a device: it has no memory left."""

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of PyTorch says so; on the CPU it is a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and 'DefaultCPUAllocator' in str(error))
