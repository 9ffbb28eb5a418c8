from typing import Annotated
from annotated_types import Gt
from enface import Loss, hookimpl
class Cauchy(Loss):
    def __init__(self, *, scale: Annotated[float, Gt(0)] = 0.1):
        super().__init__()
        self.scale = scale
    def forward(self, output, target): return ((output - target) / self.scale).square().log1p()
@hookimpl
def components(): return [Cauchy]
