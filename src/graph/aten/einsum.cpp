#include <algorithm>
#include <set>

#include "graph/aten/call.h"

/// torch.einsum: any number of operands, repeated letters, an ellipsis.
namespace kw::graph::aten {

namespace {

constexpr int ellipsis_base = 1000;  // labels of the axes that "..." stands for, counted from the right

struct Term {
  NodeId node;
  Axes labels;
};

struct Equation {
  std::vector<std::string> inputs;
  std::optional<std::string> output;
};

Equation parse(const std::string& text) {
  std::string s;
  std::copy_if(text.begin(), text.end(), std::back_inserter(s), [](char ch) { return ch != ' '; });
  Equation e;
  const size_t arrow = s.find("->");
  if (arrow != std::string::npos) e.output = s.substr(arrow + 2);
  const std::string left = s.substr(0, arrow);
  size_t at = 0;
  while (at <= left.size()) {
    const size_t comma = std::min(left.find(',', at), left.size());
    e.inputs.push_back(left.substr(at, comma - at));
    at = comma + 1;
  }
  return e;
}

Axes labels_of(Call& c, const std::string& term, int ellipsis_rank) {
  Axes labels;
  for (size_t i = 0; i < term.size(); ++i) {
    if (term.compare(i, 3, "...") == 0) {
      for (int k = ellipsis_rank; k > 0; --k) labels.push_back(ellipsis_base + k);
      i += 2;
    } else if (std::isalpha(static_cast<unsigned char>(term[i]))) {
      labels.push_back(term[i]);
    } else {
      c.refuse_argument("has an equation with an unknown sign");
    }
  }
  return labels;
}

int ellipsis_rank(Call& c, const std::string& term, NodeId x) {
  if (term.find("...") == std::string::npos) return 0;
  const int n = c.rank(x) - static_cast<int>(term.size() - 3);
  if (n < 0) c.refuse_argument("has an equation with more letters than its operand has axes");
  return n;
}

/// A letter twice in one operand is its diagonal.
Term without_repeats(Call& c, Term t) {
  for (size_t i = 0; i < t.labels.size(); ++i) {
    for (size_t j = i + 1; j < t.labels.size(); ++j) {
      if (t.labels[i] != t.labels[j]) continue;
      const int a = static_cast<int>(i), b = static_cast<int>(j), n = c.rank(t.node);
      const NodeId mask = c.map(c.index_along(c.size(t.node, a), a, n), c.index_along(c.size(t.node, b), b, n),
                                [](E x, E y) { return x == y; });
      t.node = c.sum(c.map(t.node, mask, [](E v, E keep) { return select(keep, v, 0.0); }), {b});
      t.labels.erase(t.labels.begin() + b);
      return without_repeats(c, t);
    }
  }
  return t;
}

/// Drops size-1 axes whose label is wider elsewhere: broadcasting by an ellipsis.
Term without_unit_axes(Call& c, Term t, const std::map<int, int64_t>& sizes) {
  for (size_t i = t.labels.size(); i-- > 0;) {
    if (c.size(t.node, static_cast<int>(i)) == 1 && sizes.at(t.labels[i]) != 1) {
      t.node = c.squeeze(t.node, static_cast<int>(i));
      t.labels.erase(t.labels.begin() + static_cast<int>(i));
    }
  }
  return t;
}

/// Output labels when the equation has no arrow: the ellipsis, then letters that occur once, sorted.
Axes implied_output(const std::vector<Term>& terms, int ellipsis) {
  std::map<int, int> count;
  for (const Term& t : terms) {
    for (int l : t.labels) ++count[l];
  }
  Axes out;
  for (int k = ellipsis; k > 0; --k) out.push_back(ellipsis_base + k);
  for (const auto& [label, times] : count) {
    if (label < ellipsis_base && times == 1) out.push_back(label);
  }
  return out;
}

/// Contracts two terms, keeping the labels that the output or a later term needs.
Term contract(Call& c, const Term& a, const Term& b, const std::set<int>& needed) {
  Axes out;
  for (const Axes* side : {&a.labels, &b.labels}) {
    for (int l : *side) {
      if (needed.contains(l) && std::find(out.begin(), out.end(), l) == out.end()) out.push_back(l);
    }
  }
  return {c.g.contract(a.node, a.labels, b.node, b.labels, out), out};
}

NodeId arranged(Call& c, const Term& t, const Axes& out) {
  Axes summed, kept, perm;
  for (size_t i = 0; i < t.labels.size(); ++i) {
    const bool in = std::find(out.begin(), out.end(), t.labels[i]) != out.end();
    in ? kept.push_back(t.labels[i]) : summed.push_back(static_cast<int>(i));
  }
  for (int l : out) perm.push_back(static_cast<int>(std::find(kept.begin(), kept.end(), l) - kept.begin()));
  return c.permute(c.sum(t.node, summed), perm);
}

Values einsum(Call& c) {
  Nodes xs = c.tensors("tensors");
  const Equation e = parse(c.text("equation", ""));
  if (xs.empty() || e.inputs.size() != xs.size()) c.refuse_argument("has an equation for another number of operands");
  std::vector<Term> terms;
  std::map<int, int64_t> sizes;
  int widest = 0;
  for (size_t i = 0; i < xs.size(); ++i) {
    const int dots = ellipsis_rank(c, e.inputs[i], xs[i]);
    widest = std::max(widest, dots);
    Term t{c.cast(xs[i], c.compute()), labels_of(c, e.inputs[i], dots)};
    if (t.labels.size() != c.shape(t.node).size()) c.refuse_argument("has an equation that does not fit its operands");
    for (size_t k = 0; k < t.labels.size(); ++k) {
      int64_t& s = sizes[t.labels[k]];
      s = std::max(s, c.size(t.node, static_cast<int>(k)));
    }
    terms.push_back(t);
  }
  const Axes out = e.output ? labels_of(c, *e.output, widest) : implied_output(terms, widest);
  for (Term& t : terms) t = without_unit_axes(c, without_repeats(c, t), sizes);
  Term all = terms[0];
  for (size_t i = 1; i < terms.size(); ++i) {
    std::set<int> needed(out.begin(), out.end());
    for (size_t k = i + 1; k < terms.size(); ++k) needed.insert(terms[k].labels.begin(), terms[k].labels.end());
    all = contract(c, all, terms[i], needed);
  }
  return arranged(c, all, out);
}

}  // namespace

Rows einsum_rows() { return {{"einsum", einsum}}; }

}  // namespace kw::graph::aten
