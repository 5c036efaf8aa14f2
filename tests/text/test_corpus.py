"""Every kind of `--corpus` SPEC, and what is said about bad input."""

import gzip
import json
import lzma
import os
from pathlib import Path

import pytest
import zstandard

from bertjax.errors import UserError
from bertjax.text import corpus
from bertjax.text.corpus import open_source, read_documents, sentence_mode

TEXT = "One.\nTwo.\n\n\nThree.\n"
DOCUMENTS = [["One.", "Two."], ["Three."]]


def read(spec: object) -> list[list[str]]:
    return list(read_documents(open_source(str(spec))))


def compress(data: bytes, suffix: str) -> bytes:
    functions = {".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.compress}
    return functions[suffix](data)


def write(file: Path, content: str | bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def test_a_blank_line_separates_documents(tmp_path):
    assert read(write(tmp_path / "a.txt", TEXT)) == DOCUMENTS


def test_a_file_without_blank_lines_is_one_document(tmp_path):
    assert read(write(tmp_path / "a.txt", "One.\nTwo.")) == [["One.", "Two."]]


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_compressed_files_are_read(tmp_path, suffix):
    assert read(write(tmp_path / f"a.txt{suffix}", compress(TEXT.encode(), suffix))) == DOCUMENTS


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_compressed_files_may_be_several_joined(tmp_path, suffix):
    data = compress(b"One.\n", suffix) + compress(b"Two.\n", suffix)
    assert read(write(tmp_path / f"a.txt{suffix}", data)) == [["One.", "Two."]]


def test_files_in_a_folder_may_have_names_that_are_not_utf8(tmp_path):
    name = os.fsdecode("한.txt".encode("euc-kr"))
    write(tmp_path / "texts" / name, "One.\nTwo.")
    assert read(tmp_path / "texts") == [["One.", "Two."]]
    assert len(corpus.fingerprint(open_source(str(tmp_path / "texts")))) == 64
    with pytest.raises(UserError, match="a name that is not UTF-8; give its folder, or a glob"):
        open_source(str(tmp_path / "texts" / name))


def test_a_glob_reads_files_in_the_order_of_their_names(tmp_path):
    for name in ("b.txt", "a.txt", "c.md"):
        write(tmp_path / name, f"From {name}")
    assert read(tmp_path / "*.txt") == [["From a.txt"], ["From b.txt"]]


def test_a_folder_is_one_document_per_file_however_deep(tmp_path):
    write(tmp_path / "b.txt", TEXT)
    write(tmp_path / "a" / "deep.txt.gz", gzip.compress(b"Deep."))
    write(tmp_path / ".hidden", b"\xff")
    assert read(tmp_path) == [["One.", "Two.", "Three."], ["Deep."]]


def test_folders_behind_links_are_read_once(tmp_path):
    write(tmp_path / "elsewhere" / "a.txt", "Here.")
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "more").symlink_to(tmp_path / "elsewhere")
    (folder / "around").symlink_to(folder)
    assert read(folder) == [["Here."]]


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".zst"])
def test_json_lines_hold_a_document_in_their_text_field(tmp_path, suffix):
    rows = [{"text": "One.\n\nTwo.", "id": 1}, {"text": "Three."}]
    data = "\n".join(map(json.dumps, rows)).encode()
    file = write(tmp_path / f"a.jsonl{suffix}", compress(data, suffix) if suffix else data)
    assert read(file) == DOCUMENTS


def test_half_a_surrogate_pair_in_json_becomes_the_replacement_character(tmp_path):
    assert read(write(tmp_path / "a.jsonl", r'{"text": "a\ud800b 한"}')) == [["a\ufffdb 한"]]


def test_byte_order_mark_carriage_returns_and_outer_spaces_are_left_out(tmp_path):
    text = "\ufeff  One. \r\nTwo.\r\n \t \r\nThree.\r\n"
    assert read(write(tmp_path / "a.txt", text)) == DOCUMENTS


def test_a_document_is_cut_at_10000_lines(tmp_path):
    lines = [f"Line {number}." for number in range(20_001)]
    documents = read(write(tmp_path / "a.txt", "\n".join(lines)))
    assert [len(document) for document in documents] == [10_000, 10_000, 1]
    assert [line for document in documents for line in document] == lines


@pytest.mark.parametrize("text", ["ab " * 100, "가나다" * 50, "x" * 300])
def test_a_line_without_end_is_cut_between_characters_and_nothing_is_lost(
    tmp_path, monkeypatch, text
):
    monkeypatch.setattr(corpus, "_MAX_LINE_BYTES", 100)
    (lines,) = read(write(tmp_path / "a.txt", text))
    assert len(lines) > 1
    assert all(len(line.encode()) <= 100 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_a_long_document_is_cut_by_size_too(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "_MAX_DOCUMENT_BYTES", 50)
    documents = read(write(tmp_path / "a.txt", "twenty characters ok\n" * 6))
    assert [len(document) for document in documents] == [3, 3]


@pytest.mark.parametrize(
    ("lines", "mode"),
    [
        ([f"This is sentence number {n}, alone on its line." for n in range(50)], "lines"),
        (["It rained all day. The river rose. Nobody came to the door."] * 50, "split"),
    ],
)
def test_auto_tells_sentences_from_running_text(tmp_path, lines, mode):
    source = open_source(str(write(tmp_path / "a.txt", "\n".join(lines))))
    assert sentence_mode(source, "auto") == mode
    assert sentence_mode(source, "lines") == "lines"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"fine\n\xff\xfe bad", "line 2: .* .bad byte 0xff at offset 5."),
        ("가나".encode() + b"\n" + "다".encode()[:2], "line 2: .* .bad byte 0xeb at offset 7."),
        (b"fine\nPK\x00\x01", "line 2: a binary file .zero byte at offset 7."),
    ],
)
def test_a_file_that_is_no_text_is_named_with_the_line_and_the_offset(tmp_path, content, message):
    for suffix in ("", ".gz", ".xz", ".zst"):
        file = tmp_path / f"a.txt{suffix}"
        write(file, compress(content, suffix) if suffix else content)
        with pytest.raises(UserError, match=f"a.txt{suffix}: {message}"):
            read(file)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_a_file_that_is_not_compressed_as_its_name_says_is_named(tmp_path, suffix):
    file = write(tmp_path / f"a.txt{suffix}", "plain text")
    with pytest.raises(UserError, match=f"{file.name}: damaged or not a {suffix[1:]} file"):
        read(file)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_a_compressed_file_cut_short_is_named(tmp_path, suffix):
    file = write(tmp_path / f"a.txt{suffix}", compress(TEXT.encode() * 99, suffix)[:-6])
    with pytest.raises(UserError, match=f"{file.name}: damaged or not a {suffix[1:]} file"):
        read(file)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": ', "line 3: not valid JSON"),
        ('{"body": "x"}', 'line 3: no "text" field'),
        ('{"text": 5}', 'line 3: no "text" field'),
        ("[1]", 'line 3: no "text" field'),
        ("[" * 200_000, "line 3: not valid JSON"),
    ],
    ids=["cut short", "no text", "text that is a number", "a list", "nested too deeply"],
)
def test_a_bad_json_line_is_named(tmp_path, line, message):
    file = write(tmp_path / "a.jsonl", '{"text": "fine"}\n\n' + line + "\n")
    with pytest.raises(UserError, match=f"a.jsonl, {message}"):
        read(file)


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "A.JSONL", "a.jsonl.gz"])
def test_json_lines_are_known_by_any_of_their_suffixes_and_null_is_no_text(tmp_path, name):
    text = '{"text": "one"}\n{"text": null}\n{"text": ""}\n{"text": "two"}\n'
    content = compress(text.encode(), ".gz") if name.endswith(".gz") else text
    assert read(write(tmp_path / name, content)) == [["one"], ["two"]]


@pytest.mark.parametrize("times", [3, 20])  # with 3, more bytes than allowed, not characters
def test_a_line_within_a_json_text_is_cut_as_one_of_a_text_file_is(tmp_path, monkeypatch, times):
    monkeypatch.setattr(corpus, "_MAX_LINE_BYTES", 100)
    text = "한강이 서울을 지나 서해로 흐른다. " * times
    plain = read(write(tmp_path / "a.txt", text))
    assert len(plain[0]) > 1
    assert read(write(tmp_path / "a.jsonl", json.dumps({"text": text}))) == plain


def test_a_pipe_is_refused_for_it_can_be_read_only_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is no regular file, such as a pipe"):
        open_source(str(tmp_path / "pipe"))


def test_an_empty_spec_is_not_the_folder_one_stands_in():
    with pytest.raises(UserError, match="--corpus is empty"):
        open_source("")


def test_a_glob_of_pipes_alone_matches_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="no file matches"):
        open_source(str(tmp_path / "*"))


def test_json_that_is_no_json_lines_is_told_what_was_expected(tmp_path):
    for text in ('[{"text": "a"}]\n', '{\n  "text": "a"\n}\n'):
        with pytest.raises(UserError, match=r'expected {"text": "\.\.\."} on every line'):
            read(write(tmp_path / "a.json", text))


def test_a_glob_that_matches_folders_alone_says_so(tmp_path):
    (tmp_path / "inner").mkdir()
    with pytest.raises(UserError, match=r"only folders match; give one of them, or .*/\*/\*"):
        open_source(str(tmp_path / "*"))


@pytest.mark.parametrize(
    ("name", "message"),
    [("absent.txt", "no such file"), ("*.txt", "no file matches"), ("", "holds no files")],
)
def test_a_spec_that_names_nothing_is_refused(tmp_path, name, message):
    with pytest.raises(UserError, match=message):
        open_source(str(tmp_path / name))


def test_a_tfds_set_that_does_not_exist_is_refused():
    with pytest.raises(UserError, match="tfds:no_such_set"):
        read("tfds:no_such_set")


@pytest.mark.slow
def test_python_docs_are_documents_of_several_lines():
    documents = read("python-docs")
    assert sum(len(line) for lines in documents for line in lines) > 1_500_000
    assert max(map(len, documents)) > 10
