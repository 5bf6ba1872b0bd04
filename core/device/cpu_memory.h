// Memory for tensors on CPUs. Large blocks are kept and given out again, on transparent huge pages: the system's allocator would
// map, zero and fault in a training step's buffers anew at every step, which costs more than the arithmetic on them. What is kept and
// what is in use together are no more than was in use at some time, so memory can be known before it is used (core/plan).
#pragma once

#include <cstddef>
#include <cstdint>

namespace trainhost {

// Contents are undefined; null when there is none. alignment is a power of two up to 4096. Any thread.
void *allocate_cpu(size_t bytes, size_t alignment = 64);
// Gives back a block with the size it was asked for; null is nothing. Any thread.
void deallocate_cpu(void *memory, size_t bytes);
// What a block of that size takes of the machine's memory once it is written.
uint64_t cpu_block_bytes(uint64_t bytes);
// What the blocks in use take now, and the most that they took since the program began or restart_cpu_peak. Any thread.
uint64_t cpu_bytes_in_use();
uint64_t cpu_peak_bytes();
void restart_cpu_peak();
// How much more the system could give to its processes without ending one; UINT64_MAX when it does not say.
uint64_t cpu_available_bytes();

}  // namespace trainhost
