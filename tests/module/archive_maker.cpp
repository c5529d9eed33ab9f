#include "archive_maker.h"

#include <zlib.h>

#include "base/result.h"

namespace kw::test {
namespace {

void put(std::string& out, uint64_t value, int width) {
  for (int i = 0; i < width; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

std::string deflate_raw(const std::string& text) {
  z_stream stream{};
  check(deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK, "deflateInit2");
  std::string packed(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  check(deflate(&stream, Z_FINISH) == Z_STREAM_END, "deflate");
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

std::string meta(const std::string& sizes, const std::string& strides) {
  return R"({"dtype": 7, "sizes": [)" + sizes +
         R"(], "requires_grad": false, "device": {"type": "cpu", "index": null}, )" + R"("strides": [)" + strides +
         R"(], "storage_offset": {"as_int": 0}, "layout": 7})";
}

std::string size(int value) { return R"({"as_int": )" + std::to_string(value) + "}"; }

std::string matrix(int rows, int columns) {
  return meta(size(rows) + ", " + size(columns), size(columns) + ", " + size(1));
}

std::string program_json() {
  const std::string vector = meta(size(4), size(1));
  return R"({"graph_module": {"graph": {"inputs": [{"as_tensor": {"name": "p_w"}}, {"as_tensor": {"name": "p_b"}},
    {"as_tensor": {"name": "x"}}], "outputs": [{"as_tensor": {"name": "linear"}}], "nodes": [
    {"target": "torch.ops.aten.linear.default", "inputs": [
      {"name": "input", "arg": {"as_tensor": {"name": "x"}}, "kind": 1},
      {"name": "weight", "arg": {"as_tensor": {"name": "p_w"}}, "kind": 1},
      {"name": "bias", "arg": {"as_tensor": {"name": "p_b"}}, "kind": 1}],
     "outputs": [{"as_tensor": {"name": "linear"}}], "metadata": {
       "stack_trace": "File \"/home/u/net.py\", line 8, in forward\n    y = self.fc(x)\n  File \"/v/torch/nn/linear.py\", line 134, in forward\n    return out",
         "nn_module_stack" : "L__self__,,net.M;L__self__fc,fc,torch.nn.Linear"
}
, "name" : "linear"
}],
    "tensor_values": {"p_w": )" +
         matrix(4, 3) + R"(, "p_b": )" + vector + R"(, "x": )" + matrix(2, 3) + R"(, "linear": )" + matrix(2, 4) +
         R"(}, "sym_int_values": {}, "sym_bool_values": {}, "is_single_tensor_return": false},
    "signature": {"input_specs": [
      {"parameter": {"arg": {"name": "p_w"}, "parameter_name": "fc.weight"}},
      {"parameter": {"arg": {"name": "p_b"}, "parameter_name": "fc.bias"}},
      {"user_input": {"arg": {"as_tensor": {"name": "x"}}}}],
      "output_specs": [{"user_output": {"arg": {"as_tensor": {"name": "linear"}}}}]},
    "module_call_graph": [{"fqn": "", "signature": {"inputs": [], "outputs": [], "in_spec": "in", "out_spec": "out"}}]},
    "schema_version": {"major": 8, "minor": 20}})";
}

std::string entry(const std::string& path, const std::string& tensor_meta) {
  return R"({"path_name": ")" + path + R"(", "is_param": true, "use_pickle": false, "tensor_meta": )" + tensor_meta +
         "}";
}

std::string floats(int count) {
  std::string bytes;
  for (int i = 0; i < count; ++i) {
    const float value = 0.5f * static_cast<float>(i);
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  return bytes;
}

/// An extra field that moves what follows the header to a multiple of 64 bytes, as torch does.
std::string alignment_field(size_t header_end) {
  std::string field = "FB";
  const size_t length = (64 - (header_end + 4) % 64) % 64;
  put(field, length, 2);
  return field + std::string(length, 'Z');
}

}  // namespace

std::string make_zip(const std::vector<Member>& members) {
  std::string out, directory;
  for (const Member& member : members) {
    const std::string packed = member.deflate ? deflate_raw(member.content) : member.content;
    const auto bytes = reinterpret_cast<const Bytef*>(member.content.data());
    const uint64_t declared =
        member.declared_bytes >= 0 ? static_cast<uint64_t>(member.declared_bytes) : member.content.size();
    std::string common;  // the fields that both headers share
    put(common, member.deflate ? 8 : 0, 2);
    put(common, 0, 4);
    put(common, crc32_z(0, bytes, member.content.size()), 4);
    put(common, member.deflate ? packed.size() : declared, 4);
    put(common, declared, 4);
    put(common, member.name.size(), 2);
    const size_t offset = out.size();
    out += std::string("PK\3\4") + std::string("\x14\0\0\0", 4) + common;
    const std::string padding = alignment_field(out.size() + 2 + member.name.size());
    put(out, padding.size(), 2);
    out += member.name + padding + packed;
    directory += std::string("PK\1\2") + std::string("\x14\0\x14\0\0\0", 6) + common + std::string(12, '\0');
    put(directory, offset, 4);
    directory += member.name;
  }
  const size_t begin = out.size();
  out += directory + std::string("PK\5\6") + std::string(4, '\0');
  put(out, members.size(), 2);
  put(out, members.size(), 2);
  put(out, directory.size(), 4);
  put(out, begin, 4);
  put(out, 0, 2);
  return out;
}

std::vector<Member> linear_members() {
  const std::string config = R"({"config": {"fc.weight": )" + entry("weight_0", matrix(4, 3)) + R"(, "fc.bias": )" +
                             entry("weight_1", meta(size(4), size(1))) + "}}";
  return {{"m/data/weights/weight_0", floats(12)},
          {"m/data/weights/weight_1", floats(4)},
          {"m/data/weights/model_weights_config.json", config},
          {"m/data/constants/model_constants_config.json", R"({"config": {}})"},
          {"m/models/model.json", program_json(), true},
          {"m/archive_format", "pt2"},
          {"m/byteorder", "little"}};
}

std::vector<Member> with_edit(std::vector<Member> members, const std::string& name, const std::string& from,
                              const std::string& to) {
  for (Member& member : members) {
    if (member.name != name) continue;
    const size_t at = member.content.find(from);
    check(at != std::string::npos, "with_edit: the text to replace is absent");
    member.content.replace(at, from.size(), to);
  }
  return members;
}

}  // namespace kw::test
