// What refchip says about itself; everything else follows from it.
#include <algorithm>
#include <thread>

#include "adapter_sdk/device.h"
#include "machine.h"
#include "refchip_device.h"

namespace {

// A device without hardware has the peak of the processors that it borrows. Bounds from above for today's: two 512-bit
// multiply-adds, or one tile product of 1024 multiply-adds, in a cycle of 3.9 GHz. No kernel computes faster than that.
constexpr double kFloat32Tflops = 0.25;
constexpr double kBfloat16Tflops = 8.0;

double of_all_processors(double tflops) { return tflops * std::max(1u, std::thread::hardware_concurrency()); }

}  // namespace

ADAPTER_PLUGIN(refchip::RefchipDevice,
               {
                   /*name*/ "refchip",
                   /*vendor*/ "adapter-sdk",
                   /*version*/ "0.1.0",
                   /*device_type*/ refchip::kDeviceType,
                   /*sub_device_type*/ "software",
                   /*paddle_versions*/ ">=3.0,<3.4",
                   /*features*/ ADAPTER_FEATURE_ASYNC_STREAMS | ADAPTER_FEATURE_HOST_UNREADABLE |
                       ADAPTER_FEATURE_COLLECTIVES | ADAPTER_FEATURE_PROFILER,
                   /*peaks*/
                   {{ADAPTER_FLOAT32, of_all_processors(kFloat32Tflops)},
                    {ADAPTER_BFLOAT16, of_all_processors(kBfloat16Tflops)}},
               })
