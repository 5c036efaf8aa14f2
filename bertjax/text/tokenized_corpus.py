"""A corpus tokenized into memory, for measuring a model on it: nothing is dropped or reordered."""

from collections.abc import Sequence

import numpy as np

from bertjax.errors import UserError
from bertjax.text.chunks import document_sentences, encode_sentences, tokenized_document
from bertjax.text.corpus import open_source, read_documents, sentence_mode
from bertjax.text.records import TokenizedDocument
from bertjax.text.tokenizer import Tokenizer


class TokenizedCorpus:
    """Documents in memory, read as those of a DATA folder are.

    Attributes:
        token_counts: uint32 [documents], tokens of each.
    """

    def __init__(self, documents: Sequence[TokenizedDocument]) -> None:
        self._documents = documents
        counts = [document.token_ids.size for document in documents]
        self.token_counts = np.array(counts, np.uint32)

    def read(self, indices: Sequence[int]) -> list[TokenizedDocument]:
        """The documents of these numbers, in their order."""
        return [self._documents[index] for index in indices]


def tokenize_corpus(spec: str, tokenizer: Tokenizer, sentences: str = "auto") -> TokenizedCorpus:
    """Tokenizes every document of a source, in order; takes about half the text's size in memory.

    Args:
        spec: as for `--corpus`.
        tokenizer: the model's own.
        sentences: "lines", "split" or "auto".

    Raises:
        UserError: the source cannot be read, or no token is in it.
    """
    source = open_source(spec)
    mode = sentence_mode(source, sentences)
    documents = [
        tokenized_document(encode_sentences(part, tokenizer), tokenizer.vocab_size)
        for lines in read_documents(source)
        for part in document_sentences(lines, mode)
    ]
    documents = [document for document in documents if document.token_ids.size]
    if not documents:
        raise UserError(f"--corpus {spec}: holds no text")
    return TokenizedCorpus(documents)
