# SPDX-License-Identifier: Apache-2.0
"""The command line, `pixelrefer VERB`: one verb, one module, with `add` and `run`."""

from pixelrefer_model.cli.main import main

__all__ = ['main']
