#include "addon/base/cpu_placement.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>

namespace hearth {

std::vector<int> AllowedCpus() {
  cpu_set_t set;
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;  // more than CPU_SETSIZE of them
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

std::vector<std::vector<int>> DealCpus(const std::vector<int>& allowed, int caller, int workers) {
  std::vector<int> others;
  std::copy_if(allowed.begin(), allowed.end(), std::back_inserter(others), [=](int cpu) { return cpu != caller; });
  if (workers < 1 || others.size() == allowed.size() || static_cast<int>(others.size()) < workers) return {};
  std::vector<std::vector<int>> hands(static_cast<size_t>(workers));
  for (size_t i = 0; i < others.size(); ++i) hands[i % hands.size()].push_back(others[i]);
  return hands;
}

void RunOn(std::thread& thread, const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(cpu, &set);
  pthread_setaffinity_np(thread.native_handle(), sizeof set, &set);
}

}  // namespace hearth
