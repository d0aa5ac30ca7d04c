# SPDX-License-Identifier: Apache-2.0
"""The one exception: a code that a planner can act on and a sentence that it can show."""


class PixelReferError(Exception):
    """A request that cannot be served.

    `code` is the name of a constant of `pixelrefer/msg/ErrorCode` (for example `'BAD_BOX'`);
    `message` says what was wrong and what is allowed. Raised before anything was changed.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f'{code}: {message}')
        self.code = code
        self.message = message
