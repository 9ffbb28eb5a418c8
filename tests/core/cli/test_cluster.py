"""The files of ``examples/cluster``, tested without a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

CLUSTER = Path(__file__).resolve().parents[3] / "examples" / "cluster"
# Stand-ins for Slurm's commands; srun prints the command that it would start on each node.
STUBS = {"scontrol": "echo node7\necho node8", "srun": 'echo "$OMP_NUM_THREADS $ENFACE_CACHE $*"'}


@pytest.fixture
def submitted(tmp_path):
    """Run the batch file with arguments, as on a node with four GPUs and 32 cores."""
    for name, body in STUBS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"NNODES": "2", "JOB_ID": "42", "GPUS_ON_NODE": "4", "CPUS_PER_TASK": "32", "JOB_NODELIST": "node[7-8]"}
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_SUBMIT_DIR": "/shared"}
    environment |= {f"SLURM_{name}": value for name, value in slurm.items()}

    def run(*arguments):
        command = ["bash", str(CLUSTER / "slurm.sbatch"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, env=environment)

    return run


def test_the_batch_file_requests_one_task_per_node_and_a_signal():
    lines = (CLUSTER / "slurm.sbatch").read_text().splitlines()
    requested = dict(line.removeprefix("#SBATCH --").split("=", 1) for line in lines if line.startswith("#SBATCH"))
    assert requested["ntasks-per-node"] == "1", "torchrun starts the node's processes"
    assert requested["signal"].startswith("TERM@"), "sent to the processes, not to the batch shell only"


def test_the_batch_file_starts_torchrun_on_every_node(submitted):
    process = submitted("my recipe.yaml", "--resume")
    assert process.returncode == 0, process.stderr
    threads, cache, *words = process.stdout.split(" ")
    assert (threads, cache) == ("8", "/shared/.enface-cache")
    command = " ".join(words)
    assert "torchrun --nnodes=2 --nproc-per-node=4" in command
    assert "--rdzv-endpoint=node7:29500" in command
    assert command.strip().endswith("-m enface run my recipe.yaml --resume")


def test_the_options_given_to_torchrun_exist(submitted):
    from torch.distributed.run import parse_args

    words = submitted("recipe.yaml").stdout.split()
    options = parse_args(words[words.index("torchrun") + 1 :])
    assert (options.nnodes, options.nproc_per_node, options.rdzv_id) == ("2", "4", "42")
    assert options.module
    assert [options.training_script, *options.training_script_args] == ["enface", "run", "recipe.yaml"]


def test_the_batch_file_requires_a_recipe(submitted):
    process = submitted()
    assert process.returncode != 0
    assert "a recipe or a run directory" in process.stderr


@pytest.mark.parametrize("rerun", [False, True])
def test_a_task_of_the_packing_file_packs_the_part_of_its_number(tmp_path, rerun):
    (tmp_path / "enface").write_text('#!/bin/bash\necho "$ENFACE_CACHE $*"\n')
    (tmp_path / "enface").chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_SUBMIT_DIR": "/shared",
        "SLURM_ARRAY_TASK_ID": "7",
    }
    environment |= {"SLURM_ARRAY_TASK_COUNT": "1", "PARTS": "16"} if rerun else {"SLURM_ARRAY_TASK_COUNT": "16"}
    command = ["bash", str(CLUSTER / "pack.sbatch"), "recipe.yaml", "--set", "data.size=64"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, env=environment)
    expected = "/shared/.enface-cache data pack recipe.yaml --part 7/16 --set data.size=64\n"
    assert process.stdout == expected, process.stderr
    assert "#SBATCH --array=1-16\n" in (CLUSTER / "pack.sbatch").read_text(), "parts are counted from 1"


LAUNCHERS = {
    "accelerate": ("accelerate.commands.launch", "--config_file", "accelerate.yaml", "--main_process_port", "0"),
    "torchrun": ("torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_other_launchers_start_the_requested_number_of_processes(launcher, recipe, tmp_path):
    config = yaml.safe_load((CLUSTER / "accelerate.yaml").read_text()) | {"num_processes": 2}
    (tmp_path / "accelerate.yaml").write_text(yaml.safe_dump(config))
    path = recipe({"engine": {"device": "cpu", "precision": "fp32"}})
    process = subprocess.run(
        [sys.executable, "-m", *LAUNCHERS[launcher], "-m", "enface", "run", str(path), "--set", "stages.main.steps=1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode == 0, process.stderr[-3000:]
    assert process.stdout.count("report: ") == 1
    (directory,) = (tmp_path / "runs" / "toy").iterdir()
    assert '"processes": 2,' in (directory / "environment.json").read_text()
