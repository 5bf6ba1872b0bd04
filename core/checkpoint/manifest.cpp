#include "checkpoint/manifest.h"

#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "checkpoint/checkpoint_name.h"
#include "checkpoint/manifest_format.h"
#include "checkpoint/strict_json.h"

namespace trainhost {
namespace {

namespace key = manifest::key;
using nlohmann::json;
using nlohmann::ordered_json;

// A JSON object whose fields must be there and of the right type. The first that is not is remembered; the reads after it give nothing.
class Fields {
 public:
  Fields(const json &object, std::string place, std::string &fault) : object_(object), place_(std::move(place)), fault_(fault) {}

  std::string text(const char *name) {
    const json *field = find(name, json::value_t::string);
    return field ? field->get<std::string>() : std::string();
  }
  uint64_t number(const char *name) {
    const json *field = find(name, json::value_t::number_unsigned);
    return field ? field->get<uint64_t>() : 0;
  }
  json object(const char *name) {
    const json *field = find(name, json::value_t::object);
    return field ? *field : json::object();
  }
  // A list; none of its items is looked at.
  const json &list(const char *name) {
    static const json kNothing = json::array();
    const json *field = find(name, json::value_t::array);
    return field ? *field : kNothing;
  }
  std::string sha256(const char *name) {
    std::string digest = text(name);
    const bool sound = digest.size() == 64 && digest.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!sound) refuse(std::string("\"") + name + "\" of " + place_ + " is not a SHA-256");
    return digest;
  }
  std::vector<int64_t> shape(const char *name) {
    std::vector<int64_t> shape;
    for (const json &dimension : list(name)) {
      if (!dimension.is_number_unsigned() || dimension.get<uint64_t>() > INT64_MAX)
        refuse(std::string("\"") + name + "\" of " + place_ + " is not a shape");
      else
        shape.push_back(dimension.get<int64_t>());
    }
    return shape;
  }
  void refuse(std::string fault) {
    if (fault_.empty()) fault_ = std::move(fault);
  }

 private:
  const json *find(const char *name, json::value_t type) {
    const auto field = object_.is_object() ? object_.find(name) : object_.end();
    if (object_.is_object() && field != object_.end() && field->type() == type) return &*field;
    refuse(std::string("\"") + name + "\" of " + place_ + " is missing or of the wrong type");
    return nullptr;
  }

  const json &object_;
  std::string place_;
  std::string &fault_;
};

// A name that stays within the checkpoint's directory and cannot be taken for one of its two other files.
bool is_shard_name(const std::string &name) { return name == manifest::kModelShard || name == manifest::kStateShard; }

Fingerprints decode_fingerprints(const json &object, std::string &fault) {
  Fields fields(object, "the fingerprints", fault);
  Fingerprints fingerprints{
      .recipe = fields.text(key::kRecipe), .data = fields.text(key::kData), .tokenizer = fields.text(key::kTokenizer), .plugins = {}};
  const json plugins = fields.object(key::kPlugins);
  Fields kinds(plugins, "the plugins", fault);
  for (const auto &[kind, identity] : plugins.items()) fingerprints.plugins[kind] = kinds.text(kind.c_str());
  return fingerprints;
}

void decode_files(const json &list, CheckpointManifest &manifest, std::string &fault) {
  std::set<std::string> names;
  for (const json &item : list) {
    Fields fields(item, "a file", fault);
    manifest.files.push_back({.name = fields.text(key::kName), .bytes = fields.number(key::kBytes), .sha256 = fields.sha256(key::kSha256)});
    const std::string &name = manifest.files.back().name;
    if (!is_shard_name(name)) fields.refuse("the file name " + json(name).dump() + " is not one that a checkpoint has");
    if (!names.insert(name).second) fields.refuse("the file " + name + " is listed twice");
  }
}

void decode_tensors(const json &list, CheckpointManifest &manifest, std::string &fault) {
  std::set<std::string> names, files;
  for (const ManifestFile &file : manifest.files) files.insert(file.name);
  for (const json &item : list) {
    Fields fields(item, "a tensor", fault);
    ManifestTensor tensor{.name = fields.text(key::kName),
                          .file = fields.text(key::kFile),
                          .shape = fields.shape(key::kShape),
                          .sha256 = fields.sha256(key::kSha256)};
    if (!files.contains(tensor.file)) fields.refuse("tensor \"" + tensor.name + "\" is in a file that is not listed");
    if (!names.insert(tensor.name).second) fields.refuse("tensor \"" + tensor.name + "\" is listed twice");
    manifest.tensors.push_back(std::move(tensor));
  }
}

CheckpointManifest decode(const json &object, std::string &fault) {
  Fields fields(object, "the manifest", fault);
  CheckpointManifest manifest;
  manifest.step = fields.number(key::kStep);
  manifest.tokens = fields.number(key::kTokens);
  manifest.created = fields.number(key::kCreated);
  manifest.label = fields.text(key::kLabel);
  manifest.trainer_state = fields.text(key::kTrainerState);
  manifest.fingerprints = decode_fingerprints(fields.object(key::kFingerprints), fault);
  if (const uint64_t processes = fields.number(key::kWorldSize); processes != manifest::kWorldSize) {
    fields.refuse("it was written by " + std::to_string(processes) + " processes, and 1 was expected");
  }
  decode_files(fields.list(key::kFiles), manifest, fault);
  decode_tensors(fields.list(key::kTensors), manifest, fault);
  return manifest;
}

Result<std::string> read_whole(FileSystem &files, const std::string &path) {
  TRAINHOST_TRY(const auto file, files.open(path));
  if (file->size() > manifest::kMaximumBytes) {
    return failure(ErrorKind::kData,
                   path + ": has " + std::to_string(file->size()) + " bytes, over the limit of " + std::to_string(manifest::kMaximumBytes));
  }
  std::string text(file->size(), '\0');
  TRAINHOST_CHECK(file->read(0, std::as_writable_bytes(std::span(text))));
  return text;
}

std::string checksum_line(const std::string &digest, std::string_view name) { return digest + "  " + std::string(name) + "\n"; }

// Which format and version a manifest is of, asked before anything else in it.
Result<> check_version(const json &object, const std::string &path) {
  std::string fault;
  Fields fields(object, "the manifest", fault);
  const std::string format = fields.text(key::kFormat);
  const uint64_t version = fields.number(key::kVersion);
  if (!fault.empty() || format != manifest::kFormat || version == 0)
    return failure(ErrorKind::kData, path + ": is not a manifest of trainhost");
  if (version == manifest::kVersion) return {};
  return failure(ErrorKind::kRecipe, path + ": is of version " + std::to_string(version) + ", and this trainhost reads version " +
                                         std::to_string(manifest::kVersion) + "; use the trainhost that wrote it, or a newer one");
}

}  // namespace

uint64_t CheckpointManifest::bytes() const {
  uint64_t sum = 0;
  for (const ManifestFile &file : files) sum += file.bytes;
  return sum;
}

Result<std::string> encode_manifest(const CheckpointManifest &manifest) {
  ordered_json files = ordered_json::array(), tensors = ordered_json::array();
  for (const ManifestFile &file : manifest.files)
    files.push_back({{key::kName, file.name}, {key::kBytes, file.bytes}, {key::kSha256, file.sha256}});
  for (const ManifestTensor &tensor : manifest.tensors) {
    tensors.push_back({{key::kName, tensor.name}, {key::kFile, tensor.file}, {key::kShape, tensor.shape}, {key::kSha256, tensor.sha256}});
  }
  const Fingerprints &fingerprints = manifest.fingerprints;
  const ordered_json object{{key::kFormat, manifest::kFormat},
                            {key::kVersion, manifest::kVersion},
                            {key::kStep, manifest.step},
                            {key::kTokens, manifest.tokens},
                            {key::kLabel, manifest.label},
                            {key::kCreated, manifest.created},
                            {key::kWorldSize, manifest::kWorldSize},
                            {key::kFingerprints,
                             {{key::kRecipe, fingerprints.recipe},
                              {key::kData, fingerprints.data},
                              {key::kTokenizer, fingerprints.tokenizer},
                              {key::kPlugins, ordered_json(json(fingerprints.plugins))}}},
                            {key::kTrainerState, manifest.trainer_state},
                            {key::kFiles, std::move(files)},
                            {key::kTensors, std::move(tensors)}};
  try {
    return object.dump(1) + "\n";
  } catch (const json::exception &) {  // the library's only way to say so
    return failure(ErrorKind::kInternal, "the label, a fingerprint, the trainer's state or the name of a tensor is not UTF-8");
  }
}

std::string encode_checksums(const CheckpointManifest &manifest, const std::string &manifest_text) {
  std::string text = checksum_line(sha256(manifest_text), manifest::kFileName);
  for (const ManifestFile &file : manifest.files) text += checksum_line(file.sha256, file.name);
  return text;
}

Result<CheckpointManifest> read_manifest(FileSystem &files, const std::string &directory) {
  if (!files.is_directory(directory)) return failure(ErrorKind::kData, directory + ": is not a directory");
  const std::string path = directory + "/" + std::string(manifest::kFileName);
  const std::string checksums_path = directory + "/" + std::string(manifest::kChecksumsName);
  TRAINHOST_TRY(const std::string checksums, read_whole(files, checksums_path));
  TRAINHOST_TRY(const std::string text, read_whole(files, path));
  if (!checksums.starts_with(checksum_line(sha256(text), manifest::kFileName))) {
    return failure(ErrorKind::kData, path + ": its SHA-256 is not the one in " + checksums_path + ", so one of the two is damaged");
  }
  TRAINHOST_TRY(const json object, parse_strict_json(text, path));
  TRAINHOST_CHECK(check_version(object, path));
  std::string fault;
  CheckpointManifest manifest = decode(object, fault);
  if (!fault.empty()) return failure(ErrorKind::kData, path + ": " + fault);
  if (checksums != encode_checksums(manifest, text)) return failure(ErrorKind::kData, checksums_path + ": does not agree with " + path);
  const auto step = step_of(directory);
  if (step && *step != manifest.step) {
    return failure(ErrorKind::kData, path + ": is of step " + std::to_string(manifest.step) + ", not of the step in the directory's name");
  }
  return manifest;
}

}  // namespace trainhost
