"""Every op of the table against PyTorch itself: float64 to 1e-12, float32 within the interpreter's bound."""

from __future__ import annotations

from pathlib import Path

import aten_harness
import pytest
import torch


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_agrees_with_pytorch(dtype: torch.dtype, tmp_path: Path) -> None:
    outcomes = aten_harness.run_table(tmp_path, dtype)
    assert len(outcomes) > 600
    faulty = [f"{o.name}: {'; '.join(o.faults[:3])}" for o in outcomes if o.faults]
    assert not faulty, f"{len(faulty)} of {len(outcomes)} cases:\n" + "\n".join(faulty)


def test_a_wrong_result_is_seen() -> None:
    want = torch.tensor([1.0, 2.0], dtype=torch.float64)
    value = want.numpy() * (1 + 1e-9)
    fault, _ = aten_harness.compare(want, value, abs(value) * 1e-12, exact=True)
    assert fault
    fault, _ = aten_harness.compare(want.float(), value, abs(value) * 1e-12, exact=False)
    assert fault
