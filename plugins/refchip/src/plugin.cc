// What refchip says about itself; everything else follows from it.
#include "adapter_sdk/device.h"
#include "machine.h"
#include "refchip_device.h"

namespace {

// Nominal: a device without hardware has no peak. It is set near what the kernels' GEMM reaches on one core of a server
// processor, so that figures derived from it stay readable; no verdict may depend on it.
constexpr double kNominalFloat32Tflops = 0.1;

}  // namespace

ADAPTER_PLUGIN(refchip::RefchipDevice, {
                                           /*name*/ "refchip",
                                           /*vendor*/ "adapter-sdk",
                                           /*version*/ "0.1.0",
                                           /*device_type*/ refchip::kDeviceType,
                                           /*sub_device_type*/ "software",
                                           /*paddle_versions*/ ">=3.0,<3.4",
                                           /*features*/ ADAPTER_FEATURE_ASYNC_STREAMS |
                                               ADAPTER_FEATURE_HOST_UNREADABLE | ADAPTER_FEATURE_COLLECTIVES,
                                           /*peaks*/ {{ADAPTER_FLOAT32, kNominalFloat32Tflops}},
                                       })
