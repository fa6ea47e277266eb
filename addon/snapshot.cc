// Session::Snapshot and Session::Restore. The bytes, little-endian, for the same model file only:
//
//   u32 magic | u32 version | u64 model fingerprint | u64 positions | u8 has logits | 7 zero bytes
//   i64 FFN width of every layer that writes K and V
//   i32 id x positions, padded to 8 bytes | what KvCache::Save writes | f32 logits[vocab]
#include <cstring>

#include "addon/session_impl.h"

namespace hearth {
namespace {

constexpr uint32_t kMagic = 0x534e5448;  // "HTNS"
constexpr uint32_t kVersion = 3;

struct Header {
  uint32_t magic;
  uint32_t version;
  uint64_t fingerprint;
  uint64_t positions;
  uint8_t has_logits;
  uint8_t zero[7];
};

class Writer {
 public:
  explicit Writer(std::vector<uint8_t>& out) : out_(out) {}
  void Put(const void* data, size_t bytes) {
    const uint8_t* from = static_cast<const uint8_t*>(data);
    out_.insert(out_.end(), from, from + bytes);
  }
  void PadTo8() { out_.resize((out_.size() + 7) / 8 * 8); }

 private:
  std::vector<uint8_t>& out_;
};

}  // namespace

// What stood for pictures and sounds is not in a snapshot: nothing a prompt may hold has the content that is put there.
std::vector<Digest> Session::Impl::ChainOfUnknown(std::span<const int32_t> restored) const {
  std::vector<Digest> links;
  for (const int32_t id : restored)
    links.push_back(
        engine->hash.Next(links.empty() ? engine->hash.Start() : links.back(), static_cast<uint32_t>(id), {}));
  return links;
}

std::vector<uint8_t> Session::Snapshot() const {
  const Config& config = impl_->config();
  const size_t positions = static_cast<size_t>(impl_->position);
  const size_t kv_bytes = impl_->kv.SavedBytes(impl_->position);
  std::vector<uint8_t> bytes;
  bytes.reserve(sizeof(Header) + positions * 4 + config.kv_layers * 8 + kv_bytes +
                static_cast<size_t>(config.vocab) * 4 + 16);
  Writer out(bytes);
  const Header header{kMagic, kVersion, impl_->engine->fingerprint, positions, impl_->has_logits, {}};
  out.Put(&header, sizeof header);
  out.Put(impl_->slice.ffn_width.data(), static_cast<size_t>(config.kv_layers) * sizeof(int64_t));
  out.Put(impl_->ids.data(), positions * sizeof(int32_t));
  out.PadTo8();
  bytes.resize(bytes.size() + kv_bytes);
  impl_->kv.Save(impl_->position, bytes.data() + bytes.size() - kv_bytes);
  if (impl_->has_logits) out.Put(logits().data(), static_cast<size_t>(config.vocab) * sizeof(float));
  return bytes;
}

Status Session::Restore(std::span<const uint8_t> snapshot) {
  const Config& config = impl_->config();
  Header header;
  if (snapshot.size() < sizeof header)
    return Error(Code::SNAPSHOT_INVALID, "%zu bytes are too few for a snapshot", snapshot.size());
  std::memcpy(&header, snapshot.data(), sizeof header);
  if (header.magic != kMagic || header.version != kVersion || header.has_logits > 1) {
    return Error(Code::SNAPSHOT_INVALID, "not a snapshot of this version");
  }
  if (header.fingerprint != impl_->engine->fingerprint)
    return Error(Code::SNAPSHOT_INVALID, "the snapshot is of another model file");
  if (header.positions > static_cast<uint64_t>(impl_->engine->info.context_length)) {
    return Error(Code::CONTEXT_FULL, "a snapshot of %llu positions does not fit a context of %lld",
                 static_cast<unsigned long long>(header.positions),
                 static_cast<long long>(impl_->engine->info.context_length));
  }
  const size_t positions = static_cast<size_t>(header.positions);
  const size_t widths_bytes = static_cast<size_t>(config.kv_layers) * sizeof(int64_t);
  const size_t kv_bytes = impl_->kv.SavedBytes(static_cast<int64_t>(positions));
  const size_t ids_at = sizeof header + widths_bytes;
  const size_t kv_at = (ids_at + positions * sizeof(int32_t) + 7) / 8 * 8;
  const size_t logits_at = kv_at + kv_bytes;
  const size_t end = logits_at + (header.has_logits ? static_cast<size_t>(config.vocab) * sizeof(float) : 0);
  if (snapshot.size() != end) {
    return Error(Code::SNAPSHOT_INVALID, "a snapshot of %zu positions has %zu bytes, not %zu", positions, end,
                 snapshot.size());
  }
  if (std::memcmp(snapshot.data() + sizeof header, impl_->slice.ffn_width.data(), widths_bytes) != 0) {
    return Error(Code::SNAPSHOT_INVALID, "the snapshot was made with other FFN widths than slice %s has",
                 impl_->slice.name.c_str());
  }
  std::vector<int32_t> ids(positions);
  if (positions > 0) std::memcpy(ids.data(), snapshot.data() + ids_at, positions * sizeof(int32_t));
  for (const int32_t id : ids) {
    if (impl_->engine->KindOf(id) == Engine::Impl::IdKind::kInvalid)
      return Error(Code::SNAPSHOT_INVALID, "the snapshot holds token %d", id);
  }
  HEARTH_RETURN_IF_ERROR(impl_->kv.Load(static_cast<int64_t>(positions), snapshot.data() + kv_at));
  if (header.has_logits)
    std::memcpy(impl_->scores.data(), snapshot.data() + logits_at, static_cast<size_t>(config.vocab) * sizeof(float));
  impl_->chain = impl_->ChainOfUnknown(ids);
  impl_->ids = std::move(ids);
  impl_->position = static_cast<int64_t>(positions);
  impl_->has_logits = header.has_logits != 0;
  impl_->estimated = false;
  impl_->score_row = 0;
  impl_->soft_index.clear();
  impl_->soft_rows.clear();
  impl_->drafter.EndReply();
  impl_->EndResumed(0);
  return Status();
}

}  // namespace hearth
