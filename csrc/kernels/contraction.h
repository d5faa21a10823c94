// Sums of products named by an equation such as "bij,bjk->bik": each operand is brought into the order that a batch of
// matrix products wants, and the result into the order asked for.
#pragma once

#include <algorithm>
#include <cctype>
#include <string>
#include <utility>
#include <vector>

#include "adapter_sdk/host/strided.h"
#include "copy.h"
#include "gemm.h"

namespace adapter::kernels {

using Labels = std::vector<int>;  // a letter, or kEllipsis + n for the n-th axis from the end that "..." stands for

inline constexpr int kEllipsis = 256;

inline bool has_label(const Labels& labels, int label) {
  return std::find(labels.begin(), labels.end(), label) != labels.end();
}

// The labels of one term. `dots` is the number of axes that "..." stands for.
inline Labels parse_term(const std::string& term, int dots) {
  Labels labels;
  for (size_t i = 0; i < term.size(); ++i) {
    if (term.compare(i, 3, "...") == 0) {
      for (int n = dots; n-- > 0;) labels.push_back(kEllipsis + n);
      i += 2;
    } else if (std::isalpha(static_cast<unsigned char>(term[i]))) {
      labels.push_back(term[i]);
    } else {
      throw InvalidArgument("einsum: '" + term + "' holds something else than letters and one ellipsis");
    }
  }
  return labels;
}

// One operand, or the result: its labels and its shape.
struct ContractionTerm {
  Labels labels;
  Shape shape;

  // Elements between neighbours along a label: the sum over its axes (a diagonal), 0 where it is missing or broadcast.
  int64_t stride(int label) const {
    const Shape own = host::contiguous_strides(shape);
    int64_t sum = 0;
    for (size_t i = 0; i < labels.size(); ++i) {
      const int axis = static_cast<int>(i);
      if (labels[i] == label && shape[axis] != 1) sum += own[axis];
    }
    return sum;
  }
};

// An operand, as a matrix product wants it: the axes of the matrices and those that are summed beforehand.
struct Arrangement {
  Labels axes, summed;
};

class Contraction {
 public:
  ContractionTerm terms[2], result;
  Arrangement arranged[2], product;
  int64_t batch = 1, m = 1, n = 1, k = 1;
  bool single;

  Contraction(const std::string& equation, const std::vector<Shape>& shapes) : single(shapes.size() == 1) {
    parse(without_blanks(equation), shapes);
    measure();
    arrange();
  }

  int64_t size(const Labels& labels) const { return space(labels).numel(); }
  Shape space(const Labels& labels) const {
    Shape shape;
    for (int label : labels) shape.push_back(length(label));
    return shape;
  }
  Shape strides(const ContractionTerm& term, const Labels& labels) const {
    Shape result_strides;
    for (int label : labels) result_strides.push_back(term.stride(label));
    return result_strides;
  }

 private:
  std::vector<std::pair<int, int64_t>> lengths_;

  static std::string without_blanks(std::string text) {
    text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
    return text;
  }

  int64_t length(int label) const {
    for (const auto& [known, value] : lengths_)
      if (known == label) return value;
    throw InvalidArgument("einsum: the result names an axis that no operand has");
  }

  void parse(const std::string& equation, const std::vector<Shape>& shapes) {
    const size_t arrow = equation.find("->"), comma = equation.find(',');
    if (arrow == std::string::npos || shapes.empty() || shapes.size() > 2 || (comma == std::string::npos) != single)
      throw InvalidArgument("einsum: '" + equation + "' with " + std::to_string(shapes.size()) +
                            " operands; wanted one or two and an arrow");
    std::string texts[2] = {equation.substr(0, std::min(arrow, comma)), ""};
    if (!single) texts[1] = equation.substr(comma + 1, arrow - comma - 1);
    int dots = 0;
    for (size_t i = 0; i < shapes.size(); ++i) {
      const size_t at = texts[i].find("...");
      const int letters = static_cast<int>(texts[i].size()) - (at == std::string::npos ? 0 : 3);
      const int own = shapes[i].rank - letters;
      if (own < 0 || (own > 0 && at == std::string::npos))
        throw InvalidArgument("einsum: '" + texts[i] + "' does not name the axes of " + to_string(shapes[i]));
      terms[i] = {parse_term(texts[i], own), shapes[i]};
      dots = std::max(dots, own);
    }
    result.labels = parse_term(equation.substr(arrow + 2), dots);
  }

  void measure() {
    for (const ContractionTerm& term : terms)
      for (size_t i = 0; i < term.labels.size(); ++i) note(term.labels[i], term.shape[static_cast<int>(i)]);
    result.shape = space(result.labels);
  }
  void note(int label, int64_t value) {
    for (auto& [known, held] : lengths_) {
      if (known != label) continue;
      if (held != value && held != 1 && value != 1)
        throw InvalidArgument("einsum: an axis is " + std::to_string(held) + " and " + std::to_string(value) +
                              " elements long");
      if (held == 1) held = value;
      return;
    }
    lengths_.emplace_back(label, value);
  }

  // Labels in both operands and the result make the batch; in both operands only, the inner axis of the product.
  void arrange() {
    Labels both, left, right, inner;
    for (const auto& entry : lengths_) {
      const int label = entry.first;
      const bool in_left = has_label(terms[0].labels, label), in_right = has_label(terms[1].labels, label),
                 kept = has_label(result.labels, label);
      if (in_left && in_right)
        (kept ? both : inner).push_back(label);
      else if (kept)
        (in_left ? left : right).push_back(label);
      else
        arranged[in_left ? 0 : 1].summed.push_back(label);
    }
    batch = size(both), m = size(left), n = size(right), k = size(inner);
    arranged[0].axes = joined(both, left, inner);
    arranged[1].axes = joined(both, inner, right);
    product.axes = joined(both, left, right);
  }
  static Labels joined(const Labels& a, const Labels& b, const Labels& c) {
    Labels all = a;
    all.insert(all.end(), b.begin(), b.end());
    all.insert(all.end(), c.begin(), c.end());
    return all;
  }
};

// Walks the matrices of an operand together with its own elements: step(place in the matrices, place in the operand).
template <typename Step>
void each_arranged(const Contraction& c, const ContractionTerm& term, const Arrangement& arrangement, Step&& step) {
  Labels all = arrangement.axes;
  all.insert(all.end(), arrangement.summed.begin(), arrangement.summed.end());
  Shape matrices = host::contiguous_strides(c.space(arrangement.axes));
  for (size_t i = 0; i < arrangement.summed.size(); ++i) matrices.push_back(0);
  const host::Walk<2> walk(c.space(all), {matrices, c.strides(term, all)});
  walk.rows([&](const std::array<int64_t, 2>& o, int64_t count) {
    for (int64_t i = 0; i < count; ++i) step(o[0] + i * walk.inner_stride(0), o[1] + i * walk.inner_stride(1));
  });
}

}  // namespace adapter::kernels
