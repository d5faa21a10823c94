// Where the slots of Paddle's C_DeviceInterface lie, by the size that Paddle writes into it.
//
// New slots are inserted in the middle from release to release, and nothing in Paddle notices a plugin that was built
// for another layout. Offsets below 480 are the same everywhere and stand in the interface header; the rest stands
// here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

// X(slot, byte offset in 3.0.x, 3.1.x, 3.2.x, 3.3.x), -1 where the release has no such slot.
#define ADAPTER_ABI_SLOTS(X)                                     \
  X(get_device_properties, -1, 480, 480, 480)                    \
  X(get_runtime_version, 480, 488, 488, 488)                     \
  X(get_driver_version, 488, 496, 496, 496)                      \
  X(get_multi_process, -1, 504, 504, 504)                        \
  X(get_max_threads_per_mp, -1, 512, 512, 512)                   \
  X(get_max_threads_per_block, -1, 520, 520, 520)                \
  X(get_max_grid_dim_size, -1, 528, 528, 528)                    \
  X(is_float16_supported, -1, -1, 536, 536)                      \
  X(is_bfloat16_supported, -1, -1, 544, 544)                     \
  X(is_dnn_supported, -1, -1, -1, 552)                           \
  X(init_eigen_device, -1, 536, 552, 560)                        \
  X(destroy_eigen_device, -1, 544, 560, 568)                     \
  X(xccl_get_comm_name, 560, 616, 632, 640)                      \
  X(xccl_get_unique_id_size, 568, 624, 640, 648)                 \
  X(xccl_get_unique_id, 576, 632, 648, 656)                      \
  X(xccl_comm_init_rank, 584, 640, 656, 664)                     \
  X(xccl_destroy_comm, 592, 648, 664, 672)                       \
  X(xccl_all_reduce, 600, 656, 672, 680)                         \
  X(xccl_broadcast, 608, 664, 680, 688)                          \
  X(xccl_reduce, 616, 672, 688, 696)                             \
  X(xccl_all_gather, 624, 680, 696, 704)                         \
  X(xccl_reduce_scatter, 632, 688, 704, 712)                     \
  X(xccl_group_start, 640, 696, 712, 720)                        \
  X(xccl_group_end, 648, 704, 720, 728)                          \
  X(xccl_send, 656, 712, 728, 736)                               \
  X(xccl_recv, 664, 720, 736, 744)                               \
  X(xccl_all_to_all, 672, 728, 744, 752)                         \
  X(profiler_initialize, 744, 800, 816, 824)                     \
  X(profiler_finalize, 752, 808, 824, 832)                       \
  X(profiler_prepare_tracing, 760, 816, 832, 840)                \
  X(profiler_start_tracing, 768, 824, 840, 848)                  \
  X(profiler_stop_tracing, 776, 832, 848, 856)                   \
  X(profiler_collect_trace_data, 784, 840, 856, 864)             \
  X(init_blas_handle, -1, -1, 928, 936)                          \
  X(blas_set_math_mode, -1, -1, 936, 944)                        \
  X(init_blaslt_handle, -1, -1, 944, 952)                        \
  X(destroy_blas_handle, -1, -1, 952, 960)                       \
  X(destroy_blaslt_handle, -1, -1, 960, 968)                     \
  X(cuda_stream_begin_capture, -1, -1, -1, 976)                  \
  X(cuda_stream_end_captrue, -1, -1, -1, 984)                    \
  X(cuda_graph_launch, -1, -1, -1, 992)                          \
  X(cuda_graph_destroy, -1, -1, -1, 1000)                        \
  X(cuda_graph_exec_destroy, -1, -1, -1, 1008)                   \
  X(cuda_graph_instantiate, -1, -1, -1, 1016)                    \
  X(cuda_graph_get_nodes, -1, -1, -1, 1024)                      \
  X(cuda_stream_capture_info, -1, -1, -1, 1032)                  \
  X(get_parameter_setter_for_exec_graph, -1, -1, -1, 1040)       \
  X(cuda_graph_debug_dot_print, -1, -1, -1, 1048)                \
  X(cuda_thread_exchange_stream_capthure_mode, -1, -1, -1, 1056) \
  X(blas_axpby, 856, 912, 968, 1064)

namespace adapter::abi {

struct Layout {
  size_t size;          // C_DeviceInterface::size
  const char* release;  // "3.3"
  // get_compute_capability (offset 472), get_runtime_version and get_driver_version take (C_Device, size_t*); before
  // 3.1 they took (size_t*) alone.
  bool compute_capability_has_device;
#define ADAPTER_ABI_FIELD(slot, v30, v31, v32, v33) int16_t slot;
  ADAPTER_ABI_SLOTS(ADAPTER_ABI_FIELD)
#undef ADAPTER_ABI_FIELD
};

// Layout of the interface that says it has `size` bytes; nullptr if no known release has that size.
const Layout* find_layout(size_t size);

// "920 (3.0), 976 (3.1), ...".
std::string known_sizes();

}  // namespace adapter::abi
