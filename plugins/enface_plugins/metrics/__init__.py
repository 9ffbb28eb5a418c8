"""Metrics: one number an image, with a card that says what makes two numbers comparable."""

from enface_plugins.metrics.l1 import L1
from enface_plugins.metrics.lpips import LPIPS
from enface_plugins.metrics.ms_ssim import MsSsim
from enface_plugins.metrics.psnr import PSNR
from enface_plugins.metrics.sharpness import Sharpness
from enface_plugins.metrics.ssim import SSIM

COMPONENTS = (L1, LPIPS, PSNR, Sharpness, SSIM, MsSsim)
