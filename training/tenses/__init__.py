# SPDX-License-Identifier: Apache-2.0
"""Questions about what was, what is and what will be, in long scenes of the small world."""
