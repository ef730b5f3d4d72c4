import os

import pytest
import torch

from glassplate.models.device.arithmetic import (
    activation_dtype,
    activation_layout,
    applied,
    is_out_of_memory,
    resolve,
)
from glassplate.models.device.numerics import Numerics


def test_names_become_torch_types():
    fast = Numerics("cpu", "bf16", "channels_last", 1)
    plain = Numerics("cpu", "fp32", "contiguous", 1)
    assert (activation_dtype(fast), activation_layout(fast)) == (
        torch.bfloat16,
        torch.channels_last,
    )
    assert (activation_dtype(plain), activation_layout(plain)) == (
        torch.float32,
        torch.contiguous_format,
    )


def test_explicit_choices_are_kept():
    numerics = resolve("cpu", "fp32", threads=2)
    assert (numerics.device, numerics.precision, numerics.threads) == ("cpu", "fp32", 2)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx2": True}, "fp32")],
)
def test_bf16_only_where_the_processor_has_it(monkeypatch, flags, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
    assert resolve("cpu").precision == expected


def test_old_torch_without_capabilities_gets_fp32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert resolve("cpu").precision == "fp32"


def test_threads_are_put_back_also_after_a_fault():
    before = torch.get_num_threads()
    inside = []

    def fail():
        with applied(resolve("cpu", threads=before + 1)):
            inside.append(torch.get_num_threads())
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert inside == [before + 1]
    assert torch.get_num_threads() == before


def exactness():
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction,
        torch.utils.deterministic.fill_uninitialized_memory,
    )


def test_a_gpu_is_to_add_exactly_and_in_a_fixed_order():
    before = exactness()
    with applied(Numerics("cuda")):
        assert exactness() == (True, False, False, False)
    assert exactness() == before
    with applied(Numerics("cpu")):
        assert exactness() == before
    # without it torch refuses every product of matrices there
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"), True),
        (RuntimeError("FIND was unable to find an engine to execute this computation"), True),
        (RuntimeError("The size of tensor a (3) must match"), False),
    ],
)
def test_too_little_memory_has_many_names(error, expected):
    assert is_out_of_memory(error) is expected


def test_no_threads_are_refused():
    with pytest.raises(ValueError, match="threads is 0, must be at least 1"):
        resolve("cpu", threads=0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_an_absent_device_is_refused():
    with pytest.raises(ValueError, match="no CUDA device here; use --device cpu"):
        resolve("cuda")
    assert resolve("auto").device == "cpu"
