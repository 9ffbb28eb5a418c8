"""Where a sweep's runs are run: on this machine, by Ray, or by Slurm."""
