"""What a DATA folder says of itself."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from bertjax.text.prepare_state import FORMAT_VERSION, PrepareSettings, recorded
from bertjax.text.token_counts import TokenCounts
from bertjax.text.tokenizer import Tokenizer

_LONG = 1_000_000  # tokens: more than any book; a window of training data is made of several


def make_manifest(
    settings: PrepareSettings,
    scanned: Sequence[dict[str, Any]],
    fingerprints: Sequence[str],
    chunks: Sequence[dict[str, Any]],
    splits: dict[str, dict[str, Any]],
    duplicate_documents: int,
    tokenizer: Tokenizer,
) -> dict[str, Any]:
    """The manifest of a DATA folder.

    Args:
        settings: what it was made from.
        scanned: what the first pass counted, per source.
        fingerprints: of the sources.
        chunks: what tokenizing counted, per chunk.
        splits: the entries that `merge_split` gave.
        duplicate_documents: how many were dropped.
        tokenizer: the tokenizer beside it.
    """
    sources = [
        {
            **source,
            "fingerprint": fingerprints[place],
            **_source_counts([c for c in chunks if c["source"] == place], tokenizer),
        }
        for place, source in enumerate(scanned)
    ]
    tokens = {split: entry["tokens"] for split, entry in splits.items()}
    return {
        **content_entries(splits, tokenizer),
        "settings": recorded(settings),
        "sources": sources,
        "dropped": {
            "duplicate_documents": duplicate_documents,
            "repeated_lines": sum(chunk["lines_dropped"] for chunk in chunks),
        },
        "validation_share": tokens["validation"] / sum(tokens.values()),
    }


def content_entries(splits: dict[str, dict[str, Any]], tokenizer: Tokenizer) -> dict[str, Any]:
    """What every reader needs, and the digest over it that identifies DATA."""
    content = {
        "format_version": FORMAT_VERSION,
        "tokenizer": {
            "kind": tokenizer.kind,
            "vocab_size": tokenizer.vocab_size,
            "digest": tokenizer.digest,
            "cased": tokenizer.cased,
        },
        "splits": splits,
    }
    return {**content, "digest": hashlib.sha256(json.dumps(content).encode()).hexdigest()}


def _source_counts(chunks: Sequence[dict[str, Any]], tokenizer: Tokenizer) -> dict[str, Any]:
    """A source's sentences and tokens, and how well the vocabulary fits it."""
    fit = TokenCounts.empty(tokenizer.vocab_size)
    for chunk in chunks:
        fit.merge(TokenCounts.from_json(chunk["token_counts"]))
    sentences = sum(chunk["sentences"] for chunk in chunks)
    return {"sentences": sentences, "tokens": fit.tokens, "vocabulary": fit.summary()}


def describe(manifest: dict[str, Any]) -> str:
    """The manifest in a few lines, for people."""
    tokenizer, dropped = manifest["tokenizer"], manifest["dropped"]
    lines = [
        f"{tokenizer['kind']}, {tokenizer['vocab_size']:,} pieces, "
        f"{'cased' if tokenizer['cased'] else 'uncased'}"
    ]
    for source in manifest["sources"]:
        fit = source["vocabulary"]
        lines += [
            f"{source['spec']} ({source['mode']}): {source['documents']:,} documents, "
            f"{source['sentences']:,} sentences, {source['tokens']:,} tokens",
            f"  {fit['pieces_used']:,} pieces used, {fit['unknown_rate']:.3%} unknown, "
            f"{fit['tokens_per_word']:.2f} tokens per word, "
            f"{fit['tokens_per_character']:.3f} per character",
        ]
        if source["tokens"] > _LONG * source["documents"]:
            lines.append(
                f"  {source['tokens'] // source['documents']:,} tokens a document: should these be "
                "several? (in plain text a blank line ends one)"
            )
    lines.append(
        f"dropped: {dropped['duplicate_documents']:,} duplicate documents, "
        f"{dropped['repeated_lines']:,} repeated lines"
    )
    for name, split in manifest["splits"].items():
        lines.append(f"{name}: {split['documents']:,} documents, {split['tokens']:,} tokens")
        if not split["documents"] and manifest["settings"]["validation"]:
            lines.append(
                "  no document fell to it, and a model without it is not evaluated: prepare again "
                "with another --validation"
            )
    return "\n".join(lines)
