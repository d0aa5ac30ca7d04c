# SPDX-License-Identifier: Apache-2.0
"""Which tests are skipped, and that it is no more and no fewer than what is missing here explains.

A skip is easily taken for a pass: one test that is skipped for a reason nobody thought of would stay
unseen. So every test that may be skipped is listed in expected_skips.txt, with what it needs.
"""

import shutil
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

LIST = Path(__file__).with_name('expected_skips.txt')


def _muon() -> bool:
    import torch
    return hasattr(torch.optim, 'Muon')


def _browser() -> bool:
    sys.path.append(str(LIST.with_name('ros')))
    try:
        from headless import find_browser
    except ImportError:  # without aiohttp it cannot be driven either
        return False
    finally:
        sys.path.pop()
    return find_browser() is not None


def _shared_memory() -> bool:
    return Path('/dev/shm').exists() and shutil.disk_usage('/dev/shm').free >= 1 << 30


def _mount() -> bool:
    sys.path.append(str(LIST.with_name('memory')))
    try:
        from small_disk import may_mount
    finally:
        sys.path.pop()
    return may_mount()


#: What tests need that is no package to import.
OTHER_NEEDS: dict[str, Callable[[], bool]] = {
    'linux': lambda: sys.platform == 'linux',
    'git-checkout': lambda: (LIST.parents[1] / '.git').exists(),
    'torch-2.9': _muon,
    'browser': _browser,
    'shared-memory': _shared_memory,
    'mount': _mount,
}


def is_here(need: str) -> bool:
    """Whether a package can be imported, or a need of OTHER_NEEDS is met."""
    if need in OTHER_NEEDS:
        return OTHER_NEEDS[need]()
    return find_spec(need) is not None


def listed(path: Path = LIST) -> dict[str, tuple[str, ...]]:
    """What each test of the list needs, by its id; one without parameters stands for all of them, a
    file for all of its tests. Raises ValueError for a line that is not an id and at least one need,
    or an id that comes twice."""
    found: dict[str, tuple[str, ...]] = {}
    for line in path.read_text().splitlines():
        words = line.partition('#')[0].split()
        if not words:
            continue
        if len(words) < 2 or words[0] in found:
            raise ValueError(f'{path.name}: {line!r}')
        found[words[0]] = tuple(words[1:])
    return found


def mistakes(skipped: Mapping[str, bool], expected: Mapping[str, tuple[str, ...]],
             here: Callable[[str], bool] = is_here) -> list[str]:
    """What is wrong with a run, in sentences. skipped: of each test (or file) that was run, whether
    it was skipped."""
    found = []
    for test, was in sorted(skipped.items()):
        plain = test.partition('[')[0]
        needs = next((expected[name] for name in (test, plain, plain.partition('::')[0])
                      if name in expected), None)
        if needs is None:
            if was:
                found.append(f'{test} was skipped and is not in {LIST.name}')
            continue
        lacking = [need for need in needs if not here(need)]
        if was and not lacking:
            found.append(f'{test} was skipped although {", ".join(needs)} is here')
        elif lacking and not was:
            found.append(f'{test} ran without {", ".join(lacking)}: it does not belong into '
                         f'{LIST.name}')
    return found
