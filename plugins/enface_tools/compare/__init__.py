"""Evaluations compared with a control, image by image: who is paired with whom, what differs, what that says."""

from __future__ import annotations

from enface_tools.compare.comparison import Against as Against
from enface_tools.compare.comparison import Comparison as Comparison
from enface_tools.compare.comparison import compare as compare
from enface_tools.compare.files import COMPARISON as COMPARISON
from enface_tools.compare.files import dump as dump
from enface_tools.compare.files import write_files as write_files
