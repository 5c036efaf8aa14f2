import shutil
from pathlib import Path

import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.text.tfds_source import TfdsSpec, parse_spec, texts, version

ARTICLES = [f"Article {number}: 한국 {'text ' * number}".strip() for number in range(300)]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A folder of prepared sets that holds `my_articles`, written as array_record."""
    import tensorflow_datasets as tfds

    class MyArticles(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        BUILDER_CONFIGS = (tfds.core.BuilderConfig(name="plain", version="1.0.0"),)

        def _info(self):
            text = tfds.features.Text()
            features = {"text": text, "title": text, "pages": np.int64, "parts": {"a": text}}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
            )

        def _split_generators(self, _):
            return {"train": self._generate_examples(300), "test": self._generate_examples(3)}

        def _generate_examples(self, count):
            for number in range(count):
                yield (
                    number,
                    {
                        "text": ARTICLES[number],
                        "title": f"Title {number}",
                        "pages": number,
                        "parts": {"a": "x"},
                    },
                )

    folder = tmp_path_factory.mktemp("tfds")
    builder = MyArticles(data_dir=folder, config="plain", file_format="array_record")
    builder.download_and_prepare()
    return folder


@pytest.fixture
def prepared(data_dir):
    return data_dir / "my_articles" / "plain" / "1.0.0"


def test_the_version_of_a_set_tells_its_name_and_sizes(prepared, tmp_path):
    before = version(f"tfds:{prepared}")
    assert before.startswith("my_articles/plain/1.0.0\n")
    assert before == version(f"tfds:{prepared}@test#title")
    changed = shutil.copytree(prepared, tmp_path / "my_articles" / "plain" / "1.0.0")
    info = changed / "dataset_info.json"
    info.write_text(info.read_text().replace('"300"', '"299"'))
    assert version(f"tfds:{changed}") != before


@pytest.mark.parametrize(
    ("spec", "parsed"),
    [
        ("tfds:ag_news", TfdsSpec("ag_news", "train", "text")),
        ("tfds:wikipedia/20230601.ko", TfdsSpec("wikipedia/20230601.ko", "train", "text")),
        ("tfds:glue/sst2:2.0.0@test#sentence", TfdsSpec("glue/sst2:2.0.0", "test", "sentence")),
        ("tfds:/data/a@b/set/1.0.0@train[:10%]", TfdsSpec("/data/a@b/set/1.0.0", "train[:10%]")),
    ],
)
def test_a_name_is_taken_apart(spec, parsed):
    assert parse_spec(spec) == parsed


@pytest.mark.parametrize("spec", ["tfds:gs://bucket/set/1.0.0@test", "tfds:gs://bucket@test"])
def test_the_slashes_of_a_bucket_survive_a_path(spec):
    expected = TfdsSpec(spec.removeprefix("tfds:").removesuffix("@test"), "test")
    assert expected.is_folder
    assert parse_spec(spec) == parse_spec(str(Path(spec))) == expected


@pytest.mark.parametrize("spec", ["tfds:", "tfds:x@", "tfds:x#", "tfds:@train"])
def test_a_name_without_a_set_is_refused(spec):
    with pytest.raises(UserError, match=r"write tfds:NAME"):
        parse_spec(spec)


def test_texts_of_a_folder_come_in_order(prepared):
    assert list(texts(f"tfds:{prepared}")) == ARTICLES


def test_split_and_field_are_chosen(prepared):
    assert list(texts(f"tfds:{prepared}@test#title")) == ["Title 0", "Title 1", "Title 2"]


def test_a_slice_of_a_split(prepared):
    assert list(texts(f"tfds:{prepared}@train[10:12]")) == ARTICLES[10:12]


def test_a_name_is_looked_up_in_the_data_dir(data_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
    assert list(texts("tfds:my_articles/plain:1.0.0@test")) == ARTICLES[:3]


@pytest.mark.parametrize(
    ("suffix", "message"),
    [
        ("@nowhere", "no split 'nowhere'; there are test, train"),
        ("#body", "no text field 'body'; there are text, title"),
        ("#pages", "no text field 'pages'; there are text, title"),
        ("@train[x:y]", "cannot read split"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(prepared, suffix, message):
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        texts(f"tfds:{prepared}{suffix}")


def test_an_unprepared_beam_set_is_refused_with_the_command_that_prepares_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    command = "tfds build wikipedia/20230601.en --file_format=array_record"
    with pytest.raises(UserError, match=command):
        texts("tfds:wikipedia/20230601.en")


def test_a_set_of_tfrecords_is_refused_with_the_command_that_converts_it(prepared, tmp_path):
    copy = shutil.copytree(prepared, tmp_path / "1.0.0")
    info = copy / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    command = f"tfds convert_format --dataset_version_dir={copy} --out_file_format=array_record"
    with pytest.raises(UserError, match=command):
        texts(f"tfds:{copy}")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tfds:no_such_set_at_all", "Dataset no_such_set_at_all not found"),
        ("tfds:wikipedia/no_such_config", "no_such_config not found"),
        ("tfds:/no/such/folder", "not a prepared set"),
        ("tfds:ftp://host/set", "ftp://host/set: there is no such kind of storage"),
    ],
)
def test_an_unknown_set_is_one_line(spec, message):
    with pytest.raises(UserError, match=message) as caught:
        texts(spec)
    assert "\n" not in str(caught.value)
