import pytest

from tests.scripts.fake_gcloud import GCLOUD, WHERE, run, verb


@pytest.fixture
def cloud(tmp_path):
    """Runs a script where `gcloud` answers; returns its result and what gcloud was asked."""
    program = tmp_path / "gcloud"
    program.write_text(GCLOUD)
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
            SILENT=silent,
        )
        return result, [verb(call) for call in (tmp_path / "calls").read_text().splitlines()]

    return run_in_cloud
