"""A small corpus and the DATA folder made of it."""

from pathlib import Path

import pytest

from bertjax.text.prepare import prepare
from tests.text.corpora import made_up_documents, silent, small_settings, write_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text.txt", made_up_documents(60))


@pytest.fixture(scope="session")
def data(corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "deep" / "data"
    prepare(small_settings(corpus, folder), silent)
    return folder
