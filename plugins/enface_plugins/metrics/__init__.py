"""Metrics: a value per image or per set of images, and a card that states what makes two values comparable."""

from enface_plugins.metrics.checkerboard import Checkerboard
from enface_plugins.metrics.color_shift import ColorShift
from enface_plugins.metrics.fid import FID
from enface_plugins.metrics.flow_error import FlowError
from enface_plugins.metrics.identity import Identity
from enface_plugins.metrics.kid import KID
from enface_plugins.metrics.lpips import LPIPS
from enface_plugins.metrics.mae import MAE
from enface_plugins.metrics.ms_ssim import MsSsim
from enface_plugins.metrics.psnr import PSNR
from enface_plugins.metrics.rank_1 import Rank_1
from enface_plugins.metrics.sharpness import Sharpness
from enface_plugins.metrics.spectrum import Spectrum
from enface_plugins.metrics.ssim import SSIM
from enface_plugins.metrics.tar import TAR

COMPONENTS = (
    *(Checkerboard, ColorShift, FID, FlowError, Identity, KID, LPIPS, MAE, MsSsim, PSNR, Rank_1, Sharpness, Spectrum),
    *(SSIM, TAR),
)
