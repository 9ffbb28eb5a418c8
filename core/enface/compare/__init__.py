"""Evaluations compared with a control, image by image: who is paired with whom, what differs, what that says."""

from __future__ import annotations

from enface.compare.comparison import Against as Against
from enface.compare.comparison import Comparison as Comparison
from enface.compare.comparison import compare as compare
from enface.compare.files import COMPARISON as COMPARISON
from enface.compare.files import dump as dump
from enface.compare.files import write_files as write_files
