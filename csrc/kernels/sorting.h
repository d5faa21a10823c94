// Order of the elements along one axis, and the gradient of picking elements by it.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "adapter_sdk/half.h"
#include "adapter_sdk/host/access.h"
#include "axis_slices.h"
#include "bulk.h"

namespace adapter::kernels {

// A number that counts as `value` does: NaN as larger than every number, as in Paddle, and -0 as 0. Equal values have
// equal keys. An order from the large to the small has the keys turned round.
template <typename T>
auto sort_key(T value, bool descending) {
  if constexpr (is_half<T>) {
    return sort_key(static_cast<float>(value), descending);
  } else {
    using Key = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
    constexpr Key kSign = Key{1} << (8 * sizeof(Key) - 1);
    Key key;
    if constexpr (std::is_floating_point_v<T>) {
      const T number = value + T(0);  // -0 + 0 is 0
      std::memcpy(&key, &number, sizeof key);
      key = value != value ? ~Key{0} : key & kSign ? ~key : key | kSign;
    } else {
      key = static_cast<Key>(static_cast<std::conditional_t<sizeof(T) == 8, int64_t, int32_t>>(value)) ^ kSign;
    }
    return descending ? static_cast<Key>(~key) : key;
  }
}

template <typename Key>
struct SortItem {
  Key key;
  int64_t position;
  friend bool operator<(const SortItem& a, const SortItem& b) {
    return a.key < b.key || (a.key == b.key && a.position < b.position);
  }
};

// A 32-bit key and its position in one number.
struct PackedItem {
  uint64_t bits;
  friend bool operator<(const PackedItem& a, const PackedItem& b) { return a.bits < b.bits; }
};

template <typename Key>
using SortItemOf = std::conditional_t<sizeof(Key) == 4, PackedItem, SortItem<Key>>;

template <typename T>
using SortItemFor = SortItemOf<decltype(sort_key(std::declval<T>(), false))>;

// Brings the first `wanted` of `items` to the front in sorted order; equal ones keep their order.
template <typename Item>
void sort_front(std::vector<Item>& items, int64_t wanted) {
  const auto middle = items.begin() + wanted;
  if (wanted < static_cast<int64_t>(items.size()) / 8)
    std::partial_sort(items.begin(), middle, items.end());
  else {
    if (middle != items.end()) std::nth_element(items.begin(), middle, items.end());
    std::sort(items.begin(), middle);
  }
}

// Fills `items` with the elements of one slice and sorts the first `wanted`.
template <typename T>
void sorted_slice(const T* x, int64_t length, int64_t step, int64_t wanted, bool descending,
                  std::vector<SortItemFor<T>>& items) {
  items.resize(static_cast<size_t>(length));
  for (int64_t j = 0; j < length; ++j) {
    const auto key = sort_key(x[j * step], descending);
    if constexpr (sizeof(key) == 4)
      items[static_cast<size_t>(j)] = {uint64_t{key} << 32 | static_cast<uint32_t>(j)};
    else
      items[static_cast<size_t>(j)] = {key, j};
  }
  sort_front(items, wanted);
}

inline int64_t position_of(const PackedItem& item) { return static_cast<int64_t>(item.bits & 0xFFFFFFFF); }
template <typename Key>
int64_t position_of(const SortItem<Key>& item) {
  return item.position;
}

// The first `wanted` elements of every slice along `axis` in sorted order, and where they stood.
template <typename T>
void launch_sort(Context& ctx, const Tensor& x, int64_t axis, int64_t wanted, bool descending, Output& out,
                 Output& indices) {
  Shape shape = x.shape;
  if (shape.rank > 0) shape[x.shape.axis(axis)] = wanted;
  ctx.resize(out, shape);
  ctx.resize(indices, shape);
  T* r = host::out<T>(ctx, out);
  int64_t* places = host::out<int64_t>(ctx, indices);
  const T* a = host::in<T>(x);
  host::launch(ctx, [=, slices = AxisSlices(x.shape, axis)] {
    if (slices.length > int64_t{UINT32_MAX}) throw DeviceError("an axis of more than 2^32 elements cannot be sorted");
    using Items = std::vector<SortItemFor<T>>;
    slices.each([] { return Items(); },
                [&](int64_t slice, int64_t offset, Items& items) {
                  sorted_slice(a + offset, slices.length, slices.inner, wanted, descending, items);
                  const int64_t start = slice / slices.inner * wanted * slices.inner + slice % slices.inner;
                  for (int64_t j = 0; j < wanted; ++j) {
                    const int64_t position = position_of(items[static_cast<size_t>(j)]);
                    r[start + j * slices.inner] = a[offset + position * slices.inner];
                    places[start + j * slices.inner] = position;
                  }
                });
  });
}

// Gives every picked element its gradient, all others zero.
template <typename T>
void launch_unsort(Context& ctx, const Shape& shape, const Tensor& indices, const Tensor& out_grad, int64_t axis,
                   Output& x_grad) {
  ctx.resize(x_grad, shape);
  T* r = host::out<T>(ctx, x_grad);
  const int64_t* places = host::in<int64_t>(indices);
  const T* g = host::in<T>(out_grad);
  const int64_t length = AxisSlices(shape, axis).length, size = shape.numel();
  host::launch(ctx, [=, slices = AxisSlices(indices.shape, axis)] {
    fill_all(r, size, T(0));
    slices.each([&](int64_t slice, int64_t offset) {
      const int64_t start = slice / slices.inner * length * slices.inner + slice % slices.inner;
      for (int64_t j = 0; j < slices.length; ++j) {
        const int64_t k = offset + j * slices.inner;
        r[start + places[k] * slices.inner] = g[k];
      }
    });
  });
}

}  // namespace adapter::kernels
