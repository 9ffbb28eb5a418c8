"""Datasets: sources of images and their labels."""

from __future__ import annotations

from enface_plugins.datasets.labelled_folder import LabelledFolder
from enface_plugins.datasets.multipie import Multipie
from enface_plugins.datasets.paired_folders import PairedFolders
from enface_plugins.datasets.synthetic_heads import SyntheticHeads

COMPONENTS = (LabelledFolder, Multipie, PairedFolders, SyntheticHeads)
