# SPDX-License-Identifier: Apache-2.0
"""Names of checkpoints on the Hugging Face hub, and their short forms."""

import re

from pixelrefer_model.errors import PixelReferError

#: The released checkpoints by what they are for. Any other `owner/name` may be downloaded as well.
RELEASED = {
    'tracker': tuple(f'facebook/sam2.1-hiera-{size}'
                     for size in ('tiny', 'small', 'base-plus', 'large')),
    'refer': tuple(f'Alibaba-DAMO-Academy/{name}' for name in (
        'PixelRefer-Lite-2B', 'PixelRefer-Lite-7B', 'PixelRefer-2B', 'PixelRefer-7B')),
    'detector': ('IDEA-Research/grounding-dino-tiny', 'IDEA-Research/grounding-dino-base',
                 'google/owlv2-base-patch16-ensemble', 'google/owlv2-large-patch14-ensemble'),
}
#: An owner and a name as the hub allows them: a folder of the store is made of them.
_ID = re.compile(r'(?!.*(\.\.|--))[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}', re.ASCII)
_SHORT = {name.split('/')[1].lower(): name for names in RELEASED.values() for name in names}


def is_id(name: str) -> bool:
    """Whether a name has the form `owner/name`."""
    return _ID.fullmatch(name) is not None


def full_name(name: str) -> str:
    """`owner/name` of a name or of a short form, the case of which does not matter.

    Raises PixelReferError CHECKPOINT for anything else, with the short forms there are.
    """
    known = _SHORT.get(name.lower().rsplit('/', 1)[-1])
    if known is not None and name.lower() in (known.lower(), known.split('/')[1].lower()):
        return known
    if is_id(name):
        return name
    short = ', '.join(known.split('/')[1] for known in _SHORT.values())
    raise PixelReferError(
        'CHECKPOINT', f'{name!r} is no name of a checkpoint; {short} or owner/name are allowed')
