"""Write the golden numbers: values and gradients of published formulas, computed without enface.

    python tests/golden/make.py [NAME ...] [--check]

It needs the test extra and the weights of ``enface weights fetch``. ``--check`` compares with the stored files instead
of writing them. Gradients of formulas are central differences in float64, those of networks are autograd's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent / "support"))

from golden_inputs import array, indices  # noqa: E402
from reference.cases import CASES  # noqa: E402

DIGITS = 9


def main(arguments):
    check, names = "--check" in arguments, {item for item in arguments if item != "--check"}
    for file in dict.fromkeys(case.file for case in CASES):
        path = FOLDER / f"{file}.json"
        stored = json.loads(path.read_text()) if path.exists() else {}
        cases = [case for case in CASES if case.file == file]
        entries = {case.name: entry(case) if not names or case.name in names else stored[case.name] for case in cases}
        if not check:
            path.write_text(dumped(entries))
        elif stored != json.loads(dumped(entries)):
            different = [name for name in {**stored, **entries} if stored.get(name) != entries.get(name)]
            raise SystemExit(f"{path}: {', '.join(different)} differ")


def entry(case):
    print(case.name, flush=True)
    inputs = {name: array(spec) for name, spec in case.inputs.items()}
    if case.network:
        inputs = {name: torch.tensor(item, requires_grad=name in case.wrt) for name, item in inputs.items()}
    values = case.function(**inputs)
    gradients = {name: gradient(case, inputs, values, name) for name in case.wrt}
    values = values.detach().numpy() if case.network else np.asarray(values)
    stored = {"component": case.component, "side": case.side, "params": case.params, "size": case.size}
    stored |= {"inputs": case.inputs, **case.extra}
    stored["values"] = rounded(values.reshape(len(values), -1).mean(1) if values.ndim else values)
    if values.ndim == 4:
        stored["map"] = sampled(values)
    if gradients:
        stored["gradients"] = {
            name: {"norm": rounded(np.linalg.norm(item)), "sampled": sampled(item)} for name, item in gradients.items()
        }
    return {**stored, "source": case.source, **({"checked": case.checked} if case.checked else {})}


def gradient(case, inputs, values, name):
    """Gradient of the mean of the values with respect to an input, flat; the parts of a tuple follow each other."""
    if case.network:
        return torch.autograd.grad(values.mean(), inputs[name], retain_graph=True)[0].numpy().ravel()
    function, given = case.differentiated(inputs), inputs[name]
    if not isinstance(given, tuple):
        return differences(lambda changed: np.mean(function(**{**inputs, name: changed})), given, case.step)
    return np.concatenate(
        [
            differences(
                lambda changed, place=place: np.mean(
                    function(**{**inputs, name: (*given[:place], changed, *given[place + 1 :])})
                ),
                part,
                case.step,
            )
            for place, part in enumerate(given)
        ]
    )


def differences(function, point, step):
    """Central differences of two steps, extrapolated to a step of 0."""
    rough, fine = (
        np.array([slope(function, point, at, size) for at in range(point.size)]) for size in (step, step / 2)
    )
    largest = np.abs(fine).max()
    if np.abs(rough - fine).max() > 1e-3 * largest:
        at = int(np.abs(rough - fine).argmax())
        raise SystemExit(f"there is a kink within {step} of entry {at}: {rough[at]} and {fine[at]}; use another phase")
    return fine + (fine - rough) / 3


def slope(function, point, at, step):
    ahead, behind = point.copy(), point.copy()
    ahead.flat[at] += step
    behind.flat[at] -= step
    return (function(ahead) - function(behind)) / (2 * step)


def sampled(item):
    return rounded(item.ravel()[indices(item.size)])


def rounded(item):
    if np.ndim(item):
        return [rounded(one) for one in item]
    return float(f"{float(item):.{DIGITS}g}")


def dumped(entries):
    """JSON with a line for each key of an entry."""
    parts = []
    for name, content in entries.items():
        lines = ",\n".join(f"    {json.dumps(key)}: {json.dumps(item)}" for key, item in content.items())
        parts.append(f"  {json.dumps(name)}: {{\n{lines}\n  }}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main(sys.argv[1:])
