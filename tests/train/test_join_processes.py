"""What the environment must say of a run on several hosts."""

import socket

import pytest

from bertjax.errors import UserError
from bertjax.train import processes
from bertjax.train.processes import join_processes, launched_processes

ADDRESS = {"JAX_COORDINATOR_ADDRESS": "127.0.0.1:1234"}
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "3",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_RANK": "0",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"):
        monkeypatch.delenv(name, raising=False)

    def set_all(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_all


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        (ADDRESS, "JAX_NUM_PROCESSES must be a number from 1 on; found ''"),
        (ADDRESS | {"JAX_NUM_PROCESSES": "2"}, "JAX_PROCESS_ID must be a number from 0 on"),
        (ADDRESS | {"JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES must be a number from 1 on"),
        (ADDRESS | {"JAX_NUM_PROCESSES": "0"}, "JAX_NUM_PROCESSES must be a number from 1 on"),
        (
            ADDRESS | {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "2"},
            "JAX_PROCESS_ID=2: JAX_NUM_PROCESSES=2 processes are numbered from 0",
        ),
        ({"JAX_COORDINATOR_ADDRESS": "node1"}, "JAX_COORDINATOR_ADDRESS=node1: must be HOST:PORT"),
        ({"JAX_COORDINATOR_ADDRESS": ":80"}, "JAX_COORDINATOR_ADDRESS=:80: must be HOST:PORT"),
        (OPEN_MPI, "mpirun -x JAX_COORDINATOR_ADDRESS=HOST:PORT"),
    ],
)
def test_variables_that_make_no_sense_are_refused_by_name(environment, variables, told):
    environment(variables)
    with pytest.raises(UserError) as caught:
        join_processes()
    assert told in str(caught.value)


def test_a_port_that_is_taken_is_refused(environment):
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        numbers = {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"}
        environment(numbers | {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}"})
        with pytest.raises(UserError, match=f"port {port} of this host cannot be used"):
            join_processes()


STEP = {"SLURM_STEP_NODELIST": "node[1-2]"}


@pytest.mark.parametrize(
    ("variables", "count"),
    [
        ({}, 1),
        (ADDRESS | {"JAX_NUM_PROCESSES": "4"}, 4),
        (STEP | {"SLURM_NTASKS": "2"}, 2),
        ({"SLURM_NTASKS": "2"}, 1),  # in an allocation, started without srun
        (STEP | {"SLURM_NTASKS": "1"}, 1),
        (ADDRESS | STEP | {"SLURM_NTASKS": "2"}, 2),
        (STEP | {"SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "1"}, 1),  # an interactive step
        (OPEN_MPI, 3),
        (STEP | {"SLURM_NTASKS": "2"} | OPEN_MPI, 3),  # mpirun in an allocation
    ],
)
def test_the_launcher_says_how_many_processes_there_are(environment, variables, count):
    environment(variables)
    assert launched_processes() == count


@pytest.mark.parametrize(
    ("known", "numbers"),
    [
        ({}, {"num_processes": 3, "process_id": 1, "local_device_ids": [0]}),
        ({"OMPI_MCA_orte_hnp_uri": "4096.0;tcp://10.0.0.1:34911"}, {}),
    ],
    ids=["Open MPI 5", "Open MPI 4"],
)
def test_open_mpi_numbers_the_processes_where_jax_does_not_recognise_it(
    environment, monkeypatch, known, numbers
):
    given = {}
    environment(ADDRESS | OPEN_MPI | known)
    monkeypatch.setattr(processes.jax.distributed, "initialize", given.update)
    join_processes()
    assert given.pop("coordinator_address") == "127.0.0.1:1234"
    assert {name: given.get(name) for name in numbers} == numbers
    assert ("num_processes" in given) == bool(numbers)


def test_a_single_process_of_open_mpi_needs_no_more_than_the_address(environment, monkeypatch):
    given = {}
    environment(ADDRESS | OPEN_MPI | {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"})
    monkeypatch.setattr(processes, "_require_free", lambda _: None)
    monkeypatch.setattr(processes.jax.distributed, "initialize", given.update)
    join_processes()
    assert (given["num_processes"], given["process_id"]) == (1, 0)


def test_hosts_of_a_tpu_slice_count_where_a_tpu_is_used(environment, monkeypatch):
    environment({"TPU_WORKER_HOSTNAMES": "a,b,c,d"})
    assert launched_processes() == 1
    monkeypatch.setattr(processes, "_on_tpu", lambda: True)
    assert launched_processes() == 4


def test_one_process_joins_nobody(environment):
    environment(STEP | {"SLURM_NTASKS": "1"})
    join_processes()
    assert not processes.jax.distributed.is_initialized()
