# SPDX-License-Identifier: Apache-2.0
"""For every test: a SIGINT that reaches the processes which tests start."""

import signal

# A shell that starts the tests in the background has them ignore SIGINT, children included; then a
# test of what a Ctrl-C does would wait for ever. A handler here gives children the default again.
signal.signal(signal.SIGINT, signal.default_int_handler)
