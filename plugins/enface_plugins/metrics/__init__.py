"""Metrics: a number an image, or one for all, with a card that says what makes two numbers comparable."""

from enface_plugins.metrics.checkerboard import Checkerboard
from enface_plugins.metrics.color_shift import ColorShift
from enface_plugins.metrics.l1 import L1
from enface_plugins.metrics.lpips import LPIPS
from enface_plugins.metrics.ms_ssim import MsSsim
from enface_plugins.metrics.psnr import PSNR
from enface_plugins.metrics.sharpness import Sharpness
from enface_plugins.metrics.spectrum import Spectrum
from enface_plugins.metrics.ssim import SSIM

COMPONENTS = (Checkerboard, ColorShift, L1, LPIPS, PSNR, Sharpness, Spectrum, SSIM, MsSsim)
