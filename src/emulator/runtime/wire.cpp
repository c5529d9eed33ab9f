#include "emulator/runtime/wire.h"

#include <nlohmann/json.hpp>

namespace kw::emulator::wire {
namespace {

using nlohmann::json;

std::string hex(const std::string& bytes) {
  std::string text;
  for (const unsigned char byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

std::string unhex(const std::string& text) {
  std::string bytes;
  for (size_t at = 0; at + 1 < text.size(); at += 2)
    bytes += static_cast<char>(std::stoi(text.substr(at, 2), nullptr, 16));
  return bytes;
}

json site(const KwEmuSite& at) { return {at.line, at.column}; }
KwEmuSite site(const json& at) { return {nullptr, at.at(0).get<uint32_t>(), at.at(1).get<uint32_t>()}; }

json report(const RawReport& r) {
  return {static_cast<int>(r.fault),
          r.pc,
          r.other_pc,
          site(r.site),
          site(r.other_site),
          r.write,
          r.other_write,
          r.device,
          r.atomic,
          r.memory,
          r.byte,
          r.memory_bytes,
          r.access_bytes,
          r.group,
          r.thread,
          r.other_group,
          r.other_thread,
          r.count};
}

RawReport report(const json& j) {
  RawReport r;
  r.fault = static_cast<Fault>(j.at(0).get<uint8_t>());
  r.pc = j.at(1);
  r.other_pc = j.at(2);
  r.site = site(j.at(3));
  r.other_site = site(j.at(4));
  r.write = j.at(5);
  r.other_write = j.at(6);
  r.device = j.at(7);
  r.atomic = j.at(8);
  r.memory = j.at(9);
  r.byte = j.at(10);
  r.memory_bytes = j.at(11);
  r.access_bytes = j.at(12);
  r.group = j.at(13);
  r.thread = j.at(14);
  r.other_group = j.at(15);
  r.other_thread = j.at(16);
  r.count = j.at(17);
  return r;
}

template <class T>
json words(const T& value) {
  const auto* at = reinterpret_cast<const uint64_t*>(&value);
  return std::vector<uint64_t>(at, at + sizeof(T) / sizeof(uint64_t));
}

template <class T>
T unwords(const json& j) {
  T value;
  auto* at = reinterpret_cast<uint64_t*>(&value);
  for (size_t i = 0; i < sizeof(T) / sizeof(uint64_t); ++i) at[i] = j.at(i).get<uint64_t>();
  return value;
}

json dispatch(const DispatchSpec& d) {
  json buffers = json::array(), threadgroup = json::array();
  for (const BoundBuffer& b : d.buffers) buffers.push_back({b.index, b.region, b.offset});
  for (const GroupBytes& t : d.threadgroup) threadgroup.push_back({t.index, t.bytes});
  return {d.kernel, buffers, threadgroup, d.dim.threads, d.dim.group, d.only_groups};
}

DispatchSpec dispatch(const json& j) {
  DispatchSpec d;
  d.kernel = j.at(0);
  for (const json& b : j.at(1)) d.buffers.push_back({b.at(0), b.at(1), b.at(2)});
  for (const json& t : j.at(2)) d.threadgroup.push_back({t.at(0), t.at(1)});
  d.dim.threads = j.at(3);
  d.dim.group = j.at(4);
  d.only_groups = j.at(5).get<std::vector<uint64_t>>();
  return d;
}

}  // namespace

std::string encode(const Request& r) {
  json j = {{"memory", r.memory_bytes}, {"mode", static_cast<int>(r.mode)},
            {"seed", r.seed},           {"steps", r.step_limit},
            {"threads", r.threads},     {"timeout", r.timeout_s}};
  for (const RegionSpec& s : r.regions)
    j["regions"].push_back({s.name, s.begin, s.bytes, s.initialised, s.must_be_written, s.counted});
  for (const ConstantValue& c : r.constants) j["constants"].push_back({c.index, hex(c.bytes)});
  for (const DispatchSpec& d : r.dispatches) j["dispatches"].push_back(dispatch(d));
  return j.dump(-1, ' ', false, json::error_handler_t::replace);
}

bool decode(const std::string& text, Request& r) try {
  const json j = json::parse(text);
  r.memory_bytes = j.at("memory");
  r.mode = static_cast<Mode>(j.at("mode").get<uint8_t>());
  r.seed = j.at("seed");
  r.step_limit = j.at("steps");
  r.threads = j.at("threads");
  r.timeout_s = j.at("timeout");
  for (const json& s : j.value("regions", json::array()))
    r.regions.push_back({s.at(0), s.at(1), s.at(2), s.at(3), s.at(4), s.at(5)});
  for (const json& c : j.value("constants", json::array())) r.constants.push_back({c.at(0), unhex(c.at(1))});
  for (const json& d : j.value("dispatches", json::array())) r.dispatches.push_back(dispatch(d));
  return true;
} catch (const std::exception&) {
  return false;
}

std::string encode(const Reply& r) {
  json j = {{"failure", r.failure}, {"ended", r.ended}};
  for (size_t i = 0; i < r.reports.size(); ++i) {
    const auto& [file, other] = r.report_files.at(i);
    j["reports"].push_back({report(r.reports[i]), r.report_kernels.at(i), file, other});
  }
  for (const DispatchCounts& d : r.dispatches)
    j["dispatches"].push_back(
        {d.seconds, d.threadgroup_bytes, words(d.counts), words(d.profile), d.least_read_bytes, d.least_written_bytes});
  for (const Unwritten& u : r.unwritten) j["unwritten"].push_back({u.region, u.bytes, u.first_byte});
  return j.dump(-1, ' ', false, json::error_handler_t::replace);
}

bool decode(const std::string& text, Reply& r) try {
  const json j = json::parse(text);
  r.failure = j.at("failure");
  r.ended = j.at("ended");
  for (const json& one : j.value("reports", json::array())) {
    r.reports.push_back(report(one.at(0)));
    r.report_kernels.push_back(one.at(1));
    r.report_files.emplace_back(one.at(2), one.at(3));
  }
  for (const json& d : j.value("dispatches", json::array()))
    r.dispatches.push_back(
        {d.at(0), d.at(1), unwords<Counts>(d.at(2)), unwords<ProfileCounts>(d.at(3)), d.at(4), d.at(5)});
  for (const json& u : j.value("unwritten", json::array())) r.unwritten.push_back({u.at(0), u.at(1), u.at(2)});
  return true;
} catch (const std::exception&) {
  return false;
}

}  // namespace kw::emulator::wire
