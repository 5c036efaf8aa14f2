"""The runner of all tasks: what it is given wrongly, and what it has no data for."""

import pytest

from bertjax.config import load_config
from scripts.tasks import earlier_rows, main, with_fitting_length, write_tables


def refused(monkeypatch, capsys, init, data, output):
    monkeypatch.setattr("sys.argv", ["tasks", "--init", init, "--data", data, "--output", output])
    assert main() == 2
    return capsys.readouterr().err


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data" / "sst2"
    folder.mkdir(parents=True)
    for name in ("train.tsv", "dev.tsv"):
        (folder / name).write_text("sentence\tlabel\ngood\t1\nbad\t0\n")
    return str(folder.parent)


def test_a_checkpoint_that_is_not_there_is_told_in_one_line(monkeypatch, capsys, tmp_path, data):
    message = refused(monkeypatch, capsys, "nowhere", data, str(tmp_path / "out"))
    assert message == "tasks: no checkpoint at nowhere: no such folder\n"


def test_a_folder_without_any_task_is_told_in_one_line(monkeypatch, capsys, tmp_path):
    message = refused(monkeypatch, capsys, "nowhere", str(tmp_path), str(tmp_path / "out"))
    assert message == f"tasks: --data {tmp_path}: no task has data there\n"


def test_rows_of_the_same_checkpoint_and_settings_stay_in_the_table(tmp_path):
    row = {"task": "sst2", "pretrained": {"metric": "accuracy", "seconds": 60.0}}
    row["pretrained"]["figures"] = {"accuracy": 0.875}
    made = {"started_from": "a run", "seeds": 1, "settings": []}
    write_tables(tmp_path, made, [row])
    assert earlier_rows(tmp_path, made) == {"sst2": row}
    assert earlier_rows(tmp_path, made | {"started_from": "another run"}) == {}
    assert earlier_rows(tmp_path, made | {"settings": ["--train.epochs=1"]}) == {}


@pytest.mark.parametrize(("positions", "length"), [(128, 128), (512, 384)])
def test_rows_are_no_longer_than_the_checkpoint_has_positions(positions, length):
    assert with_fitting_length(load_config("korquad"), positions).data.length == length
