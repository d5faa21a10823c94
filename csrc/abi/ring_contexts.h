// What Paddle's executor of static graphs lacks for the communicators ("rings") of a custom device.
//
// A collective of a static graph runs on the device context of its ring's XCCLCommContext, which nothing in Paddle ever
// makes for a custom device: the executor reads through NULL. It is made here.
#pragma once

#include "abi/paddle_version.h"
#include "adapter_sdk/collectives.h"

namespace adapter::abi {

// Looks up what is needed of this Paddle. Where something is missing (before 3.1 there is no place to put a context),
// contexts are not made, and why_no_rings() says why.
void prepare_rings(PaddleVersion version);
const char* why_no_rings();

void note_communicator(CommunicatorHandle communicator);
void forget_communicator(CommunicatorHandle communicator);

// Makes the contexts of communicators that Paddle has come to know since. Called by set_device, which Paddle calls
// after making a communicator and before running a graph; costs one load when there is nothing to do.
void complete_rings();

// The communicator, card and stream of a kernel that runs on `device_context` (a PD_DeviceContext). Its stream is the
// one that the card computes on, so that a collective has its place among the kernels whatever the executor does.
// Throws InvalidArgument when the context has no communicator, or when it may have another than the operator's.
CollectiveTarget ring_target(const void* device_context, bool in_graph, int card, StreamHandle stream);

// The same of the kernel that was given `ctx`.
CollectiveTarget ring_of_kernel(Context& ctx);

}  // namespace adapter::abi
