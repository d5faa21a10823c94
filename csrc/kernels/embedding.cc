#include "adapter_sdk/kernel.h"
#include "bulk.h"
#include "rows.h"

namespace adapter::kernels {

// Row numbers of the ids, -1 where the id is `padding_idx`. Ids do not count from the end.
template <typename Index>
std::vector<int64_t> embedding_rows(const Index* ids, int64_t count, int64_t length, int64_t padding_idx) {
  std::vector<int64_t> rows(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t id = static_cast<int64_t>(ids[i]);
    if (id != padding_idx && (id < 0 || id >= length))
      throw DeviceError("embedding: id " + std::to_string(id) + " at position " + std::to_string(i) +
                        " is outside a table of " + std::to_string(length) + " rows");
    rows[static_cast<size_t>(i)] = id == padding_idx ? -1 : id;
  }
  return rows;
}

template <typename T>
void embedding(Context& ctx, const Tensor& ids, const Tensor& weight, int64_t padding_idx, Output& out) {
  Shape shape = ids.shape;
  shape.push_back(weight.shape[1]);
  ctx.resize(out, shape);
  T* r = host::out<T>(ctx, out);
  const T* table = host::in<T>(weight);
  const int64_t count = ids.numel();
  visit_index(ids, [&](const auto* numbers) {
    host::launch(ctx, [=, tables = Tables(weight.shape, 0)] {
      take_rows(tables, embedding_rows(numbers, count, tables.length, padding_idx), table, r);
    });
  });
}

template <typename T>
void embedding_grad(Context& ctx, const Tensor& ids, const Tensor& weight, const Tensor& out_grad, int64_t padding_idx,
                    Output& weight_grad) {
  ctx.resize(weight_grad, weight.shape);
  T* r = host::out<T>(ctx, weight_grad);
  const T* g = host::in<T>(out_grad);
  const int64_t count = ids.numel(), size = weight.numel();
  visit_index(ids, [&](const auto* numbers) {
    host::launch(ctx, [=, tables = Tables(weight.shape, 0)] {
      fill_all(r, size, T(0));
      sum_rows(tables, embedding_rows(numbers, count, tables.length, padding_idx), g, r);
    });
  });
}

ADAPTER_KERNEL("embedding", embedding, none, float, double, float16, bfloat16)
ADAPTER_KERNEL("embedding_grad", embedding_grad, wide, float, double, float16, bfloat16)

}  // namespace adapter::kernels
