"""What is measured: a module for each kind of work, with what it needs and `run(bench)`, which answers rows of the results."""
