# SPDX-License-Identifier: Apache-2.0
"""Training and measuring the tiny SAM 2 of the small world."""
