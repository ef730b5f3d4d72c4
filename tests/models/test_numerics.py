import os

import pytest
import torch

from glassplate.models.numerics import Numerics, resolve


def test_names_become_torch_types():
    fast = Numerics("cpu", "bf16", "channels_last", 1)
    plain = Numerics("cpu", "fp32", "contiguous", 1)
    assert (fast.dtype, fast.layout) == (torch.bfloat16, torch.channels_last)
    assert (plain.dtype, plain.layout) == (torch.float32, torch.contiguous_format)


def test_what_is_asked_for_is_given():
    numerics = resolve("cpu", "fp32", threads=2)
    assert (numerics.device, numerics.precision, numerics.threads) == ("cpu", "fp32", 2)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx2": True}, "fp32")],
)
def test_bf16_only_where_the_processor_has_it(monkeypatch, flags, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
    assert resolve("cpu").precision == expected


def test_old_torch_that_does_not_tell_gets_fp32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert resolve("cpu").precision == "fp32"


def test_threads_are_put_back_also_after_a_fault():
    before = torch.get_num_threads()
    inside = []

    def fail():
        with resolve("cpu", threads=before + 1).applied():
            inside.append(torch.get_num_threads())
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert inside == [before + 1]
    assert torch.get_num_threads() == before


def test_a_gpu_is_to_add_in_a_fixed_order(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with Numerics("cuda").applied():
        assert torch.are_deterministic_algorithms_enabled()
        # without it torch refuses every product of matrices there
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()
    with Numerics("cpu").applied():
        assert not torch.are_deterministic_algorithms_enabled()


def test_no_threads_are_refused():
    with pytest.raises(ValueError, match="threads is 0, must be at least 1"):
        resolve("cpu", threads=0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_an_absent_device_is_refused():
    with pytest.raises(ValueError, match="no CUDA device here; use --device cpu"):
        resolve("cuda")
    assert resolve("auto").device == "cpu"
