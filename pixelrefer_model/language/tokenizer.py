# SPDX-License-Identifier: Apache-2.0
"""Byte-level BPE of Qwen2 with the tokens that PixelRefer adds, read from local files only."""

import json
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from pixelrefer_model.errors import PixelReferError

IM_START, IM_END, REGION, IMAGE = '<|im_start|>', '<|im_end|>', '<REGION>', '<image>'
#: How Qwen2 cuts text into words before it merges bytes.
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")


class Tokenizer:
    """Text to ids and ids to bytes. `text` is always tokenised whole, as the prompts need it.

    Raises PixelReferError CHECKPOINT where `<REGION>` or `<|im_end|>` is not a token.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self.backend = backend
        backend.no_padding()
        backend.no_truncation()
        #: id -> text of every added token; none may occur in a user's text.
        self.added = {i: t.content for i, t in backend.get_added_tokens_decoder().items()}
        self._special = {i for i, t in backend.get_added_tokens_decoder().items() if t.special}
        self.region_id = self._id(REGION)
        self.end_id = self._id(IM_END)
        self._byte = {char: byte for byte, char in _byte_alphabet().items()}

    @staticmethod
    def is_in(folder: str | Path) -> bool:
        """Whether a checkpoint folder has tokenizer files."""
        folder = Path(folder)
        return (folder / 'tokenizer.json').is_file() or (folder / 'vocab.json').is_file()

    @classmethod
    def from_folder(cls, folder: str | Path) -> 'Tokenizer':
        """From tokenizer.json, or from vocab.json, merges.txt and the added tokens beside them.

        Raises PixelReferError CHECKPOINT naming the file and the reason.
        """
        folder = Path(folder)
        file = folder / 'tokenizer.json'
        try:
            if file.is_file():
                return cls(tokenizers.Tokenizer.from_file(str(file)))
            file = folder / 'vocab.json'
            return cls(_from_vocabulary(folder))
        except PixelReferError as error:
            raise PixelReferError('CHECKPOINT', f'{file}: {error.message}') from None
        except FileNotFoundError as error:
            raise PixelReferError(
                'CHECKPOINT', f'{error.filename or file}: there is no such file') from None
        except Exception as error:  # the tokenizers library raises plain Exception
            raise PixelReferError('CHECKPOINT', f'{file}: no readable tokenizer: {error}') from None

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json and a tokenizer_config.json for it."""
        folder = Path(folder)
        self.backend.save(str(folder / 'tokenizer.json'))
        values = {'tokenizer_class': 'Qwen2Tokenizer', 'eos_token': IM_END,
                  'pad_token': '<|endoftext|>', 'padding_side': 'right',
                  'clean_up_tokenization_spaces': False, 'add_prefix_space': False}
        (folder / 'tokenizer_config.json').write_text(
            json.dumps(values, indent=2) + '\n', encoding='utf-8')

    def __len__(self) -> int:
        return self.backend.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str) -> list[int]:
        """Ids of a rendered prompt; special tokens in it become their ids, none is added."""
        return self.backend.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        """Text of ids, special tokens left out, broken UTF-8 as U+FFFD."""
        return b''.join(map(self.bytes_of, ids)).decode('utf-8', errors='replace')

    def bytes_of(self, token_id: int) -> bytes:
        """UTF-8 bytes (maybe part of a character) that a token stands for; b'' for special ones."""
        if token_id in self._special:
            return b''
        if token_id in self.added:
            return self.added[token_id].encode()
        token = self.backend.id_to_token(token_id)
        return b'' if token is None else bytes(self._byte[char] for char in token)

    def _id(self, token: str) -> int:
        number = self.backend.token_to_id(token)
        if number is None or number not in self.added:
            raise PixelReferError('CHECKPOINT', f'the tokenizer has no token {token}')
        return number


def _from_vocabulary(folder: Path) -> tokenizers.Tokenizer:
    """The files of the slow tokenizer class, which training saves."""
    vocabulary = json.loads((folder / 'vocab.json').read_text(encoding='utf-8'))
    lines = (folder / 'merges.txt').read_text(encoding='utf-8').splitlines()
    merges = [tuple(line.split(' ')) for line in lines
              if line and not line.startswith('#version')]
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, merges))
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior='isolated'),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    backend.decoder = decoders.ByteLevel()
    config = folder / 'tokenizer_config.json'
    stored = json.loads(config.read_text(encoding='utf-8')) if config.is_file() else {}
    if stored.get('added_tokens_decoder'):
        added = {int(i): (t['content'], t.get('special', True))
                 for i, t in stored['added_tokens_decoder'].items()}
    else:
        names = json.loads((folder / 'added_tokens.json').read_text(encoding='utf-8'))
        added = {number: (name, True) for name, number in names.items()}
    for number, (name, special) in sorted(added.items()):
        backend.add_tokens([AddedToken(name, special=special, normalized=False)])
        if backend.token_to_id(name) != number:
            raise PixelReferError('CHECKPOINT', f'{name} should be token {number}, which the '
                                                'vocabulary leaves no room for')
    return backend


def _byte_alphabet() -> dict[int, str]:
    """The printable character that stands for each byte in a byte-level vocabulary (GPT-2)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {**{byte: chr(byte) for byte in plain},
            **{byte: chr(256 + place) for place, byte in enumerate(rest)}}
