#include "checkpoint/manifest.h"

#include <algorithm>
#include <charconv>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "checkpoint/checkpoint_name.h"
#include "checkpoint/manifest_format.h"
#include "checkpoint/safetensors_format.h"
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
  double real(const char *name) {
    const json *field = object_.is_object() && object_.contains(name) ? &object_.at(name) : nullptr;
    if (field != nullptr && field->is_number()) return field->get<double>();
    refuse(std::string("\"") + name + "\" of " + place_ + " is missing or of the wrong type");
    return 0;
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
  std::string sha256(const char *name) { return sound_sha256(text(name), name); }
  std::vector<std::string> sha256_list(const char *name) {
    std::vector<std::string> digests;
    for (const json &digest : list(name)) digests.push_back(sound_sha256(digest.is_string() ? digest.get<std::string>() : "", name));
    return digests;
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
  ElementType element_type(const char *name) {
    const std::string dtype = text(name);
    const auto type = safetensors::element_type_of(dtype);
    if (!type) refuse(std::string("\"") + name + "\" of " + place_ + " is " + json(dtype).dump() + ", expected F32 or BF16");
    return type.value_or(ElementType::kFloat32);
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

  std::string sound_sha256(std::string digest, const char *name) {
    const bool sound = digest.size() == 64 && digest.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!sound) refuse(std::string("\"") + name + "\" of " + place_ + " is not a SHA-256");
    return digest;
  }

  const json &object_;
  std::string place_;
  std::string &fault_;
};

// A name that stays within the checkpoint's directory and cannot be taken for one of its two other files.
bool is_shard_name(std::string_view name, uint32_t world_size) {
  for (const std::string_view part : {manifest::kModelShard, manifest::kStateShard}) {
    if (name == shard_name(part)) return true;
    uint32_t number = 0;
    if (!name.starts_with(part) || name.size() <= part.size()) continue;
    std::from_chars(name.data() + part.size() + 1, name.data() + name.size(), number);
    if (number >= 1 && number <= world_size && name == shard_name(part, number - 1, world_size)) return true;
  }
  return false;
}

Fingerprints decode_fingerprints(const json &object, std::string &fault) {
  Fields fields(object, "the fingerprints", fault);
  Fingerprints fingerprints{.recipe = fields.text(key::kRecipe),
                            .schedule = object.contains(key::kSchedule) ? fields.text(key::kSchedule) : "",  // early ones have none
                            .data = fields.text(key::kData),
                            .tokenizer = fields.text(key::kTokenizer),
                            .plugins = {}};
  const json plugins = fields.object(key::kPlugins);
  Fields kinds(plugins, "the plugins", fault);
  for (const auto &[kind, identity] : plugins.items()) fingerprints.plugins[kind] = kinds.text(kind.c_str());
  return fingerprints;
}

CheckpointOrigin decode_origin(const json &object, std::string &fault) {
  Fields fields(object, "the origin", fault);
  CheckpointOrigin origin{.how = fields.text(key::kHow), .parts = {}};
  for (const json &item : fields.list(key::kParts)) {
    Fields part(item, "a part of the origin", fault);
    origin.parts.push_back({.checkpoint = part.text(key::kCheckpoint),
                            .step = part.number(key::kStep),
                            .weight = part.real(key::kWeight),
                            .sha256 = part.sha256(key::kSha256)});
  }
  return origin;
}

void decode_files(const json &list, CheckpointManifest &manifest, std::string &fault) {
  std::set<std::string> names;
  for (const json &item : list) {
    Fields fields(item, "a file", fault);
    manifest.files.push_back({.name = fields.text(key::kName), .bytes = fields.number(key::kBytes), .sha256 = fields.sha256(key::kSha256)});
    const std::string &name = manifest.files.back().name;
    if (!is_shard_name(name, manifest.world_size))
      fields.refuse("the file name " + json(name).dump() + " is not one that a checkpoint has");
    if (!names.insert(name).second) fields.refuse("the file " + name + " is listed twice");
  }
}

// One hash for each block of a piece; for an empty one too.
uint64_t block_count(uint64_t count) { return std::max<uint64_t>((count + manifest::kBlockElements - 1) / manifest::kBlockElements, 1); }

ManifestTensor decode_tensor(const json &item, uint64_t version, std::string &fault) {
  Fields fields(item, "a tensor", fault);
  ManifestTensor tensor{
      .piece = {.name = fields.text(key::kName), .shape = fields.shape(key::kShape)}, .file = fields.text(key::kFile), .sha256 = {}};
  TensorPiece &piece = tensor.piece;
  const auto elements = element_count(piece.shape);
  if (!elements) fields.refuse("the shape of tensor \"" + piece.name + "\" overflows");
  if (version == manifest::kVersion) {
    piece.count = elements.value_or(0);
    tensor.sha256 = {fields.sha256(key::kSha256)};
    return tensor;
  }
  if (version >= manifest::kVersionOfTypes) piece.type = fields.element_type(key::kDtype);
  if (piece.type != ElementType::kFloat32 && piece.name.starts_with(manifest::kModelPrefix))
    fields.refuse("parameter \"" + piece.name + "\" is not F32");
  piece.begin = fields.number(key::kBegin);
  piece.count = fields.number(key::kCount);
  tensor.sha256 = fields.sha256_list(key::kSha256);
  const bool within = elements && piece.begin <= *elements && piece.count <= *elements - piece.begin;
  if (!within || (piece.count == 0 && *elements != 0)) fields.refuse("a piece of tensor \"" + piece.name + "\" does not lie within it");
  if (within && tensor.sha256.size() != block_count(piece.count))
    fields.refuse("tensor \"" + piece.name + "\" has " + std::to_string(tensor.sha256.size()) + " hashes, " +
                  std::to_string(block_count(piece.count)) + " were expected");
  return tensor;
}

void decode_tensors(const json &list, uint64_t version, CheckpointManifest &manifest, std::string &fault) {
  std::set<std::pair<std::string, uint64_t>> pieces;
  std::set<std::string> files;
  for (const ManifestFile &file : manifest.files) files.insert(file.name);
  for (const json &item : list) {
    ManifestTensor tensor = decode_tensor(item, version, fault);
    const std::string place = "tensor \"" + tensor.piece.name + "\" is ";
    if (fault.empty() && !files.contains(tensor.file)) fault = place + "in a file that is not listed";
    const bool empty = tensor.piece.count == 0;  // an empty tensor may be in the files of several processes
    if (!pieces.insert({tensor.piece.name, tensor.piece.begin}).second && !empty && fault.empty()) fault = place + "listed twice";
    manifest.tensors.push_back(std::move(tensor));
  }
}

CheckpointManifest decode(const json &object, uint64_t version, std::string &fault) {
  Fields fields(object, "the manifest", fault);
  CheckpointManifest manifest;
  manifest.step = fields.number(key::kStep);
  manifest.tokens = fields.number(key::kTokens);
  manifest.created = fields.number(key::kCreated);
  manifest.label = fields.text(key::kLabel);
  manifest.trainer_state = fields.text(key::kTrainerState);
  manifest.fingerprints = decode_fingerprints(fields.object(key::kFingerprints), fault);
  if (object.contains(key::kOrigin)) manifest.origin = decode_origin(fields.object(key::kOrigin), fault);
  const uint64_t processes = fields.number(key::kWorldSize), most = version == manifest::kVersion ? 1 : manifest::kMaximumWorldSize;
  if (processes < 1 || processes > most) {
    fields.refuse("it was written by " + std::to_string(processes) + " processes, and " + (most == 1 ? "1" : "1 to 99999") +
                  " was expected");
  }
  manifest.world_size = static_cast<uint32_t>(std::min(processes, most));
  decode_files(fields.list(key::kFiles), manifest, fault);
  decode_tensors(fields.list(key::kTensors), version, manifest, fault);
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
Result<uint64_t> read_version(const json &object, const std::string &path) {
  std::string fault;
  Fields fields(object, "the manifest", fault);
  const std::string format = fields.text(key::kFormat);
  const uint64_t version = fields.number(key::kVersion);
  if (!fault.empty() || format != manifest::kFormat || version == 0)
    return failure(ErrorKind::kData, path + ": is not a manifest of trainhost");
  if (version <= manifest::kVersionOfTypes) return version;
  return failure(ErrorKind::kRecipe, path + ": is of version " + std::to_string(version) + ", and this trainhost reads versions up to " +
                                         std::to_string(manifest::kVersionOfTypes) + "; use the trainhost that wrote it, or a newer one");
}

ordered_json encode_tensor(const ManifestTensor &tensor, uint64_t version) {
  const TensorPiece &piece = tensor.piece;
  ordered_json object{{key::kName, piece.name}, {key::kFile, tensor.file}, {key::kShape, piece.shape}};
  if (version == manifest::kVersion) {
    object[key::kSha256] = tensor.sha256.front();
  } else {
    if (version >= manifest::kVersionOfTypes) object[key::kDtype] = safetensors::dtype_of(piece.type);
    object[key::kBegin] = piece.begin;
    object[key::kCount] = piece.count;
    object[key::kSha256] = tensor.sha256;
  }
  return object;
}

ordered_json encode_origin(const CheckpointOrigin &origin) {
  ordered_json parts = ordered_json::array();
  for (const auto &[checkpoint, step, weight, sha256] : origin.parts)
    parts.push_back({{key::kCheckpoint, checkpoint}, {key::kStep, step}, {key::kWeight, weight}, {key::kSha256, sha256}});
  return {{key::kHow, origin.how}, {key::kParts, std::move(parts)}};
}

}  // namespace

uint64_t CheckpointManifest::bytes() const {
  uint64_t sum = 0;
  for (const ManifestFile &file : files) sum += file.bytes;
  return sum;
}

uint64_t CheckpointManifest::version() const {
  const bool floats = std::ranges::all_of(tensors, [](const auto &tensor) { return tensor.piece.type == ElementType::kFloat32; });
  if (!floats) return manifest::kVersionOfTypes;
  const bool whole = std::all_of(tensors.begin(), tensors.end(), [](const auto &tensor) { return tensor.piece.is_whole(); });
  return world_size == 1 && whole ? manifest::kVersion : manifest::kVersionOfPieces;
}

std::string CheckpointManifest::tiling_fault() const {
  std::vector<const TensorPiece *> pieces;
  for (const ManifestTensor &tensor : tensors) pieces.push_back(&tensor.piece);
  return check_tiling(std::move(pieces));
}

std::string shard_name(std::string_view part) { return std::string(part) + std::string(manifest::kShardSuffix); }

std::string shard_name(std::string_view part, uint32_t rank, uint32_t world_size) {
  return fmt::format("{}-{:05}-of-{:05}{}", part, rank + 1, world_size, manifest::kShardSuffix);
}

Result<std::string> encode_manifest(const CheckpointManifest &manifest) {
  const uint64_t version = manifest.version();
  ordered_json files = ordered_json::array(), tensors = ordered_json::array();
  for (const ManifestFile &file : manifest.files)
    files.push_back({{key::kName, file.name}, {key::kBytes, file.bytes}, {key::kSha256, file.sha256}});
  for (const ManifestTensor &tensor : manifest.tensors) tensors.push_back(encode_tensor(tensor, version));
  ordered_json fingerprints{{key::kRecipe, manifest.fingerprints.recipe}};
  if (!manifest.fingerprints.schedule.empty()) fingerprints[key::kSchedule] = manifest.fingerprints.schedule;
  fingerprints[key::kData] = manifest.fingerprints.data;
  fingerprints[key::kTokenizer] = manifest.fingerprints.tokenizer;
  fingerprints[key::kPlugins] = ordered_json(json(manifest.fingerprints.plugins));
  ordered_json object{{key::kFormat, manifest::kFormat},
                      {key::kVersion, version},
                      {key::kStep, manifest.step},
                      {key::kTokens, manifest.tokens},
                      {key::kLabel, manifest.label},
                      {key::kCreated, manifest.created},
                      {key::kWorldSize, manifest.world_size},
                      {key::kFingerprints, std::move(fingerprints)},
                      {key::kTrainerState, manifest.trainer_state}};
  if (!manifest.origin.how.empty()) object[key::kOrigin] = encode_origin(manifest.origin);
  object[key::kFiles] = std::move(files);
  object[key::kTensors] = std::move(tensors);
  try {
    return object.dump(1) + "\n";
  } catch (const json::exception &) {  // the library's only way to say so
    return failure(ErrorKind::kInternal, "the label, a fingerprint, the trainer's state or the name of a tensor is not UTF-8");
  }
}

Result<CheckpointManifest> decode_manifest(const std::string &text, const std::string &path) {
  TRAINHOST_TRY(const json object, parse_strict_json(text, path));
  TRAINHOST_TRY(const uint64_t version, read_version(object, path));
  std::string fault;
  CheckpointManifest manifest = decode(object, version, fault);
  if (!fault.empty()) return failure(ErrorKind::kData, path + ": " + fault);
  return manifest;
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
  TRAINHOST_TRY(CheckpointManifest manifest, decode_manifest(text, path));
  if (const std::string fault = manifest.tiling_fault(); !fault.empty()) return failure(ErrorKind::kData, path + ": " + fault);
  if (checksums != encode_checksums(manifest, text)) return failure(ErrorKind::kData, checksums_path + ": does not agree with " + path);
  const auto step = step_of(directory);
  if (step && *step != manifest.step) {
    return failure(ErrorKind::kData, path + ": is of step " + std::to_string(manifest.step) + ", not of the step in the directory's name");
  }
  return manifest;
}

}  // namespace trainhost
