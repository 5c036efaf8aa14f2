import pytest

from bertjax.text.prepare import prepare
from tests.text.corpora import made_up_documents, silent, small_settings, write_corpus


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A DATA folder of 80 documents."""
    folder = tmp_path_factory.mktemp("data")
    corpus = write_corpus(folder / "text.txt", made_up_documents(80))
    prepare(small_settings(corpus, folder / "data"), silent)
    return folder / "data"
