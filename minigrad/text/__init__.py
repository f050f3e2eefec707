"""Text: tokenizers that read Hugging Face's files, train and save; see :class:`Tokenizer`.

``Tokenizer.from_pretrained(folder)`` opens one; ``WordPieceTokenizer``, ``BytePairTokenizer`` and
``CharacterTokenizer`` make one; ``train_bpe`` learns one.
"""

from .batch import BatchEncoding
from .bpe import BytePairEncoding
from .building import BytePairTokenizer, WordPieceTokenizer
from .characters import CharacterTokenizer
from .library import LibraryTokenizer
from .pipeline import Pipeline
from .tokenizer import Tokenizer
from .training import train_bpe
from .unigram import Unigram
from .wordpiece import WordPiece

__all__ = [
    "BatchEncoding",
    "BytePairEncoding",
    "BytePairTokenizer",
    "CharacterTokenizer",
    "LibraryTokenizer",
    "Pipeline",
    "Tokenizer",
    "Unigram",
    "WordPiece",
    "WordPieceTokenizer",
    "train_bpe",
]
