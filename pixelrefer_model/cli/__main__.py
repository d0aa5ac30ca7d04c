# SPDX-License-Identifier: Apache-2.0
"""`python -m pixelrefer_model.cli`, which needs no installed command."""

import sys

from pixelrefer_model.cli.main import main

if __name__ == '__main__':
    sys.exit(main())
