"""Adds the recipes to the wheel, as the data package ``enface_recipes``; all else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRecipes(build_py):
    """Copies the folder of recipes beside the packages."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copytree("recipes", Path(self.build_lib) / "enface_recipes", dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithRecipes})
