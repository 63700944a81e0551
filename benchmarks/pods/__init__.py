"""What `benchmarks/pod.py` compiles, counts and writes, a module for each."""
