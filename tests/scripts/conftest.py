import pytest

from tests.scripts.fake_gcloud import GCLOUD, GIT, WHERE, run, verb


@pytest.fixture
def cloud(tmp_path):
    """Runs a script where `gcloud` and `git` answer; returns its result and gcloud's questions."""
    for name, text in (("gcloud", GCLOUD), ("git", GIT)):
        program = tmp_path / name
        program.write_text(text)
        program.chmod(0o755)

    def run_in_cloud(script, *arguments, states=(), statuses=(), node="READY", silent="none"):
        (tmp_path / "calls").write_text("")
        (tmp_path / "state").write_text("\n".join(states))
        (tmp_path / "status").write_text("\n".join(statuses))
        (tmp_path / "node").write_text(node)
        result = run(
            script,
            *WHERE,
            *arguments,
            path=f"{tmp_path}:",
            GCLOUD_FOLDER=str(tmp_path),
            POLL_SECONDS="0",
            PATIENCE_LOOKS="4",
            FORGIVE_LOOKS="6",
            SILENT=silent,
        )
        return result, [verb(call) for call in (tmp_path / "calls").read_text().splitlines()]

    return run_in_cloud
