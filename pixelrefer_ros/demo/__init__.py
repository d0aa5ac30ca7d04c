# SPDX-License-Identifier: Apache-2.0
"""The demo: a recorded scene, a node that watches it, and a planner that asks about it."""
