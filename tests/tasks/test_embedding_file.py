"""A text file's lines to a .npy file."""

import gzip
import io
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.errors import UserError
from bertjax.tasks.embedding import MEAN, Embedded, EmbeddingSettings, embed_all
from bertjax.tasks.embedding_file import check_files, embed_file, write_rows
from tests.tasks.small_bert import CONFIG, PARAMS, TOKENIZER, sentences

TEXTS = sentences([4, 9, 0, 30, 2])


def run(source, output, settings=MEAN):
    lines = check_files(source, output)
    return embed_file(PARAMS, CONFIG, TOKENIZER, source, output, settings, lines)


def in_memory(texts):
    return embed_all(PARAMS, CONFIG, TOKENIZER, texts, MEAN).vectors


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "lines.txt"
    file.write_text("".join(text + "\n" for text in TEXTS))
    return file


def test_every_line_has_its_row_blank_ones_too(source, tmp_path):
    figures = run(source, tmp_path / "out.npy")
    found = np.load(tmp_path / "out.npy", mmap_mode="r")
    assert (found.dtype, found.shape) == (np.float32, (5, 36))
    np.testing.assert_array_equal(found, in_memory(TEXTS))
    assert figures["sentences"] == 5
    assert figures["cut"] == 0
    assert figures["sentences_per_second"] == pytest.approx(5 / figures["seconds"])


def test_a_last_line_without_its_end_counts(source, tmp_path):
    source.write_text("bab\nkod")
    run(source, tmp_path / "out.npy")
    assert np.load(tmp_path / "out.npy").shape == (2, 36)


def test_lines_that_are_too_long_are_cut_and_counted(source, tmp_path):
    figures = run(source, tmp_path / "out.npy", EmbeddingSettings(max_length=6))
    assert figures["cut"] == 2


def test_compressed_text_is_read_as_it_is(source, tmp_path):
    packed = tmp_path / "lines.txt.gz"
    packed.write_bytes(gzip.compress(source.read_bytes()))
    run(packed, tmp_path / "out.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), in_memory(TEXTS))


def test_a_pipe_is_read_once_its_number_of_lines_unknown(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("bab\nkod\n",))
    writer.start()
    assert check_files(pipe, tmp_path / "out.npy") is None
    embed_file(PARAMS, CONFIG, TOKENIZER, pipe, tmp_path / "out.npy", MEAN)
    writer.join()
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), in_memory(["bab", "kod"]))


def test_an_empty_file_gives_an_array_without_rows(source, tmp_path):
    source.write_text("")
    assert run(source, tmp_path / "out.npy")["sentences"] == 0
    assert np.load(tmp_path / "out.npy").shape == (0, 36)


@given(st.lists(st.integers(0, 400), max_size=6), st.integers(1, 5))
def test_the_header_tells_the_rows_however_they_came(parts, width):
    blocks = [np.full((rows, width), rows, np.float32) for rows in parts]
    file = io.BytesIO()
    assert write_rows(file, (Embedded(block, 1) for block in blocks), width) == (
        sum(parts),
        len(parts),
    )
    file.seek(0)
    expected = np.concatenate([np.zeros((0, width), np.float32), *blocks])
    np.testing.assert_array_equal(np.load(file), expected)


def test_an_output_that_exists_is_replaced(source, tmp_path):
    output = tmp_path / "out.npy"
    output.write_bytes(b"old")
    run(source, output)
    assert np.load(output).shape == (5, 36)


def test_what_a_link_leads_to_is_replaced_and_the_link_stays(source, tmp_path):
    (tmp_path / "inner").mkdir()
    target, output = tmp_path / "inner" / "target.npy", tmp_path / "out.npy"
    target.write_bytes(b"old")
    output.symlink_to(target)
    run(source, output)
    assert output.is_symlink()
    assert np.load(target).shape == (5, 36)


@pytest.mark.parametrize("linked", [False, True])
def test_an_output_that_is_a_pipe_or_a_device_is_refused_and_stays(linked, source, tmp_path):
    output = pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    if linked:
        output = tmp_path / "out.npy"
        output.symlink_to(pipe)
    with pytest.raises(UserError, match="is no regular file"):
        check_files(source, output)
    assert pipe.is_fifo()


def test_a_failure_on_the_way_leaves_the_old_output_and_nothing_else(source, tmp_path):
    output = tmp_path / "out.npy"
    output.write_bytes(b"old")
    source.write_bytes(b"bab\n\xff\n")
    with pytest.raises(UserError, match="not UTF-8 text"):
        embed_file(PARAMS, CONFIG, TOKENIZER, source, output, MEAN)
    assert output.read_bytes() == b"old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["lines.txt", "out.npy"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_one_line(source, tmp_path, monkeypatch):
    def full(path, write):
        write(type(path)("/dev/full"))

    monkeypatch.setattr("bertjax.files.write_whole", full)
    with pytest.raises(UserError, match=r"out.npy: cannot be written \(No space left"):
        run(source, tmp_path / "out.npy")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"bab\n\xff\xfe\n", "not UTF-8 text (bad byte 0xff at offset 4)"),
        (b"bab\0\n", "a binary file"),
        (b"a" * (5 << 20), "line 1 is longer than 4 MiB"),
    ],
)
def test_input_that_is_no_text_is_told_before_the_work(content, message, source, tmp_path):
    source.write_bytes(content)
    with pytest.raises(UserError) as caught:
        check_files(source, tmp_path / "out.npy")
    assert str(caught.value).startswith(f"{source}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("nowhere.txt", "out.npy"), "nowhere.txt: cannot be read (No such file"),
        ((".", "out.npy"), "cannot be read (Is a directory)"),
        (("lines.txt", "nowhere/out.npy"), "nowhere that can be written to"),
        (("lines.txt", "."), "is a folder; give the name of a file"),
        (("lines.txt", "lines.txt"), "is the input too; give another name"),
    ],
)
@pytest.mark.usefixtures("source")
def test_files_that_cannot_be_used_are_refused_at_once(names, message, tmp_path):
    with pytest.raises(UserError) as caught:
        check_files(*(tmp_path / name for name in names))
    assert message in str(caught.value)


MEASURE = """
import resource, sys
from pathlib import Path
import jax
from bertjax.config import ModelConfig
from bertjax.model import bert
from bertjax.tasks.embedding import MEAN
from bertjax.tasks.embedding_file import embed_file
from tests.tasks.small_bert import TOKENIZER
config = ModelConfig(num_layers=1, hidden_size=512, num_heads=1, intermediate_size=8,
                     vocab_size=TOKENIZER.vocab_size, max_length=64)
params = bert.init_params(config, jax.random.key(0))
embed_file(params, config, TOKENIZER, Path(sys.argv[1]), Path(sys.argv[2]), MEAN)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.process
@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_lines(tmp_path):
    def peak_mib(lines):
        source = tmp_path / "lines.txt"
        source.write_text("bab kod\n" * lines)
        command = [sys.executable, "-c", MEASURE, str(source), str(tmp_path / "out.npy")]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        assert (tmp_path / "out.npy").stat().st_size > lines * 2048
        return float(found.stdout)

    assert peak_mib(50_000) - peak_mib(10_000) < 50  # the rows in between are 78 MiB


@pytest.mark.process
@pytest.mark.slow
def test_a_signal_ends_embedding_while_it_waits_for_a_pipe(small_run, tmp_path):
    command = [sys.executable, "-m", "bertjax", "embed", small_run / "run"]
    command += ["--input", "/dev/stdin", "--output", tmp_path / "out.npy"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(b"a first line\n")
        process.stdin.flush()
        while not list(tmp_path.glob("out.npy*")):
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        assert process.wait(timeout=60) == 143
        assert b"Traceback" not in process.stderr.read()
    assert list(tmp_path.iterdir()) == []
