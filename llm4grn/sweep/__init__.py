"""Run many settings in one command: the plan before the first job, a record of each job, the comparison at the end."""
