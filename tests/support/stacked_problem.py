"""A small problem whose fits may be stacked."""

from glassplate.models.device.arithmetic import resolve
from glassplate.models.fit.problem import Problem
from glassplate.models.fit.settings import FitSettings
from glassplate.models.fit.stopping import StoppingSettings
from glassplate.models.networks.settings import NetworkSettings
from glassplate.models.noise.model import NoiseModel
from glassplate.models.operators.operator import Identity
from glassplate.models.pixel_transform import PixelTransform

PROBLEM = Problem(
    NetworkSettings("lean", channels=4, fine_channels=2, scales=2, skip_channels=4),
    FitSettings(iterations=6, log_period=3),
    StoppingSettings(),
    Identity(),
    PixelTransform(),
    NoiseModel(0.01, 0.0, 0.0, False, "given"),
    # a test changes the precision
    resolve("cpu", "fp32"),
)
WINDOW = (1, 40, 40)
