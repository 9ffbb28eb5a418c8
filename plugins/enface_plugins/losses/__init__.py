"""Losses: maps of errors that the core masks, averages and weights."""

from __future__ import annotations

from enface_plugins.losses.charbonnier import Charbonnier
from enface_plugins.losses.color import Color
from enface_plugins.losses.contextual import Contextual
from enface_plugins.losses.contrastive import Contrastive
from enface_plugins.losses.cross_entropy import CrossEntropy
from enface_plugins.losses.cycle import Cycle
from enface_plugins.losses.dists import DISTS
from enface_plugins.losses.feature_matching import FeatureMatching
from enface_plugins.losses.fft import FFT
from enface_plugins.losses.flow_epe import FlowEpe
from enface_plugins.losses.flow_smoothness import FlowSmoothness
from enface_plugins.losses.focal_frequency import FocalFrequency
from enface_plugins.losses.gradient import Gradient
from enface_plugins.losses.gradient_penalty import GradientPenalty
from enface_plugins.losses.gradient_variance import GradientVariance
from enface_plugins.losses.hinge import Hinge
from enface_plugins.losses.huber import Huber
from enface_plugins.losses.identity import Identity
from enface_plugins.losses.l1 import L1
from enface_plugins.losses.laplacian_pyramid import LaplacianPyramid
from enface_plugins.losses.lecam import Lecam
from enface_plugins.losses.lpips import LPIPS
from enface_plugins.losses.lsgan import Lsgan
from enface_plugins.losses.mask_entropy import MaskEntropy
from enface_plugins.losses.ms_ssim import MsSsim
from enface_plugins.losses.mse import MSE
from enface_plugins.losses.patch_nce import PatchNCE
from enface_plugins.losses.perceptual import Perceptual
from enface_plugins.losses.r1 import R1
from enface_plugins.losses.r2 import R2
from enface_plugins.losses.relativistic_average import RelativisticAverage
from enface_plugins.losses.relativistic_paired import RelativisticPaired
from enface_plugins.losses.ssim import SSIM
from enface_plugins.losses.symmetry import Symmetry
from enface_plugins.losses.total_variation import TotalVariation
from enface_plugins.losses.vanilla import Vanilla
from enface_plugins.losses.wgan import Wgan

COMPONENTS = (
    Charbonnier,
    Color,
    Contextual,
    Contrastive,
    CrossEntropy,
    Cycle,
    DISTS,
    FeatureMatching,
    FFT,
    FlowEpe,
    FlowSmoothness,
    FocalFrequency,
    Gradient,
    GradientPenalty,
    GradientVariance,
    Hinge,
    Huber,
    Identity,
    L1,
    LaplacianPyramid,
    Lecam,
    LPIPS,
    Lsgan,
    MaskEntropy,
    MSE,
    MsSsim,
    PatchNCE,
    Perceptual,
    R1,
    R2,
    RelativisticAverage,
    RelativisticPaired,
    SSIM,
    Symmetry,
    TotalVariation,
    Vanilla,
    Wgan,
)
