#include "model/config.hpp"

#include <cmath>
#include <string>
#include <string_view>

#include "format/error.hpp"
#include "format/json.hpp"
#include "format/mapped_file.hpp"

namespace codling {
namespace {

// Beyond any model; products of two sizes stay far from overflow.
constexpr std::int64_t kMaxSize = std::int64_t{1} << 28;

class ConfigReader {
 public:
  ConfigReader(JsonObject values, std::string source) : values_(std::move(values)), source_(std::move(source)) {}

  ModelConfig read() const {
    const std::string kind = text_or("model_type", "");
    if (kind != "qwen3" && kind != "llama") fail("model_type '" + kind + "' is not one of qwen3, llama");
    if (!flag_or("tie_word_embeddings", false)) fail("untied; input and output embedding must be one matrix (tie_word_embeddings)");
    if (text_or("hidden_act", "silu") != "silu") fail("hidden_act is not silu");
    for (const char* key : {"attention_bias", "mlp_bias", "use_sliding_window"}) {
      if (flag_or(key, false)) fail(std::string(key) + " is not supported");
    }
    if (number_or(values_, "partial_rotary_factor", 1.0) != 1.0) fail("partial_rotary_factor is not 1");
    const std::int64_t num_query_heads = size("num_attention_heads"), model_dim = size("hidden_size");
    // What older files of Llama leave out: no grouping of heads, and heads that share the width of the stream.
    const bool is_llama = kind == "llama";
    const std::int64_t num_kv_heads = is_llama ? size_or("num_key_value_heads", num_query_heads) : size("num_key_value_heads");
    const std::int64_t head_dim = is_llama ? size_or("head_dim", model_dim / num_query_heads) : size("head_dim");
    const ModelConfig config{
        size("vocab_size"), model_dim, size("intermediate_size"), size("num_hidden_layers"), num_query_heads, num_kv_heads,
        head_dim, size("max_position_embeddings"), theta(), epsilon(), !is_llama,
    };
    if (num_query_heads % num_kv_heads != 0) fail("num_attention_heads must be a multiple of num_key_value_heads");
    if (head_dim < 2 || head_dim % 2 != 0) fail("head_dim must be even for RoPE");
    return config;
  }

 private:
  [[noreturn]] void fail(const std::string& problem) const { throw InputError(source_ + ": " + problem); }

  // Null where the key is missing or null, which means the same in these files.
  static const Json* present(const JsonObject& object, const std::string& key) {
    const Json* value = find(object, key);
    return value && value->get<std::nullptr_t>() ? nullptr : value;
  }

  std::string text_or(const std::string& key, const std::string& missing) const {
    const Json* value = present(values_, key);
    if (!value) return missing;
    const std::string* text = value->get<std::string>();
    if (!text) fail(key + " is not a string");
    return *text;
  }

  bool flag_or(const std::string& key, bool missing) const {
    const Json* value = present(values_, key);
    if (!value) return missing;
    const bool* flag = value->get<bool>();
    if (!flag) fail(key + " is not true or false");
    return *flag;
  }

  double number_or(const JsonObject& object, const std::string& key, double missing) const {
    const Json* value = present(object, key);
    if (!value) return missing;
    if (const std::int64_t* whole = value->get<std::int64_t>()) return static_cast<double>(*whole);
    const double* number = value->get<double>();
    if (!number) fail(key + " is not a number");
    return *number;
  }

  std::int64_t size_or(const std::string& key, std::int64_t missing) const {
    return present(values_, key) ? size(key) : missing;
  }

  std::int64_t size(const std::string& key) const {
    const Json* value = present(values_, key);
    if (!value) fail("key '" + key + "' is missing");
    const std::int64_t* whole = value->get<std::int64_t>();
    if (!whole || *whole < 1 || *whole > kMaxSize) fail(key + " is not a positive whole number");
    return *whole;
  }

  // Newer files keep it among the parameters of RoPE, older ones beside them.
  float theta() const {
    const JsonObject* holder = &values_;
    for (const std::string key : {"rope_scaling", "rope_parameters"}) {
      const Json* found = present(values_, key);
      if (!found) continue;
      const JsonObject* parameters = found->get<JsonObject>();
      if (!parameters) fail(key + " is no JSON object");
      check_unscaled(*parameters);
      if (present(*parameters, "rope_theta")) holder = parameters;
    }
    if (!present(*holder, "rope_theta")) fail("key 'rope_theta' is missing");
    const double value = number_or(*holder, "rope_theta", 0);
    if (!(value > 0) || !std::isfinite(static_cast<float>(value))) fail("rope_theta is not positive");
    return static_cast<float>(value);
  }

  void check_unscaled(const JsonObject& parameters) const {
    const Json* type = present(parameters, "rope_type");
    if (!type) type = present(parameters, "type");
    const std::string* name = type ? type->get<std::string>() : nullptr;
    if (type && (!name || *name != "default")) fail("RoPE scaling is not supported");
  }

  float epsilon() const {
    if (!present(values_, "rms_norm_eps")) fail("key 'rms_norm_eps' is missing");
    const auto value = static_cast<float>(number_or(values_, "rms_norm_eps", 0));
    if (!(value > 0) || !std::isfinite(value)) fail("rms_norm_eps is not positive");
    return value;
  }

  JsonObject values_;
  std::string source_;
};

}  // namespace

ModelConfig read_config(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  Json parsed = parse_json(text, path.string());
  const JsonObject* values = parsed.get<JsonObject>();
  if (!values) throw InputError(path.string() + ": not a JSON object");
  return ConfigReader(*values, path.string()).read();
}

}  // namespace codling
