#include "memory.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "settings.h"

namespace emulate {

namespace {

constexpr size_t MARGIN = 256;
constexpr size_t ALIGN = 256;
// NaN as f32, f64 and either half as bf16: what is read beside an allocation shows too.
constexpr uint32_t PATTERN = 0x7ff5ffa5;
// Never written: NaN as well.
constexpr int UNDEFINED = 0xff;
// Blocks that are kept for the next allocation of their size; the system's pages are dear.
constexpr size_t KEPT = size_t{512} << 20;

struct Allocation {
    size_t bytes;
    size_t block;
};

std::map<char*, Allocation> allocations;
std::multimap<size_t, char*> kept;
size_t kept_bytes = 0;
size_t used = 0;
size_t peak = 0;
std::vector<std::string> launched;

size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

void fill_margin(char* from, const char* end) {
    // Counted from an address that is a multiple of four, so that both margins read the same.
    for (; from < end; from++) {
        *from = static_cast<char>(PATTERN >> reinterpret_cast<uintptr_t>(from) % 4 * 8);
    }
}

const char* damaged(const char* from, const char* end) {
    for (; from < end; from++) {
        if (*from != static_cast<char>(PATTERN >> reinterpret_cast<uintptr_t>(from) % 4 * 8)) {
            return from;
        }
    }
    return nullptr;
}

void check(char* at, const Allocation& allocation) {
    const char* end = at - MARGIN + allocation.block;
    const char* before = damaged(at - MARGIN, at);
    const char* behind = damaged(at + allocation.bytes, end);
    if (before == nullptr && behind == nullptr) {
        return;
    }
    const char* where = before != nullptr ? before : behind;
    fprintf(
        stderr,
        "emulated GPU: something wrote outside an allocation of %zu bytes, at offset %td. Launched since the last check:",
        allocation.bytes, where - at);
    for (const std::string& name : launched) {
        fprintf(stderr, " %s", name.c_str());
    }
    fprintf(stderr, " (S2PIPE_EMULATE_CHECK=1 checks after every launch)\n");
    abort();
}

}  // namespace

void* allocate(size_t bytes) {
    if (bytes > settings().memory || used + round_up(bytes, ALIGN) > settings().memory) {
        return nullptr;
    }
    const size_t block = MARGIN + round_up(bytes, ALIGN) + MARGIN;
    char* at;
    if (auto old = kept.find(block); old != kept.end()) {
        at = old->second;
        kept_bytes -= block;
        kept.erase(old);
    } else {
        at = static_cast<char*>(aligned_alloc(ALIGN, block));
        if (at == nullptr) {
            return nullptr;
        }
    }
    at += MARGIN;
    fill_margin(at - MARGIN, at);
    memset(at, UNDEFINED, bytes);
    fill_margin(at + bytes, at - MARGIN + block);
    allocations[at] = {bytes, block};
    used += round_up(bytes, ALIGN);
    peak = used > peak ? used : peak;
    return at;
}

bool release(void* pointer) {
    const auto found = allocations.find(static_cast<char*>(pointer));
    if (found == allocations.end()) {
        return false;
    }
    auto [at, allocation] = *found;
    check(at, allocation);
    allocations.erase(found);
    used -= round_up(allocation.bytes, ALIGN);
    // What is used after it was freed shows too.
    memset(at, UNDEFINED, allocation.bytes);
    if (kept_bytes + allocation.block <= KEPT) {
        kept.emplace(allocation.block, at - MARGIN);
        kept_bytes += allocation.block;
    } else {
        free(at - MARGIN);
    }
    return true;
}

bool is_device(const void* pointer, size_t bytes) {
    char* at = const_cast<char*>(static_cast<const char*>(pointer));
    auto found = allocations.upper_bound(at);
    if (found == allocations.begin()) {
        return false;
    }
    --found;
    return static_cast<size_t>(at - found->first) + bytes <= found->second.bytes;
}

void check_margins() {
    for (const auto& [at, allocation] : allocations) {
        check(at, allocation);
    }
    launched.clear();
}

void note_launch(const char* kernel) {
    if (launched.empty() || launched.back() != kernel) {
        launched.emplace_back(kernel);
    }
    if (settings().check_every_launch) {
        check_margins();
    }
}

size_t free_bytes() { return settings().memory - used; }
size_t peak_bytes() { return peak; }
void reset_peak() { peak = used; }
size_t allocated_bytes() { return used; }

}  // namespace emulate
