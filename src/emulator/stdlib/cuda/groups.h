#pragma once
// cooperative_groups: blocks, tiles of a warp, and lanes that happen to be together.
#include "atomic.h"

namespace cooperative_groups {

struct thread_block {
  KW_MEETING static void sync(KW_HERE) { kw_cuda::barrier(site); }
  static unsigned thread_rank() {
    const uint3 at = kw_cuda::thread_index();
    const dim3 size = kw_cuda::block_size();
    return (at.z * size.y + at.y) * size.x + at.x;
  }
  static unsigned size() {
    const dim3 d = kw_cuda::block_size();
    return d.x * d.y * d.z;
  }
  static unsigned num_threads() { return size(); }
  static dim3 group_index() { return dim3(kw_cuda::block_index()); }
  static dim3 thread_index() { return dim3(kw_cuda::thread_index()); }
  static dim3 group_dim() { return kw_cuda::block_size(); }
  static dim3 dim_threads() { return kw_cuda::block_size(); }
};
inline thread_block this_thread_block() { return {}; }

/// Some lanes of a warp, neighbours or not: what tiles and coalesced groups have in common. `Ranks` says which lane is
/// the i-th.
template <class Self>
struct lanes_of_a_warp {
  KW_MEETING void sync(KW_HERE) const { __syncwarp(mask(), site); }
  KW_MEETING unsigned ballot(int vote, KW_HERE) const { return self().packed(kw_cuda::votes(mask(), vote != 0, site)); }
  KW_MEETING int any(int vote, KW_HERE) const { return kw_cuda::votes(mask(), vote != 0, site) != 0; }
  KW_MEETING int all(int vote, KW_HERE) const { return kw_cuda::votes(mask(), vote == 0, site) == 0; }
  template <class T>
  KW_MEETING unsigned match_any(T value, KW_HERE) const {
    return self().packed(kw_cuda::matching(mask(), value, site));
  }
  template <class T>
  KW_MEETING T shfl(T value, int source, KW_HERE) const {
    return kw_cuda::exchange(mask(), value, self().lane(source), site);
  }
  template <class T>
  KW_MEETING T shfl_up(T value, unsigned delta, KW_HERE) const {
    const int rank = static_cast<int>(self().thread_rank()), from = rank - static_cast<int>(delta);
    return kw_cuda::exchange(mask(), value, self().lane(from < 0 ? rank : from), site);
  }
  template <class T>
  KW_MEETING T shfl_down(T value, unsigned delta, KW_HERE) const {
    const int rank = static_cast<int>(self().thread_rank()), from = rank + static_cast<int>(delta);
    return kw_cuda::exchange(mask(), value, self().lane(from >= static_cast<int>(self().size()) ? rank : from), site);
  }
  template <class T>
  KW_MEETING T shfl_xor(T value, unsigned bits, KW_HERE) const {
    return kw_cuda::exchange(mask(), value, self().lane(static_cast<int>(self().thread_rank() ^ bits)), site);
  }
  unsigned num_threads() const { return self().size(); }

 private:
  const Self& self() const { return static_cast<const Self&>(*this); }
  unsigned mask() const { return self().lane_mask(); }
};

template <unsigned n, class Parent = void>
struct thread_block_tile : lanes_of_a_warp<thread_block_tile<n, Parent>> {
  static_assert(n <= 32 && (n & (n - 1)) == 0, "a tile has 1, 2, 4, 8, 16 or 32 threads here");
  static constexpr unsigned size() { return n; }
  static unsigned thread_rank() { return kw_cuda::lane_index() % n; }
  static unsigned meta_group_rank() { return thread_block::thread_rank() / n; }
  static unsigned meta_group_size() { return (thread_block::size() + n - 1) / n; }
  static unsigned lane_mask() { return (n == 32 ? ~0u : (1u << n % 32) - 1) << first(); }
  static int lane(int rank) { return static_cast<int>(first()) + (rank & static_cast<int>(n - 1)); }
  static unsigned packed(unsigned lanes) { return lanes >> first() & (n == 32 ? ~0u : (1u << n % 32) - 1); }

 private:
  static unsigned first() { return kw_cuda::lane_index() / n * n; }
};
template <unsigned n, class Parent>
inline thread_block_tile<n, Parent> tiled_partition(const Parent&) {
  return {};
}

/// Lanes named by a mask.
struct coalesced_group : lanes_of_a_warp<coalesced_group> {
  explicit coalesced_group(unsigned lanes) : lanes_(lanes) {}
  unsigned size() const { return static_cast<unsigned>(__builtin_popcount(lanes_)); }
  unsigned thread_rank() const {
    return static_cast<unsigned>(__builtin_popcount(lanes_ & ((1u << kw_cuda::lane_index()) - 1)));
  }
  unsigned lane_mask() const { return lanes_; }
  int lane(int rank) const {
    unsigned left = lanes_;
    for (; rank > 0 && left; --rank) left &= left - 1;
    return left ? __builtin_ctz(left) : 0;
  }
  unsigned packed(unsigned lanes) const {
    unsigned made = 0, place = 0;
    for (unsigned left = lanes_; left; left &= left - 1, ++place) made |= (lanes >> __builtin_ctz(left) & 1u) << place;
    return made;
  }

 private:
  unsigned lanes_;
};
KW_MEETING coalesced_group coalesced_threads(KW_HERE) { return coalesced_group(__activemask(site)); }

template <class Group>
KW_MEETING void sync(const Group& group, KW_HERE) {
  group.sync(site);
}

template <class T>
struct plus {
  T operator()(T a, T b) const { return a + b; }
};
template <class T>
struct less {
  T operator()(T a, T b) const { return b < a ? b : a; }
};
template <class T>
struct greater {
  T operator()(T a, T b) const { return a < b ? b : a; }
};
template <class T>
struct bit_and {
  T operator()(T a, T b) const { return a & b; }
};
template <class T>
struct bit_or {
  T operator()(T a, T b) const { return a | b; }
};
template <class T>
struct bit_xor {
  T operator()(T a, T b) const { return a ^ b; }
};

namespace kw_detail {
template <class T, class Op>
KW_EMU_UNSEEN inline void reduce(uint32_t active, char* slots, uint32_t stride) {
  T values[32];
  int count = 0;
  for (int i = 0; i < 32; ++i)
    if (active >> i & 1) values[count++] = kw_cuda::get_slot<T>(slots, stride, i);
  for (int step = 1; step < count; step *= 2)
    for (int i = 0; i + step < count; i += 2 * step) values[i] = Op()(values[i], values[i + step]);
  for (int i = 0; i < 32; ++i)
    if (active >> i & 1) kw_cuda::set_slot(slots, stride, i, values[0]);
}
template <class T, class Op, bool inclusive>
KW_EMU_UNSEEN inline void scan(uint32_t active, char* slots, uint32_t stride) {
  bool first = true;
  T running{};
  for (int i = 0; i < 32; ++i) {
    if (!(active >> i & 1)) continue;
    const T mine = kw_cuda::get_slot<T>(slots, stride, i), next = first ? mine : Op()(running, mine);
    kw_cuda::set_slot(slots, stride, i, inclusive ? next : running);
    running = next;
    first = false;
  }
}
}  // namespace kw_detail

template <class Group, class T, class Op>
KW_MEETING T reduce(const Group& group, T value, const Op&, KW_HERE) {
  static_assert(sizeof(T) <= 32);
  kw_emu_warp(&value, sizeof value, kw_detail::reduce<T, Op>, KW_EMU_OP_REDUCE, group.lane_mask(), site);
  return value;
}
template <class Group, class T, class Op>
KW_MEETING T inclusive_scan(const Group& group, T value, const Op&, KW_HERE) {
  kw_emu_warp(&value, sizeof value, kw_detail::scan<T, Op, true>, KW_EMU_OP_REDUCE, group.lane_mask(), site);
  return value;
}
template <class Group, class T, class Op>
KW_MEETING T exclusive_scan(const Group& group, T value, const Op&, KW_HERE) {
  kw_emu_warp(&value, sizeof value, kw_detail::scan<T, Op, false>, KW_EMU_OP_REDUCE, group.lane_mask(), site);
  return value;
}
template <class Group, class T>
KW_MEETING T inclusive_scan(const Group& group, T value, KW_HERE) {
  return inclusive_scan(group, value, plus<T>(), site);
}
template <class Group, class T>
KW_MEETING T exclusive_scan(const Group& group, T value, KW_HERE) {
  return exclusive_scan(group, value, plus<T>(), site);
}

}  // namespace cooperative_groups
