"""Benchmarks of funcparams against hand-written JAX and the other libraries.

python -m benchmarks.run              # everything
python -m benchmarks.run --quick      # smaller and fewer
python -m benchmarks.check            # do the ratios that must hold hold?
"""
