#include "module/pt2.h"

#include <doctest/doctest.h>

#include <cmath>

#include "archive_maker.h"

using namespace kw;
using namespace kw::module;
using namespace kw::test;

namespace {

const std::string program_name = "m/models/model.json", config_name = "m/data/weights/model_weights_config.json";

Result<LoadedModule> load_bytes(const std::string& bytes) {
  const auto owner = std::make_shared<const std::string>(bytes);
  return load_pt2(std::as_bytes(std::span(*owner)), owner);
}

Result<LoadedModule> load_members(const std::vector<Member>& members) { return load_bytes(make_zip(members)); }

std::string failure_id(const Result<LoadedModule>& loaded) { return loaded ? "loaded" : loaded.failure().id; }

/// The linear module with one text of its program replaced.
Result<LoadedModule> load_edited(const std::string& from, const std::string& to) {
  return load_members(with_edit(linear_members(), program_name, from, to));
}

}  // namespace

TEST_CASE("a linear module is read whole") {
  const auto loaded = load_members(linear_members());
  REQUIRE_MESSAGE(loaded.ok(), failure_id(loaded));
  const Program& program = loaded->program;
  REQUIRE(program.nodes.size() == 1);
  CHECK(program.nodes[0].target == "aten.linear.default");
  CHECK(std::get<TensorRef>(program.nodes[0].arguments[1].value).name == "p_w");
  CHECK(program.inputs[2].kind == InputKind::user);
  CHECK(program.tensors.at("linear").shape == Shape{2, 4});
  CHECK(program.out_spec == "out");
  const Tensor& weight = loaded->weights.tensors.at("fc.weight");
  CHECK(weight.as<float>()[11] == 5.5f);
  CHECK(loaded->weights.file_offsets.contains("fc.weight"));
}

TEST_CASE("the user's line is the innermost outside torch") {
  const auto loaded = load_members(linear_members());
  REQUIRE(loaded.ok());
  const SourceLine& source = loaded->program.nodes[0].source;
  CHECK(source.file == "/home/u/net.py");
  CHECK(source.line == 8);
  CHECK(source.text == "y = self.fc(x)");
  CHECK(source.module_path == "fc");
}

TEST_CASE("a strided weight becomes dense") {
  // Stored [4, 3] read as a transposed [4, 3] with strides [1, 4].
  auto members = with_edit(linear_members(), config_name, R"("strides": [{"as_int": 3}, {"as_int": 1}])",
                           R"("strides": [{"as_int": 1}, {"as_int": 4}])");
  const auto loaded = load_members(members);
  REQUIRE_MESSAGE(loaded.ok(), failure_id(loaded));
  const float* weight = loaded->weights.tensors.at("fc.weight").as<float>();
  CHECK(weight[1] == 2.0f);  // element (0, 1) lies at storage index 4
  CHECK(weight[3] == 0.5f);
  CHECK(!loaded->weights.file_offsets.contains("fc.weight"));
}

TEST_CASE("non-finite floats are read as strings and as bare tokens") {
  for (const std::string token : {R"("-Infinity")", "-Infinity"}) {
    const auto loaded = load_edited(R"({"name": "bias", "arg": {"as_tensor": {"name": "p_b"}}, "kind": 1})",
                                    R"({"name": "bias", "arg": {"as_float": )" + token + R"(}, "kind": 1})");
    REQUIRE_MESSAGE(loaded.ok(), failure_id(loaded));
    CHECK(std::get<double>(loaded->program.nodes[0].arguments[2].value) == -INFINITY);
  }
}

TEST_CASE("parameters on the meta device have shapes and no data") {
  auto members = with_edit(linear_members(), config_name, R"("type": "cpu")", R"("type": "meta")");
  members[0].content.clear();
  const auto loaded = load_members(members);
  REQUIRE_MESSAGE(loaded.ok(), failure_id(loaded));
  CHECK(loaded->weights.tensors.at("fc.weight").data == nullptr);
  CHECK(loaded->weights.metas.at("fc.weight").shape == Shape{4, 3});
}

TEST_CASE("a grad-mode wrapper is inlined") {
  const std::string node = R"({"target": "torch.ops.higher_order.wrap_with_set_grad_enabled", "inputs": [
    {"name": "", "arg": {"as_bool": true}, "kind": 1},
    {"name": "", "arg": {"as_graph": {"name": "submod", "graph": {"inputs": [{"as_tensor": {"name": "arg"}}],
      "outputs": [{"as_tensor": {"name": "relu"}}], "nodes": [{"target": "torch.ops.aten.relu.default",
      "inputs": [{"name": "self", "arg": {"as_tensor": {"name": "arg"}}, "kind": 1}],
      "outputs": [{"as_tensor": {"name": "relu"}}], "metadata": {}}], "tensor_values": {"relu":
      {"dtype": 7, "sizes": [{"as_int": 2}, {"as_int": 3}], "strides": [{"as_int": 3}, {"as_int": 1}],
       "storage_offset": {"as_int": 0}, "layout": 7}}}}}, "kind": 1},
    {"name": "", "arg": {"as_tensor": {"name": "x"}}, "kind": 1}],
    "outputs": [{"as_tensors": [{"name": "wrapped"}]}], "metadata": {}}, )";
  auto members = with_edit(linear_members(), program_name, R"({"target": "torch.ops.aten.linear.default")",
                           node + R"({"target": "torch.ops.aten.linear.default")");
  members = with_edit(members, program_name, R"("input", "arg": {"as_tensor": {"name": "x"}})",
                      R"("input", "arg": {"as_tensor": {"name": "wrapped"}})");
  const auto loaded = load_members(members);
  REQUIRE_MESSAGE(loaded.ok(), loaded.failure().message);
  REQUIRE(loaded->program.nodes.size() == 2);
  CHECK(loaded->program.nodes[0].target == "aten.relu.default");
  CHECK(std::get<TensorRef>(loaded->program.nodes[1].arguments[0].value).name == loaded->program.nodes[0].outputs[0]);
}

TEST_CASE("what is not understood is refused by name") {
  struct Row {
    const char *from, *to, *id, *said;
  };
  const Row rows[] = {
      {R"("major": 8)", R"("major": 9)", "pt2.schema", "schema 9.20"},
      {R"("x": {"dtype": 7, "sizes": [{"as_int": 2})", R"("x": {"dtype": 7, "sizes": [{"as_expr": {"expr_str": "s0"}})",
       "pt2.dynamic_shape", "input `x` has the dynamic size s0 in dimension 0"},
      {R"("x": {"dtype": 7)", R"("x": {"dtype": 10)", "pt2.dtype", "input `x` has dtype complex64"},
      {R"("x": {"dtype": 7)", R"("x": {"dtype": 99)", "pt2.dtype", "number 99"},
      {"aten.linear.default", "higher_order.cond", "pt2.higher_order", "higher_order.cond (/home/u/net.py:8)"},
      {R"({"as_tensor": {"name": "p_w"}}, "kind": 1)", R"({"as_tensor": {"name": "q"}}, "kind": 1)", "pt2.schema",
       "`q`"},
      {R"("arg": {"as_tensor": {"name": "x"}}, "kind")", R"("arg": {"as_tensor": {"name": "x"}, "as_int": 1}, "kind")",
       "pt2.schema", "union"},
      {R"("x": {"dtype": 7, "sizes": [{"as_int": 2})", R"("x": {"dtype": 7, "sizes": [{"as_int": -2})", "pt2.hostile",
       "negative"},
      {R"("x": {"dtype": 7, "sizes": [{"as_int": 2})", R"("x": {"dtype": 7, "sizes": [{"as_int": 4611686018427387904})",
       "pt2.hostile", "2^48"},
      {R"("p_w": {"dtype": 7, "sizes": [{"as_int": 4})", R"("p_w": {"dtype": 7, "sizes": [{"as_int": 5})", "pt2.schema",
       "disagree"},
      {R"("name": "linear"}}], "metadata")", R"("name": "x"}}], "metadata")", "pt2.schema", "twice"},
      {R"("schema_version")", R"("schema")", "pt2.schema", "lacks `schema_version`"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.to);
    const auto loaded = load_edited(row.from, row.to);
    REQUIRE(!loaded.ok());
    CHECK(loaded.failure().id == row.id);
    CHECK_MESSAGE(loaded.failure().message.find(row.said) != std::string::npos, loaded.failure().message);
    CHECK(!loaded.failure().hint.empty());
  }
}

TEST_CASE("tensors stay inside their stored bytes") {
  auto edited = [](const char* from, const char* to) {
    return failure_id(load_members(with_edit(linear_members(), config_name, from, to)));
  };
  CHECK(edited(R"("storage_offset": {"as_int": 0})", R"("storage_offset": {"as_int": 1})") == "pt2.hostile");
  CHECK(edited(R"("strides": [{"as_int": 3})", R"("strides": [{"as_int": 9000000000})") == "pt2.hostile");
  CHECK(edited(R"("strides": [{"as_int": 3})", R"("strides": [{"as_int": -3})") == "pt2.hostile");
  CHECK(edited("weight_0", "../../weight_0") == "pt2.schema");
}

TEST_CASE("archives that are none, cut off or hostile") {
  CHECK(failure_id(load_pt2("/nonexistent/x.pt2")) == "pt2.missing");
  CHECK(failure_id(load_bytes("")) == "pt2.not_zip");
  CHECK(failure_id(load_bytes("import torch\n")) == "pt2.not_zip");
  CHECK(failure_id(load_members({{"hello.txt", "hi"}})) == "pt2.not_pt2");
  const std::string whole = make_zip(linear_members());
  CHECK(failure_id(load_bytes(whole.substr(0, whole.size() / 2))) == "pt2.truncated");
  auto with_member = [](Member extra) {
    auto members = linear_members();
    members.push_back(std::move(extra));
    return failure_id(load_members(members));
  };
  CHECK(with_member({"m/extra", "fine"}) == "loaded");
  CHECK(with_member({"../../etc/passwd", "x"}) == "pt2.hostile");
  CHECK(with_member({"/etc/passwd", "x"}) == "pt2.hostile");
  CHECK(with_member({"m/byteorder", "little"}) == "pt2.hostile");
  CHECK(with_member({"m/extra", "tiny", false, 4000000000}) == "pt2.hostile");
  CHECK(with_member({"m/extra", "tiny", true, 4000000000}) == "pt2.hostile");
  CHECK(with_member({"m/bomb", std::string(size_t{100} << 20, '\0'), true}) == "pt2.hostile");
}

TEST_CASE("an archive that torch 2.8 wrote is read without calling anything") {
  const auto loaded = load_pt2("tests/module/data/torch28.pt2");
  REQUIRE_MESSAGE(loaded.ok(), (loaded.ok() ? "" : loaded.failure().message));
  const auto& weights = loaded->weights;
  CHECK(weights.tensors.at("fc.weight").shape == Shape{4, 3});
  CHECK(weights.tensors.at("fc.weight").as<float>()[0] == doctest::Approx(-0.0043225177));
  CHECK(weights.tensors.at("fc.bias").as<float>()[3] == doctest::Approx(0.021387115));
  CHECK(weights.tensors.at("scale").as<float>()[3] == 3);
  CHECK(weights.tensors.at("hidden").as<float>()[0] == 1);
  CHECK(weights.tensors.at("offset").as<float>()[3] == 4);
  CHECK(weights.file_offsets.contains("fc.weight"));  // a view, not a copy
}

namespace {

/// The linear module with its weights in a torch.save archive of that pickle, as torch 2.8 laid them out.
std::vector<Member> pickled_members(const std::string& pickle, const std::string& folder = "weights") {
  auto members = linear_members();
  if (folder == "weights")
    std::erase_if(members, [](const Member& m) { return m.name.starts_with("m/data/weights/"); });
  const std::string saved = make_zip({{"archive/data.pkl", pickle},
                                      {"archive/data/0", std::string(48, '\0')},
                                      {"archive/data/1", std::string(16, '\0')}});
  members.push_back({"m/data/" + folder + "/model.pt", saved});
  return members;
}

std::string short_text(const std::string& text) {
  return std::string("X") + static_cast<char>(text.size()) + std::string(3, '\0') + text;
}

/// The pickle of one tensor: its storage, offset, sizes and strides.
std::string tensor_pickle(const std::string& key, char elements, char offset, const std::string& sizes,
                          const std::string& strides, const std::string& storage = "FloatStorage") {
  return "ctorch._utils\n_rebuild_tensor_v2\n((" + short_text("storage") + "ctorch\n" + storage + "\n" +
         short_text(key) + short_text("cpu") + "K" + elements + "tQK" + offset + sizes + strides + "\x89" +
         "ccollections\nOrderedDict\n)RtR";
}

const std::string bias = tensor_pickle("1", 4, 0, std::string("K\4\x85"), std::string("K\1\x85"));

std::string weights_pickle(const std::string& weight) {
  return "\x80\2}(" + short_text("fc.weight") + weight + short_text("fc.bias") + bias + "u.";
}
const std::string plain_weight = tensor_pickle("0", 12, 0, "K\4K\3\x86", "K\3K\1\x86");

std::string pickled_id(const std::string& pickle, const std::string& folder = "weights") {
  return failure_id(load_members(pickled_members(pickle, folder)));
}

}  // namespace

TEST_CASE("pickled weights hold tensors, or are refused") {
  const std::string good = weights_pickle(plain_weight);
  CHECK(pickled_id(good) == "loaded");
  CHECK(pickled_id(weights_pickle(tensor_pickle("0", 12, 1, "K\4K\3\x86", "K\3K\1\x86"))) == "pt2.hostile");
  CHECK(pickled_id(weights_pickle(tensor_pickle("0", 12, 0, "K\4K\3\x86", "K\3J\xff\xff\xff\xff\x86"))) ==
        "pt2.hostile");
  CHECK(pickled_id(weights_pickle(tensor_pickle("0", 12, 0, "K\4K\3\x86", "K\3\x85"))) == "pt2.hostile");
  CHECK(pickled_id(weights_pickle(tensor_pickle("0", 12, 0, "K\4K\3\x86", "K\3K\1\x86", "QInt8Storage"))) ==
        "pt2.hostile");
  CHECK(pickled_id(weights_pickle(tensor_pickle("7", 12, 0, "K\4K\3\x86", "K\3K\1\x86"))) == "pt2.schema");
  CHECK(pickled_id(weights_pickle(tensor_pickle("0", 12, 0, "K\3K\4\x86", "K\4K\1\x86"))) == "pt2.schema");
  for (size_t cut = 0; cut < good.size(); ++cut) CHECK(pickled_id(good.substr(0, cut)) == "pt2.hostile");
}

TEST_CASE("a pickle that would run something is refused wherever it lies") {
  const std::string system = "\x80\2cposix\nsystem\n" + short_text("touch /tmp/owned") + "\x85R.";
  const std::string stack_global =
      "\x80\4" + short_text("os") + short_text("system") + "\x93" + short_text("x") + "\x85R.";
  const std::string getattr = "\x80\2c__builtin__\ngetattr\n.";
  const std::string hidden = "\x80\2}(" + short_text("fc.weight") + plain_weight + short_text("more") +
                             system.substr(2, system.size() - 3) + "u.";
  std::string deep = "\x80\2)";
  deep += std::string(1 << 20, '\x85') + ".";
  const std::string ring = "\x80\2]q\1(h\1e.", knot = "\x80\2]q\1]q\2h\1ah\2a0h\1h\2a.";
  for (const std::string& pickle :
       {system, stack_global, getattr, hidden, deep, ring, knot, std::string("\x80\2i"), std::string("(lp0\n.")})
    for (const char* folder : {"weights", "constants", "sample_inputs"})
      CHECK(pickled_id(pickle, folder) == "pt2.hostile");
  auto members = linear_members();
  members.push_back({"m/data/sample_inputs/model.pt", system});  // no archive of torch.save: an old, bare pickle
  CHECK(failure_id(load_members(members)) == "pt2.hostile");
}

TEST_CASE("no damage to a pickle crashes its reader") {
  const std::string good = weights_pickle(plain_weight);
  for (size_t at = 0; at < good.size(); ++at)
    for (const unsigned char value : {0x00, 0x28, 0x52, 0x51, 0x75, 0x68, 0x85, 0x94, 0xff}) {
      std::string damaged = good;
      damaged[at] = static_cast<char>(value);
      const std::string id = pickled_id(damaged);
      CHECK((id == "loaded" || id.starts_with("pt2.")));
    }
}

TEST_CASE("members that overlap are refused") {
  std::string bytes = make_zip(linear_members());
  // The second entry of the list points at the first member's header.
  const size_t second = bytes.find("PK\1\2", bytes.find("PK\1\2") + 4);
  for (int i = 0; i < 4; ++i) bytes[second + 42 + static_cast<size_t>(i)] = '\0';
  CHECK(failure_id(load_bytes(bytes)) == "pt2.hostile");
}

TEST_CASE("a wrong checksum of the program is noticed") {
  std::string bytes = make_zip(linear_members());
  bytes[bytes.find("little")] = 'L';
  CHECK(failure_id(load_bytes(bytes)) == "pt2.truncated");
}

TEST_CASE("no damage crashes the reader") {
  const std::string whole = make_zip(linear_members());
  size_t refused = 0;
  for (size_t cut = 0; cut < whole.size(); cut += 7) refused += !load_bytes(whole.substr(0, cut)).ok();
  CHECK(refused == (whole.size() + 6) / 7);
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ (at % 2 ? 0xff : 1 << at % 8));
    const auto loaded = load_bytes(damaged);
    if (!loaded) CHECK(!loaded.failure().message.empty());
  }
}

TEST_CASE("no damage to the program's text crashes the reader") {
  const auto members = linear_members();
  const std::string& text = members[4].content;
  for (size_t at = 0; at < text.size(); at += 3) {
    auto damaged = members;
    damaged[4].deflate = false;
    damaged[4].content[at] = "0[]{}\"-,:9"[at % 10];
    const auto loaded = load_members(damaged);
    if (!loaded) CHECK(!loaded.failure().id.empty());
  }
}
