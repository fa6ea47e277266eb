// Runs a prompt through a model without Node, for profilers and debuggers:
//
//   run MODEL.gguf PROMPT [--slice NAME] [--isa NAME] [--threads N] [--tokens N] [--schema JSON] [--draft N]
//       [--load-slice NAME] [--kv-type f16|q8_0|f32] [--context N]
//
// Prints the greedy reply, and on stderr what it took. --draft: most tokens drafted at a time, 0 to 8.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "addon/runtime.h"

namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

int Fail(const hearth::Status& status) {
  std::fprintf(stderr, "%s: %s\n", hearth::CodeName(status.code()), status.message().c_str());
  return EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc % 2 == 0) {
    std::fprintf(stderr,
                 "usage: %s MODEL.gguf PROMPT [--slice NAME] [--isa NAME] [--threads N] [--tokens N] [--schema JSON]"
                 " [--draft N] [--load-slice NAME] [--kv-type f16|q8_0|f32] [--context N]\n",
                 argv[0]);
    return EXIT_FAILURE;
  }
  hearth::EngineOptions options;
  hearth::SliceOptions slice;
  int64_t limit = 128;
  std::string schema;
  hearth::DraftOptions draft;
  options.model_path = argv[1];
  for (int i = 3; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--slice") slice.name = argv[i + 1];
    if (flag == "--isa") options.isa = argv[i + 1];
    if (flag == "--threads") options.threads = std::atoi(argv[i + 1]);
    if (flag == "--tokens") limit = std::atoll(argv[i + 1]);
    if (flag == "--schema") schema = argv[i + 1];
    if (flag == "--load-slice") options.load_slice = argv[i + 1];
    if (flag == "--kv-type") options.kv_type = argv[i + 1];
    if (flag == "--context") options.context_length = std::atoll(argv[i + 1]);
    if (flag == "--draft") draft.max_tokens = std::atoi(argv[i + 1]);
  }

  const auto opened = hearth::Engine::Open(options);
  if (!opened.ok()) return Fail(opened.status());
  hearth::Engine& engine = **opened;
  const hearth::SpecialTokens& special = engine.info().special;
  const auto text = engine.Tokenize(std::string("user\n") + argv[2], false), newline = engine.Tokenize("\n", false),
             model = engine.Tokenize("model\n", false);
  for (const auto* part : {&text, &newline, &model}) {
    if (!part->ok()) return Fail(part->status());
  }
  std::vector<int32_t> ids = {special.bos, special.start_of_turn};
  ids.insert(ids.end(), text.value().begin(), text.value().end());
  ids.push_back(special.end_of_turn);
  ids.insert(ids.end(), newline.value().begin(), newline.value().end());
  ids.push_back(special.start_of_turn);
  ids.insert(ids.end(), model.value().begin(), model.value().end());

  auto created = engine.NewSession();
  if (!created.ok()) return Fail(created.status());
  hearth::Session& session = **created;
  if (!slice.name.empty()) {
    if (const hearth::Status status = session.SetSlice(slice); !status.ok()) return Fail(status);
  }
  if (!schema.empty()) {
    const auto grammar = engine.CompileGrammar(schema);
    if (!grammar.ok()) return Fail(grammar.status());
    if (const hearth::Status status = session.SetGrammar(grammar.value()); !status.ok()) return Fail(status);
  }
  if (const hearth::Status status = session.Append(ids, {}); !status.ok()) return Fail(status);
  const auto prefill = Clock::now();
  if (const auto left = session.Advance(static_cast<int64_t>(ids.size())); !left.ok()) return Fail(left.status());
  const double prefill_seconds = SecondsSince(prefill);
  const auto decode = Clock::now();
  int64_t tokens = 0, steps = 0, drafted = 0, accepted = 0;
  for (bool end = false; tokens < limit && !end; ++steps) {
    const auto decoded = session.Decode({}, limit - tokens, draft);
    if (!decoded.ok()) return Fail(decoded.status());
    drafted += decoded.value().drafted;
    accepted += decoded.value().accepted;
    for (const hearth::Sampled& sampled : decoded.value().sampled) {
      end = sampled.end;
      tokens += !end;
      std::fputs(sampled.text.c_str(), stdout);
    }
    std::fflush(stdout);
  }
  std::printf("%s\n", session.FlushText().c_str());
  const double decode_seconds = SecondsSince(decode);
  std::fprintf(
      stderr,
      "%s, %d threads, slice %s: prefill %zu tokens at %.1f/s, decode %lld at %.1f/s in %lld steps, %lld of %lld"
      " drafted tokens right\n",
      engine.info().isa.c_str(), engine.info().threads, session.slice_name().c_str(), ids.size(),
      static_cast<double>(ids.size()) / prefill_seconds, static_cast<long long>(tokens),
      static_cast<double>(tokens) / decode_seconds, static_cast<long long>(steps), static_cast<long long>(accepted),
      static_cast<long long>(drafted));
  return EXIT_SUCCESS;
}
