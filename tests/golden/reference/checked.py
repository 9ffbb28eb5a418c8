"""Official code that was run beside the project on the inputs of a case, in float64, and gave the stored numbers.

It agreed to 1e-8 of the largest number of each list, TensorFlow's to float32. Each commit is the one that was run.
"""

from __future__ import annotations

_BASICSR = "BasicSR 8d56e3a, basicsr/losses/gan_loss.py, GANLoss"
_R3GAN = "R3GAN 19a7ddf (brownvc), R3GAN/Trainer.py"
_STABILITY = "GAN_stability c1f64c9 (LMescheder), gan_training/train.py"
_RASGAN = "RelativisticGAN 2646c0b (AlexiaJM), the expressions of GAN_losses_iter.py, loss_D 6, times 2"
_FOCAL = "focal-frequency-loss 0.3.0, the authors' package"

_CX = "contextualLoss 863af53 (roimehrez), CX/CSFlow.py, TensorFlow 2.21: equal with a constant of 2e-5"

CHECKED = {
    ("networks", "contextual"): f"{_CX} (values, on other features)",
    ("losses", "focal_frequency, alpha 1"): _FOCAL,
    ("losses", "focal_frequency, alpha 0.5"): _FOCAL,
    ("losses", "patch_nce, 256 points"): "CUT b3ac297 (taesungp), models/patchnce.py, PatchNCELoss",
    ("losses", "total_variation, absolute"): "kornia 0.9.0, total_variation",
    ("losses", "gradient, sobel"): "kornia 0.9.0, spatial_gradient",
    ("losses", "color"): "kornia 0.9.0, gaussian_blur2d",
    ("losses", "ssim"): 'kornia 0.9.0, ssim(padding="same", eps=0)',
    ("losses", "ms_ssim, 2 scales"): "pytorch-msssim 1.0.0, with its window in float64",
    ("losses", "laplacian_pyramid"): "OpenCV 5.0.0, pyrDown and pyrUp (values)",
    ("critics", "vanilla"): _BASICSR,
    ("critics", "vanilla, critic"): _BASICSR,
    ("critics", "lsgan"): f"{_BASICSR}, divided by 2",
    ("critics", "lsgan, critic"): f"{_BASICSR}, divided by 2",
    ("critics", "hinge"): _BASICSR,
    ("critics", "hinge, critic"): _BASICSR,
    ("critics", "wgan"): _BASICSR,
    ("critics", "wgan, critic"): _BASICSR,
    ("critics", "relativistic_average"): _RASGAN,
    ("critics", "relativistic_average, critic"): _RASGAN,
    ("critics", "relativistic_paired"): _R3GAN,
    ("critics", "relativistic_paired, critic"): f"{_R3GAN} (values)",
    ("critics", "r1"): f"{_R3GAN}; {_STABILITY}, compute_grad2; both divided by 2",
    ("critics", "r2"): f"{_R3GAN}, divided by 2",
    ("critics", "gradient_penalty, centre 1"): f"{_STABILITY}, wgan_gp_reg",
    (
        "critics",
        "lecam, third update",
    ): "lecam-gan f9af948 (google), stylegan2/lecam_loss.py with a decay of 0.8, TensorFlow 2.21",
    ("metrics", "ssim"): "pytorch-msssim 1.0.0, with its window in float64; piq 0.8.0",
    ("metrics", "ms_ssim, 165 px"): "pytorch-msssim 1.0.0, with its window in float64",
    ("metrics", "psnr"): "piq 0.8.0, but for its constant of 1e-8",
    ("metrics", "color_shift"): "kornia 0.9.0",
    ("metrics", "fid"): "torch-fidelity 0.4.0; TTUR 73ab375 (bioinf-jku), fid.py",
}
