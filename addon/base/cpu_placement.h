// Which CPUs the workers of a pool may run on, so that none of them shares one with the thread they work for.
//
// A thread that is woken is put where it ran last, and that may be where its waker is now. Two threads that wait for
// each other in turn, some microseconds each, may then stay together beside an idle core: the system is slow to move a
// task that ran a moment ago. On two cores under Linux 6.18 up to 130 switches between them were counted in one token.
#ifndef HEARTH_BASE_CPU_PLACEMENT_H_
#define HEARTH_BASE_CPU_PLACEMENT_H_

#include <thread>
#include <vector>

namespace hearth {

// CPUs of this process, as far as its affinity allows them; empty when that is not to be found out.
std::vector<int> AllowedCpus();

// For each of `workers`, the CPUs it may run on: those of `allowed` but `caller`, dealt in turn. Empty when there are
// fewer than one for each: then the system knows better.
std::vector<std::vector<int>> DealCpus(const std::vector<int>& allowed, int caller, int workers);

// Lets `thread` run on `cpus` only. What a control group takes away stays away; a failure changes nothing.
void RunOn(std::thread& thread, const std::vector<int>& cpus);

}  // namespace hearth

#endif  // HEARTH_BASE_CPU_PLACEMENT_H_
