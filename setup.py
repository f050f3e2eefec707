"""Which folders install as which packages; everything else about the distribution is in pyproject.toml.

``kernels/`` and ``benchmarks/`` stand at the top of the checkout and install as ``minigrad.kernels`` and
``minigrad.benchmarks``, because packages of those names would collide with other projects'. In the
checkout the shims ``minigrad/kernels`` and ``minigrad/benchmarks`` resolve to the same folders; an
installed copy has the folders themselves in the shims' place.
"""

from setuptools import find_packages, setup

BESIDE = ("kernels", "benchmarks")  # top-level folder -> minigrad.<folder>

inside = find_packages(include=["minigrad", "minigrad.*"])
beside = [
    f"minigrad.{p}" for folder in BESIDE for p in (folder, *(f"{folder}.{s}" for s in find_packages(folder)))
]

setup(
    packages=sorted({*inside, *beside}),
    package_dir={f"minigrad.{folder}": folder for folder in BESIDE},
)
