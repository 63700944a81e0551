"""What pyproject.toml cannot say: in the wheel, the folder configs/ is the package `glowdiff.configs`."""

from setuptools import find_namespace_packages, find_packages, setup

CONFIGS = ["glowdiff.configs", *(f"glowdiff.configs.{name}" for name in find_namespace_packages("configs"))]

setup(
    packages=[*find_packages(include=["glowdiff", "glowdiff.*"]), *CONFIGS], package_dir={"glowdiff.configs": "configs"}
)
