# SPDX-License-Identifier: Apache-2.0
"""A process for tests: writes its id to the file it is given, then waits, or ends with a status.

    python -m child FILE [stubborn | STATUS]
"""

import os
import signal
import sys
import time
from pathlib import Path

what = sys.argv[2] if len(sys.argv) > 2 else ''
if what == 'stubborn':
    signal.signal(signal.SIGINT, signal.SIG_IGN)
Path(sys.argv[1]).write_text(str(os.getpid()))
if what.isdigit():
    sys.exit(int(what))
try:
    time.sleep(600)
except KeyboardInterrupt:
    sys.exit(0)
