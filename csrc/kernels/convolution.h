// The geometry of a two-dimensional convolution, and the matrix of patches that turns it into a matrix product.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "adapter_sdk/host/parallel.h"
#include "adapter_sdk/tensor.h"

namespace adapter::kernels {

// One axis of the image under the window.
struct ConvAxis {
  int64_t in, window, stride, pad, dilation, out;
  // Where tap `k` of the window at output `o` reads; outside [0, in) lies the padding.
  int64_t source(int64_t o, int64_t k) const { return o * stride - pad + k * dilation; }
};

// Images [batch, channels, height, width] (or channels last), filters [filters, channels / groups, height, width].
struct Convolution {
  int64_t batch, channels, filters, groups;
  bool channels_last;
  ConvAxis height, width;

  Convolution(const Shape& x, const Shape& filter, const std::vector<int32_t>& strides,
              const std::vector<int32_t>& paddings, const std::string& padding, const std::vector<int32_t>& dilations,
              int32_t group_count, const std::string& format) {
    if (x.rank != 4 || filter.rank != 4)
      throw InvalidArgument("conv2d: x " + to_string(x) + " and filter " + to_string(filter) + " must be of rank 4");
    if (strides.size() != 2 || dilations.size() != 2 || (paddings.size() != 2 && paddings.size() != 4))
      throw InvalidArgument("conv2d needs two strides, two dilations and two or four paddings");
    channels_last = format == "NHWC";
    batch = x[0], channels = x[channels_last ? 3 : 1], filters = filter[0], groups = group_count;
    if (groups < 1 || filters % groups != 0 || channels != filter[1] * groups)
      throw InvalidArgument("conv2d: " + std::to_string(groups) + " groups of filters " + to_string(filter) +
                            " do not fit " + std::to_string(channels) + " channels");
    const int first = channels_last ? 1 : 2;
    const bool each_side = paddings.size() == 4;
    height = axis(x[first], filter[2], strides[0], dilations[0], paddings[0], paddings[each_side ? 1 : 0], padding);
    width = axis(x[first + 1], filter[3], strides[1], dilations[1], paddings[each_side ? 2 : 1],
                 paddings[each_side ? 3 : 1], padding);
  }

  int64_t group_channels() const { return channels / groups; }
  int64_t group_filters() const { return filters / groups; }
  int64_t taps() const { return group_channels() * height.window * width.window; }  // rows of the patch matrix
  int64_t pixels() const { return height.in * width.in; }
  int64_t places() const { return height.out * width.out; }  // its columns
  Shape out_shape() const {
    return channels_last ? Shape{batch, height.out, width.out, filters} : Shape{batch, filters, height.out, width.out};
  }

  // Calls row(row of the patch matrix, channel within the group, tap down, tap right).
  template <typename Row>
  void each_tap(Row&& row) const {
    int64_t number = 0;
    for (int64_t c = 0; c < group_channels(); ++c)
      for (int64_t i = 0; i < height.window; ++i)
        for (int64_t j = 0; j < width.window; ++j) row(number++, c, i, j);
  }

 private:
  static ConvAxis axis(int64_t in, int64_t window, int64_t stride, int64_t dilation, int64_t before, int64_t behind,
                       const std::string& padding) {
    if (stride < 1 || dilation < 1) throw InvalidArgument("conv2d: strides and dilations start at 1");
    if (padding == "SAME") {  // as Paddle defines it, which drops the dilation
      const int64_t sum = std::max<int64_t>(((in + stride - 1) / stride - 1) * stride + window - in, 0);
      before = sum / 2, behind = sum - before, dilation = 1;
    } else if (padding == "VALID") {
      before = behind = 0;
    } else if (padding != "EXPLICIT") {
      throw InvalidArgument("conv2d: padding algorithm '" + padding + "' is not EXPLICIT, SAME or VALID");
    }
    const int64_t room = in + before + behind - (dilation * (window - 1) + 1);
    if (room < 0 && in > 0) throw InvalidArgument("conv2d: the window is larger than the padded image");
    return {in, window, stride, before, dilation, room < 0 ? 0 : room / stride + 1};
  }
};

// patches[tap][place] of one group of an image [channels][height][width], on several cores.
template <typename T>
void gather_patches(const Convolution& c, const T* image, T* patches) {
  host::parallel_for(c.taps(), host::rows_grain(c.places()), [&](int64_t first, int64_t last) {
    for (int64_t number = first; number < last; ++number) {
      const int64_t window = c.height.window * c.width.window, tap = number % window;
      const int64_t i = tap / c.width.window, j = tap % c.width.window;
      const T* plane = image + number / window * c.pixels();
      T* row = patches + number * c.places();
      for (int64_t o = 0; o < c.height.out; ++o, row += c.width.out) {
        const int64_t y = c.height.source(o, i);
        const bool inside = y >= 0 && y < c.height.in;
        for (int64_t p = 0; p < c.width.out; ++p) {
          const int64_t x = c.width.source(p, j);
          row[p] = inside && x >= 0 && x < c.width.in ? plane[y * c.width.in + x] : T(0);
        }
      }
    }
  });
}

// The gradient of gather_patches, added to `image`.
template <typename T>
void add_patches(const Convolution& c, const T* patches, T* image) {
  c.each_tap([&](int64_t number, int64_t channel, int64_t i, int64_t j) {
    T* plane = image + channel * c.pixels();
    const T* row = patches + number * c.places();
    for (int64_t o = 0; o < c.height.out; ++o, row += c.width.out) {
      const int64_t y = c.height.source(o, i);
      if (y < 0 || y >= c.height.in) continue;
      for (int64_t p = 0; p < c.width.out; ++p) {
        const int64_t x = c.width.source(p, j);
        if (x >= 0 && x < c.width.in) plane[y * c.width.in + x] += row[p];
      }
    }
  });
}

// to[j][i] = from[i][j]
template <typename From, typename To>
void flip_matrix(const From* from, int64_t rows, int64_t columns, To* to) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) to[j * rows + i] = from[i * columns + j];
}

}  // namespace adapter::kernels
