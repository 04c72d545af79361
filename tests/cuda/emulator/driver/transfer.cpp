// Allocation, copies and fills.
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>

#include "memory.h"
#include "settings.h"
#include "state.h"

using namespace emulate;

namespace {

std::map<void*, size_t> pinned;

void* pointer(CUdeviceptr at) { return reinterpret_cast<void*>(at); }

// The pool and the bytes of every allocation.
std::map<void*, std::pair<CUmemoryPool, size_t>> owners;

CUresult allocate_at(CUdeviceptr* at, size_t bytes, CUmemoryPool pool) {
    if (bytes == 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    const bool fits = pool->limit == 0 || pool->used + bytes <= pool->limit;
    void* memory = fits ? allocate(bytes) : nullptr;
    if (memory != nullptr) {
        pool->used += bytes;
        owners[memory] = {pool, bytes};
    }
    trace("alloc %zu%s", bytes, memory == nullptr ? " refused" : "");
    *at = reinterpret_cast<CUdeviceptr>(memory);
    return memory == nullptr ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult release_at(CUdeviceptr at) {
    if (at == 0) {
        return CUDA_SUCCESS;
    }
    const auto owner = owners.find(pointer(at));
    if (owner != owners.end()) {
        owner->second.first->used -= owner->second.second;
        owners.erase(owner);
    }
    return release(pointer(at)) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult fill(CUdeviceptr at, const void* value, size_t size, size_t count) {
    if (!is_device(pointer(at), size * count)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    trace("memset %zu", size * count);
    for (size_t i = 0; i < count; i++) {
        memcpy(static_cast<char*>(pointer(at)) + i * size, value, size);
    }
    return CUDA_SUCCESS;
}

CUresult fill_bytes(CUdeviceptr at, int value, size_t count) {
    if (!is_device(pointer(at), count)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    trace("memset %zu", count);
    memset(pointer(at), value, count);
    return CUDA_SUCCESS;
}

// Whether a copy need not be waited for: the host's side of it is pinned.
bool is_pinned(const void* at) {
    auto found = pinned.upper_bound(const_cast<void*>(at));
    if (found == pinned.begin()) {
        return false;
    }
    --found;
    return static_cast<const char*>(at) < static_cast<const char*>(found->first) + found->second;
}

CUresult copy(const char* kind, void* to, const void* from, size_t bytes, bool to_device, bool from_device) {
    if ((to_device && !is_device(to, bytes)) || (from_device && !is_device(from, bytes))) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    const bool host_pinned = to_device && from_device ? false : is_pinned(to_device ? from : to);
    trace("memcpy %s %zu%s", kind, bytes, host_pinned ? " pinned" : "");
    memmove(to, from, bytes);
    if (!to_device) {
        check_margins();
    }
    return CUDA_SUCCESS;
}

}  // namespace

extern "C" {

CUresult cuMemAlloc_v2(CUdeviceptr* at, size_t bytes) {
    EMULATE_ENTER(ready)
    return allocate_at(at, bytes, current_pool());
}
CUresult cuMemAllocAsync(CUdeviceptr* at, size_t bytes, CUstream) {
    EMULATE_ENTER(ready)
    return allocate_at(at, bytes, current_pool());
}
CUresult cuMemAllocFromPoolAsync(CUdeviceptr* at, size_t bytes, CUmemoryPool pool, CUstream) {
    EMULATE_ENTER(ready)
    return allocate_at(at, bytes, pool);
}
CUresult cuMemFree_v2(CUdeviceptr at) {
    EMULATE_ENTER(ready)
    trace("sync free");
    return release_at(at);
}
CUresult cuMemFreeAsync(CUdeviceptr at, CUstream) {
    EMULATE_ENTER(ready)
    return release_at(at);
}

CUresult cuMemGetInfo_v2(size_t* free, size_t* total) {
    EMULATE_ENTER(ready)
    *free = free_bytes();
    *total = settings().memory;
    return CUDA_SUCCESS;
}

CUresult cuMemHostAlloc(void** at, size_t bytes, unsigned) {
    EMULATE_ENTER(ready)
    *at = bytes == 0 ? nullptr : aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (*at == nullptr) {
        return bytes == 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_OUT_OF_MEMORY;
    }
    trace("alloc host %zu", bytes);
    memset(*at, 0xff, bytes);
    pinned[*at] = bytes;
    return CUDA_SUCCESS;
}
CUresult cuMemAllocHost_v2(void** at, size_t bytes) { return cuMemHostAlloc(at, bytes, 0); }
CUresult cuMemFreeHost(void* at) {
    EMULATE_ENTER(ready)
    if (pinned.erase(at) == 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    free(at);
    return CUDA_SUCCESS;
}

CUresult cuMemPoolCreate(CUmemoryPool* pool, const CUmemPoolProps* properties) {
    EMULATE_ENTER(standing)
    if (properties->allocType != CU_MEM_ALLOCATION_TYPE_PINNED || properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *pool = new CUmemPoolHandle_st;
    (*pool)->limit = properties->maxSize;
    return CUDA_SUCCESS;
}
CUresult cuMemPoolDestroy(CUmemoryPool pool) {
    EMULATE_ENTER(standing)
    // What still lies in it may be freed later; then the pool is asked for its sum. Few are made, so none is deleted.
    (void)pool;
    return CUDA_SUCCESS;
}
CUresult cuMemPoolTrimTo(CUmemoryPool, size_t) {
    EMULATE_ENTER(standing)
    return CUDA_SUCCESS;
}
CUresult cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void* value) {
    EMULATE_ENTER(standing)
    if (attribute == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD) {
        pool->threshold = *static_cast<cuuint64_t*>(value);
    } else if (attribute == CU_MEMPOOL_ATTR_USED_MEM_HIGH || attribute == CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH) {
        reset_peak();
    }
    return CUDA_SUCCESS;
}
CUresult cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void* value) {
    EMULATE_ENTER(standing)
    switch (attribute) {
        case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: *static_cast<cuuint64_t*>(value) = pool->threshold; break;
        case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
        case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT: *static_cast<cuuint64_t*>(value) = pool->used; break;
        case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
        case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH: *static_cast<cuuint64_t*>(value) = peak_bytes(); break;
        default: *static_cast<int*>(value) = 1;
    }
    return CUDA_SUCCESS;
}

CUresult cuMemsetD8_v2(CUdeviceptr at, unsigned char value, size_t count) {
    EMULATE_ENTER(ready)
    return fill_bytes(at, value, count);
}
CUresult cuMemsetD8Async(CUdeviceptr at, unsigned char value, size_t count, CUstream) {
    EMULATE_ENTER(ready)
    return fill_bytes(at, value, count);
}
CUresult cuMemsetD16_v2(CUdeviceptr at, unsigned short value, size_t count) {
    EMULATE_ENTER(ready)
    return fill(at, &value, sizeof value, count);
}
CUresult cuMemsetD16Async(CUdeviceptr at, unsigned short value, size_t count, CUstream) {
    EMULATE_ENTER(ready)
    return fill(at, &value, sizeof value, count);
}
CUresult cuMemsetD32_v2(CUdeviceptr at, unsigned value, size_t count) {
    EMULATE_ENTER(ready)
    return fill(at, &value, sizeof value, count);
}
CUresult cuMemsetD32Async(CUdeviceptr at, unsigned value, size_t count, CUstream) {
    EMULATE_ENTER(ready)
    return fill(at, &value, sizeof value, count);
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t bytes) {
    EMULATE_ENTER(ready)
    return copy("htod", pointer(to), from, bytes, true, false);
}
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, CUstream) {
    EMULATE_ENTER(ready)
    return copy("htod", pointer(to), from, bytes, true, false);
}
CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t bytes) {
    EMULATE_ENTER(ready)
    return copy("dtoh", to, pointer(from), bytes, false, true);
}
CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream) {
    EMULATE_ENTER(ready)
    return copy("dtoh", to, pointer(from), bytes, false, true);
}
CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    EMULATE_ENTER(ready)
    return copy("dtod", pointer(to), pointer(from), bytes, true, true);
}
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream) {
    EMULATE_ENTER(ready)
    return copy("dtod", pointer(to), pointer(from), bytes, true, true);
}
CUresult cuMemcpyPeerAsync(CUdeviceptr to, CUcontext, CUdeviceptr from, CUcontext, size_t bytes, CUstream) {
    EMULATE_ENTER(ready)
    return copy("dtod", pointer(to), pointer(from), bytes, true, true);
}

}  // extern "C"
