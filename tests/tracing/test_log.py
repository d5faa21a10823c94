"""Paddle's log lines become kernel calls, and nothing of the program's own is lost; no Paddle."""

from __future__ import annotations

from adapter_conform.tracing.log import LogReader
from adapter_conform.tracing.programs import Instruction, ProgramReader
from adapter_conform.tracing.record import KernelUse, Trace

EAGER = """\
I1121 10:02:57.610657  8192 dygraph_functions.cc:127433]
==========================Running_AD_API: matmul==========================
I1121 10:02:57.610692  8192 api.cc:145619] matmul API kernel key: [refchip, NCHW, float32]
I1121 10:02:57.610697  8192 api.cc:145626] matmul kernel: {"input":[
	backend: refchip,  layout: NCHW,  dtype: float32,
	backend: refchip,  layout: NCHW,  dtype: float32
],
"output":[
	backend: refchip,  layout: NCHW,  dtype: float32
],
"attribute":[
	"bool",
	"bool"
]}
the program's own words
I1121 10:02:57.610737  8192 dygraph_functions.cc:127573]
==========================Finish_C++_API: matmul1==========================
I1121 10:02:57.610769  8192 dygraph_functions.cc:127642]
Forward Debug Info {
API_Name: matmul1
Input: [
( x , {
	Name: generated_tensor_0,
	TensorInfo: [
		Type: DenseTensor,
		Dtype: float32,
		Place: Place(refchip:0),
		Shape: 5, 8,
		DistAttr: Unknown
	]}),
( y , {
	Name: linear_0.w_0,
	TensorInfo: [
		Shape: 8, 16,
	]}), ]
Output: [
( out , {
	TensorInfo: [
		Shape: 5, 16,
	]}), ] }
W1121 10:02:57.700000  8192 gpu_context.cc:10] a warning of Paddle's
I1121 10:06:13.875000  8192 api.cc:36209] diag API kernel key: [refchip, NCHW, float32]
I1121 10:06:13.876000  8192 kernel_factory.cc:389] missing refchip kernel: diag, expected_kernel_key:(refchip, Undefined(AnyLayout), float32), fallbacking to CPU one!
I1121 10:06:13.877000  8192 api.cc:36216] diag kernel: {"input":[
]}
"""  # noqa: E501

PADDLE_3_0 = """\
I1121 11:00:47.885712 20602 dygraph_functions.cc:87712] Running C++ API: matmul
I1121 11:00:47.885769 20602 dygraph_functions.cc:87726] { Input: [
( x , [{Name: generated_tensor_0, Initialized: 1, Ptr: 0x55e8,TensorInfo: [ Type: DenseTensor, Dtype: float32, Place: Place(cpu), Shape: 5, 8, DistAttr: Unknown ]}]),
I1121 11:00:47.885802 20602 api.cc:130438] matmul API kernel key: [CPU, NCHW, float32]
I1121 11:00:47.885821 20602 api.cc:130445] matmul kernel: {"input":["CPU, NCHW, float32","CPU, NCHW, float32"],"output":["CPU, NCHW, float32"],"attribute":["bool","bool"]}
I1121 11:00:47.885921 20602 dygraph_functions.cc:87797] Finish AD API: matmul
I1121 11:00:47.935353 20602 dygraph_functions.cc:87814] { Input: [
( x , [{Name: generated_tensor_0, Initialized: 1, Ptr: 0x55e8,TensorInfo: [ Type: DenseTensor, Dtype: float32, Place: Place(cpu), Shape: 5, 8, DistAttr: Unknown ]}]),
( y , [{Name: linear_0.w_0, Initialized: 1, Ptr: 0x55e8,TensorInfo: [ Type: DenseTensor, Dtype: float32, Place: Place(cpu), Shape: 8, 16, DistAttr: Unknown ]}]), ]
 Output: [
( out , [{Name: None, Initialized: 1, Ptr: 0x55e9,TensorInfo: [ Type: DenseTensor, Dtype: float32, Place: Place(cpu), Shape: 5, 16, DistAttr: Unknown ]}]), ] }
I1121 11:00:47.935380 20602 dygraph_functions.cc:83551] Running C++ API: add
I1121 11:00:47.935405 20602 dygraph_functions.cc:83565] { Input: [
( x , [{Name: None, Initialized: 1, Ptr: 0x55e9,TensorInfo: [ Type: DenseTensor, Dtype: float32, Place: Place(cpu), Shape: 5, 16, DistAttr: Unknown ]}]), ] }
"""  # noqa: E501

STATIC = """\
I1121 10:01:18.435544  4449 pir_interpreter.cc:1947]
begin: RunInstructionBase OP id:0 name:pd_op.matmul type:kGpuAsync runs on MainThread
Before: Place(refchip:0) Op(pd_op.matmul), inputs:{w:[dtype=float;place=Place(refchip:0);dim=8, 16;lod={};], x:[dtype=float;place=Place(refchip:0);dim=5, 8;lod={};]}, outputs:{m:[dtype=;place=;dim=5, 16;lod={};]}.
I1121 10:01:18.435600  4449 phi_kernel_instruction.cc:228] Begin run op pd_op.matmul kernel in Place(refchip:0)
I1121 10:01:18.435616  4449 phi_kernel_instruction.cc:236] End run op pd_op.matmul kernel.
I1121 10:01:18.435631  4449 pir_interpreter.cc:1947]
begin: RunInstructionBase OP id:1 name:pd_op.diag type:kCpuSync runs on MainThread
Before: Place(cpu) Op(pd_op.diag), inputs:{m:[dtype=float;place=Place(cpu);dim=8;lod={};]}, outputs:{}.
I1121 10:01:18.435700  4449 phi_kernel_instruction.cc:228] Begin run op pd_op.diag kernel in Place(cpu)
I1121 10:01:18.435716  4449 phi_kernel_instruction.cc:236] End run op pd_op.diag kernel.
"""  # noqa: E501

PROGRAM = """\
before
======================== The network executed by pir interpreter ========================
{
    (%0) = "data(phi_kernel)" () {dtype:float32,kernel_key:<backend:Undefined|layout:Undefined(AnyLayout)|dtype:float32>,kernel_name:"data",op_name:"pd_op.data"} : () -> undefined_tensor<5x8xf32>
    (%5) = "matmul(phi_kernel)" (%4, %3) {kernel_key:<backend:refchip|layout:NCHW|dtype:float32>,kernel_name:"matmul",op_name:"pd_op.matmul",origin_id:94,stop_gradient:[false],transpose_x:false,transpose_y:true} : (custom_device_tensor<5x8xf32>, custom_device_tensor<8x16xf32>) -> custom_device_tensor<5x16xf32>
    (%6) = "diag(phi_kernel)" (%5) {kernel_key:<backend:CPU|layout:NCHW|dtype:float32>,kernel_name:"diag",offset:0,op_name:"pd_op.diag"} : (cpu_tensor<8xf32>) -> cpu_tensor<8x8xf32>
}

======================== The instruction executed by pir interpreter ========================
{outputs} =  instruction_name[idx] ({inputs})
0: ( 5 )  = pd_op.matmul ( 3 )  ( 4 )
---------------------------var_id -> var_name -> variable*---------------------------
0 -> full_2_out_float32_4 -> 0x55aa59e5f220
======================= The dependency of all instruction ========================
id -> down_stream_id
0 -> 1

======================== pir interpreter trace order ========================

Leaf nodes: 0[pd_op.matmul]->
0 downstreams: 1[pd_op.diag]->
after
"""  # noqa: E501


def read(log: str, program: str = "") -> tuple[Trace, list[str], list[str]]:
    trace, err, out = Trace(), [], []
    programs, reader = ProgramReader(out.append), LogReader(trace, err.append)
    for line in program.splitlines():
        programs.line(line)
    for line in log.splitlines():
        reader.line(line)
    programs.close()
    reader.close(programs.find)
    return trace, err, out


def test_an_eager_call_with_its_shapes_time_and_attributes() -> None:
    trace, err, _ = read(EAGER)
    shapes = ((5, 8), (8, 16))
    use = KernelUse("matmul", "float32", "forward", "eager", "refchip", "refchip", shapes, ("bool", "bool"))
    amount = trace.kernels[use]
    assert (amount.calls, amount.timed) == (1, 1)
    assert abs(amount.seconds - 40e-6) < 1e-9
    assert err == ["the program's own words", "W1121 10:02:57.700000  8192 gpu_context.cc:10] a warning of Paddle's"]


def test_the_log_of_paddle_3_0_says_the_same_in_other_words() -> None:
    """Operands are told ahead of the call too, attributes stand in one line."""
    trace, err, _ = read(PADDLE_3_0)
    use = KernelUse("matmul", "float32", "forward", "eager", "cpu", "cpu", ((5, 8), (8, 16)), ("bool", "bool"))
    assert list(trace.kernels) == [use]
    assert abs(trace.kernels[use].seconds - 100e-6) < 1e-9
    assert err == []


def test_a_missing_kernel_is_a_fallback() -> None:
    moved = [use for use in read(EAGER)[0].kernels if use.fell_back]
    assert [(use.operator, use.backend, use.wanted) for use in moved] == [("diag", "cpu", "refchip")]


def test_kernels_of_a_static_program_get_shapes_and_attributes_from_it() -> None:
    trace, err, out = read(STATIC, PROGRAM)
    assert out == ["before", "after"]
    assert err == []
    by_name = {use.operator: use for use in trace.kernels}
    assert by_name["matmul"].shapes == ((5, 8), (8, 16))
    assert by_name["matmul"].attributes == ("transpose_x:false", "transpose_y:true")
    assert not by_name["matmul"].fell_back
    assert (by_name["diag"].backend, by_name["diag"].wanted) == ("cpu", "refchip")


def test_a_static_program_that_was_never_printed_loses_attributes_only() -> None:
    trace, _, _ = read(STATIC)
    assert {(use.operator, use.dtype, use.fell_back) for use in trace.kernels} == {
        ("matmul", "float32", False),
        ("diag", "float32", True),
    }


def test_an_instruction_is_found_by_place_name_and_shapes() -> None:
    reader = ProgramReader(lambda _: None)
    for line in PROGRAM.splitlines():
        reader.line(line)
    reader.close()
    assert reader.programs == 1
    found = reader.find(Instruction(0, "pd_op.matmul", ((5, 8), (8, 16))))
    assert found is not None
    assert found.dtype == "float32"
    assert reader.find(Instruction(1, "pd_op.matmul", ((5, 8), (8, 16)))) is None
