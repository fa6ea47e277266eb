// What an operation runs on: the kernel table, the threads, and scratch memory for each thread.
#ifndef HEARTH_OPS_EXEC_H_
#define HEARTH_OPS_EXEC_H_

#include <array>
#include <vector>

#include "addon/base/aligned_buffer.h"
#include "addon/base/status.h"
#include "addon/base/thread_pool.h"
#include "addon/kernels/kernels.h"

namespace hearth {

// Up to so many tokens computed together each get, bit for bit, what they would get alone: what a model drafts and then
// checks in one go (Session::Decode) is what it would have written a token at a time. MatMul and Attention see to it.
constexpr int64_t kAlikeTokens = 9;

// One for each caller that computes at the same time; operations borrow its scratch for the time of a call.
class Exec {
 public:
  // Two pieces of scratch a thread: operations that call MultiplyRows (ops/matmul.h) inside a loop keep their own
  // values in kOuter and leave kInner to it.
  enum Slot { kInner, kOuter };

  Exec(const hearth_kernels& kernels, ThreadPool& pool) : kernels_(&kernels), pool_(&pool), scratch_(pool.size()) {}

  const hearth_kernels& kernels() const { return *kernels_; }
  ThreadPool& pool() const { return *pool_; }

  // Makes sure that every thread has `floats` floats of scratch.
  Status ReserveScratch(size_t floats, Slot slot = kInner) {
    for (auto& buffers : scratch_) HEARTH_RETURN_IF_ERROR(buffers[slot].Reserve(floats));
    return Status();
  }
  float* scratch(int thread, Slot slot = kInner) { return scratch_[thread][slot].data(); }

 private:
  const hearth_kernels* kernels_;
  ThreadPool* pool_;
  std::vector<std::array<AlignedBuffer<float>, 2>> scratch_;
};

}  // namespace hearth

#endif  // HEARTH_OPS_EXEC_H_
