"""A corpus tokenized as it is, for measuring a model on it: nothing is dropped or reordered."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bertjax.errors import UserError
from bertjax.files import sha256_of
from bertjax.progress import Progress
from bertjax.text.chunks import document_sentences, encode_sentences, tokenized_document
from bertjax.text.corpus import open_source, read_documents, sentence_mode
from bertjax.text.manifest import content_entries
from bertjax.text.merge import WRITER_OPTIONS
from bertjax.text.prepare_state import save_array, write_json
from bertjax.text.records import TokenizedDocument, encode_document
from bertjax.text.tokenizer import Tokenizer

_TOLD_UNKNOWN = 0.01  # share of the tokens; of text in the vocabulary's language a tenth of that


def tokenize_corpus(spec: str, tokenizer: Tokenizer, folder: Path) -> dict[str, Any]:
    """Writes every document of a source, in order, as the validation split of a DATA folder.

    Args:
        spec: as for `--corpus`.
        tokenizer: the model's own; it is not copied into the folder.
        folder: where to write; about half the text's size.

    Returns:
        The manifest.

    Raises:
        UserError: the source cannot be read, or no token is in it.
    """
    from array_record.python.array_record_module import ArrayRecordWriter

    file = Path(folder, "validation", "00000-of-00001.array_record")
    file.parent.mkdir(parents=True)
    writer = ArrayRecordWriter(str(file), WRITER_OPTIONS)
    tokens, sentence_count, unknown = [], 0, 0
    with Progress("reading", unit="document") as progress:
        for document in _documents(spec, tokenizer):
            writer.write(encode_document(document))
            tokens.append(document.token_ids.size)
            sentence_count += document.sentence_lengths.size
            unknown += np.count_nonzero(document.token_ids == tokenizer.unknown_id)
            progress.update(len(tokens))
        writer.close()
        if not tokens:
            raise UserError(f"--corpus {spec}: holds no text")
        if (share := unknown / sum(tokens)) > _TOLD_UNKNOWN:
            progress.write(
                f"bertjax: {share:.1%} of this text is unknown to the model's tokenizer; the "
                "figures are of the rest, which may be easy to guess"
            )
    save_array(file.with_name("token_counts.npy"), np.array(tokens, np.uint32))
    shard = {
        "file": f"validation/{file.name}",
        "documents": len(tokens),
        "sha256": sha256_of(file),
    }
    split = {
        "documents": len(tokens),
        "sentences": sentence_count,
        "tokens": sum(tokens),
        "shards": [shard],
    }
    manifest = content_entries({"validation": split}, tokenizer)
    write_json(Path(folder, "manifest.json"), manifest)
    return manifest


def _documents(spec: str, tokenizer: Tokenizer) -> Iterator[TokenizedDocument]:
    source = open_source(spec)
    mode = sentence_mode(source, "auto")
    for lines in read_documents(source):
        for sentences in document_sentences(lines, mode):
            rows = encode_sentences(sentences, tokenizer)
            document = tokenized_document(rows, tokenizer.vocab_size)
            if document.token_ids.size:
                yield document
