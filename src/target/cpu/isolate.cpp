#include "target/cpu/isolate.h"

#include <algorithm>
#include <cstring>
#include <set>

namespace kw::target {
namespace {

using runtime::Argument;
using runtime::Role;

constexpr uint64_t copy_limit_bytes = uint64_t{1} << 27;  // for all groups of a launch together

/// A writable buffer before the launch, and what the groups made of it so far.
struct Watched {
  size_t buffer;
  std::vector<char> before, joined, written;
};

struct Arguments {
  std::vector<uint64_t> scalars;
  std::vector<void*> slots;
};

Arguments arguments_of(const runtime::Launch& launch, const std::vector<Place>& places) {
  Arguments made;
  made.scalars.resize(launch.args.size());
  for (size_t i = 0; i < launch.args.size(); ++i) {
    const Argument& arg = launch.args[i];
    made.scalars[i] = static_cast<uint64_t>(arg.integer);
    if (arg.kind == Argument::Kind::real) std::memcpy(&made.scalars[i], &arg.real, sizeof arg.real);
    made.slots.push_back(arg.kind == Argument::Kind::buffer ? places[static_cast<size_t>(arg.integer)].data
                                                            : static_cast<void*>(&made.scalars[i]));
  }
  return made;
}

/// Numbers of the buffers that the launch may write.
std::set<size_t> writable(const runtime::Program& program, const runtime::Launch& launch) {
  std::set<size_t> numbers;
  for (const Argument& arg : launch.args) {
    if (arg.kind != Argument::Kind::buffer) continue;
    const Role role = program.buffers[static_cast<size_t>(arg.integer)].role;
    if (role == Role::output || role == Role::scratch || role == Role::state)
      numbers.insert(static_cast<size_t>(arg.integer));
  }
  return numbers;
}

Watched watch(size_t number, const Place& place) {
  const char* data = place.data;
  return {number, {data, data + place.bytes}, {data, data + place.bytes}, std::vector<char>(place.bytes)};
}

void call(const runtime::Launch& launch, runtime::Entry entry, const Arguments& arguments, int64_t number) {
  const int64_t group[3] = {number % launch.groups[0], number / launch.groups[0] % launch.groups[1],
                            number / (launch.groups[0] * launch.groups[1])};
  entry(arguments.slots.data(), group);
}

/// False when another group left another value there.
bool join(Watched& watched, const char* now) {
  for (size_t i = 0; i < watched.before.size(); ++i) {
    if (now[i] == watched.before[i]) continue;
    if (watched.written[i] && watched.joined[i] != now[i]) return false;
    watched.written[i] = 1;
    watched.joined[i] = now[i];
  }
  return true;
}

}  // namespace

std::string isolate(const runtime::Program& program, const runtime::Launch& launch, runtime::Entry entry,
                    const std::vector<Place>& places) {
  const Arguments arguments = arguments_of(launch, places);
  uint64_t bytes = 1;
  for (const size_t number : writable(program, launch)) bytes += places[number].bytes;
  const int64_t count = launch.count();
  const bool dear = static_cast<uint64_t>(count) > copy_limit_bytes / bytes;
  std::vector<Watched> list;
  if (!dear)
    for (const size_t number : writable(program, launch)) list.push_back(watch(number, places[number]));
  for (int64_t i = count; i-- > 0;) {
    call(launch, entry, arguments, i);
    for (Watched& watched : list) {
      const Place& place = places[watched.buffer];
      if (!join(watched, place.data))
        return "two groups of one launch write different values to the same element of " +
               program.buffers[watched.buffer].name;
      std::copy(watched.before.begin(), watched.before.end(), place.data);
    }
  }
  for (const Watched& watched : list)
    std::copy(watched.joined.begin(), watched.joined.end(), places[watched.buffer].data);
  return "";
}

}  // namespace kw::target
