// Initialisation, devices, contexts, streams, events, errors.
#include <cstdio>
#include <cstring>
#include <set>

#include "memory.h"
#include "settings.h"
#include "state.h"

namespace emulate {

namespace {

constexpr int MOST_DEVICES = 16;

bool initialised = false;
bool lost = false;
long launches = 0;
CUctx_st contexts[MOST_DEVICES];
CUmemPoolHandle_st pools[MOST_DEVICES];
thread_local CUcontext current = nullptr;
std::set<CUstream> streams;
std::set<CUevent> events;

bool exists(CUdevice device) { return device >= 0 && device < settings().devices && device < MOST_DEVICES; }

bool is_stream(CUstream stream) {
    return stream == nullptr || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD || streams.count(stream) > 0;
}

}  // namespace

std::recursive_mutex& lock() {
    static std::recursive_mutex only;
    return only;
}

CUresult standing() {
    if (!initialised) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    return lost ? CUDA_ERROR_LAUNCH_FAILED : CUDA_SUCCESS;
}

CUresult ready() {
    if (const CUresult failed = standing(); failed != CUDA_SUCCESS) {
        return failed;
    }
    return current == nullptr ? CUDA_ERROR_INVALID_CONTEXT : CUDA_SUCCESS;
}

CUresult launched(const char* kernel) {
    launches++;
    lost = settings().lost_after >= 0 && launches > settings().lost_after;
    if (lost) {
        return CUDA_ERROR_LAUNCH_FAILED;
    }
    note_launch(kernel);
    return CUDA_SUCCESS;
}

// Of a default pool that a caller asks for.
CUmemoryPool pool_of(CUdevice device) { return exists(device) ? &pools[device] : nullptr; }

CUmemoryPool& current_pool() {
    static CUmemoryPool current = &pools[0];
    return current;
}

}  // namespace emulate

using namespace emulate;

extern "C" {

CUresult cuInit(unsigned) {
    std::lock_guard<std::recursive_mutex> guard(lock());
    if (settings().devices == 0) {
        return CUDA_ERROR_NO_DEVICE;
    }
    initialised = true;
    return CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int* version) {
    *version = settings().driver;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int* count) {
    EMULATE_ENTER(standing)
    *count = settings().devices;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice* device, int ordinal) {
    EMULATE_ENTER(standing)
    *device = ordinal;
    return exists(ordinal) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuDeviceGetName(char* name, int length, CUdevice) {
    EMULATE_ENTER(standing)
    snprintf(name, static_cast<size_t>(length), "Emulated GPU");
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice device) {
    EMULATE_ENTER(standing)
    memset(uuid, 0, sizeof *uuid);
    uuid->bytes[0] = 'E';
    uuid->bytes[15] = static_cast<char>(device);
    return CUDA_SUCCESS;
}
CUresult cuDeviceTotalMem_v2(size_t* bytes, CUdevice) {
    EMULATE_ENTER(standing)
    *bytes = settings().memory;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
    EMULATE_ENTER(standing)
    if (!exists(device)) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    switch (attribute) {
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = settings().major; break;
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = settings().minor; break;
        case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = MOST_THREADS; break;
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: *value = MOST_THREADS; break;
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: *value = 64; break;
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: *value = 2147483647; break;
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: *value = 65535; break;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: *value = 48 * 1024; break;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *value = MOST_SHARED; break;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: *value = 228 * 1024; break;
        case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: *value = 2048; break;
        case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK: *value = 65536; break;
        // Few, so that kernels that size their grid by it have something to loop over.
        case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = 4; break;
        case CU_DEVICE_ATTRIBUTE_WARP_SIZE: *value = WARP; break;
        case CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT: *value = 512; break;
        case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: *value = 50 << 20; break;
        case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: *value = 1000000; break;
        case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID: *value = 1 + device; break;
        case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED:
        case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
        case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED:
        case CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH: *value = 1; break;
        default: *value = 0;
    }
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
    EMULATE_ENTER(standing)
    if (!exists(device)) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    contexts[device].device = device;
    contexts[device].retained++;
    *context = &contexts[device];
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    EMULATE_ENTER(standing)
    if (!exists(device) || contexts[device].retained == 0) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    contexts[device].retained--;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext* context) {
    EMULATE_ENTER(standing)
    *context = current;
    return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
    EMULATE_ENTER(standing)
    current = context;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice* device) {
    EMULATE_ENTER(ready)
    *device = current->device;
    return CUDA_SUCCESS;
}

CUresult cuCtxSetFlags(unsigned) {
    EMULATE_ENTER(ready)
    return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize() {
    EMULATE_ENTER(ready)
    trace("sync context");
    check_margins();
    return CUDA_SUCCESS;
}

CUresult cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    EMULATE_ENTER(ready)
    *least = 0;
    *greatest = -5;
    return CUDA_SUCCESS;
}

CUresult cuStreamCreateWithPriority(CUstream* stream, unsigned flags, int) {
    EMULATE_ENTER(ready)
    *stream = new CUstream_st{flags};
    streams.insert(*stream);
    return CUDA_SUCCESS;
}
CUresult cuStreamCreate(CUstream* stream, unsigned flags) { return cuStreamCreateWithPriority(stream, flags, 0); }

CUresult cuStreamDestroy_v2(CUstream stream) {
    EMULATE_ENTER(ready)
    if (streams.erase(stream) == 0) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    delete stream;
    return CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream stream) {
    EMULATE_ENTER(ready)
    if (!is_stream(stream)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    trace("sync stream");
    check_margins();
    return CUDA_SUCCESS;
}

CUresult cuStreamQuery(CUstream stream) {
    EMULATE_ENTER(ready)
    return is_stream(stream) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuStreamIsCapturing(CUstream, CUstreamCaptureStatus* status) {
    EMULATE_ENTER(ready)
    *status = CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
    EMULATE_ENTER(ready)
    return is_stream(stream) && events.count(event) > 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuLaunchHostFunc(CUstream stream, CUhostFn function, void* argument) {
    EMULATE_ENTER(ready)
    if (!is_stream(stream)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    function(argument);
    return CUDA_SUCCESS;
}

CUresult cuEventCreate(CUevent* event, unsigned flags) {
    EMULATE_ENTER(ready)
    *event = new CUevent_st{(flags & CU_EVENT_DISABLE_TIMING) == 0, false, {}};
    events.insert(*event);
    return CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent event) {
    EMULATE_ENTER(standing)
    if (events.erase(event) == 0) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    delete event;
    return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
    EMULATE_ENTER(ready)
    if (!is_stream(stream) || events.count(event) == 0) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    event->recorded = true;
    event->at = std::chrono::steady_clock::now();
    return CUDA_SUCCESS;
}

CUresult cuEventQuery(CUevent event) {
    EMULATE_ENTER(ready)
    return events.count(event) > 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuEventSynchronize(CUevent event) {
    EMULATE_ENTER(ready)
    if (events.count(event) == 0) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    // There is nothing to wait for before it was recorded.
    if (event->recorded) {
        trace("sync event");
        check_margins();
    }
    return CUDA_SUCCESS;
}

CUresult cuEventElapsedTime_v2(float* milliseconds, CUevent from, CUevent to) {
    EMULATE_ENTER(ready)
    if (events.count(from) == 0 || events.count(to) == 0 || !from->timed || !to->timed || !from->recorded || !to->recorded) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    *milliseconds = std::chrono::duration<float, std::milli>(to->at - from->at).count();
    return CUDA_SUCCESS;
}
#undef cuEventElapsedTime
CUresult cuEventElapsedTime(float* milliseconds, CUevent from, CUevent to) {
    return cuEventElapsedTime_v2(milliseconds, from, to);
}

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool* pool, CUdevice device) {
    EMULATE_ENTER(standing)
    *pool = pool_of(device);
    return *pool == nullptr ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}
CUresult cuDeviceGetMemPool(CUmemoryPool* pool, CUdevice) {
    EMULATE_ENTER(standing)
    *pool = current_pool();
    return CUDA_SUCCESS;
}
CUresult cuDeviceSetMemPool(CUdevice, CUmemoryPool pool) {
    EMULATE_ENTER(standing)
    current_pool() = pool;
    return CUDA_SUCCESS;
}

#define EMULATE_NAMED(error) \
    case error: *text = #error; return CUDA_SUCCESS;
CUresult cuGetErrorName(CUresult error, const char** text) {
    switch (error) {
        EMULATE_NAMED(CUDA_SUCCESS)
        EMULATE_NAMED(CUDA_ERROR_INVALID_VALUE)
        EMULATE_NAMED(CUDA_ERROR_OUT_OF_MEMORY)
        EMULATE_NAMED(CUDA_ERROR_NOT_INITIALIZED)
        EMULATE_NAMED(CUDA_ERROR_NO_DEVICE)
        EMULATE_NAMED(CUDA_ERROR_INVALID_DEVICE)
        EMULATE_NAMED(CUDA_ERROR_INVALID_CONTEXT)
        EMULATE_NAMED(CUDA_ERROR_INVALID_HANDLE)
        EMULATE_NAMED(CUDA_ERROR_NOT_FOUND)
        EMULATE_NAMED(CUDA_ERROR_LAUNCH_FAILED)
        EMULATE_NAMED(CUDA_ERROR_NOT_SUPPORTED)
        default: *text = nullptr; return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult cuGetErrorString(CUresult error, const char** text) {
    switch (error) {
        case CUDA_SUCCESS: *text = "no error"; break;
        case CUDA_ERROR_INVALID_VALUE: *text = "invalid argument"; break;
        case CUDA_ERROR_OUT_OF_MEMORY: *text = "out of memory"; break;
        case CUDA_ERROR_NOT_INITIALIZED: *text = "initialization error"; break;
        case CUDA_ERROR_NO_DEVICE: *text = "no CUDA-capable device is detected"; break;
        case CUDA_ERROR_INVALID_DEVICE: *text = "invalid device ordinal"; break;
        case CUDA_ERROR_INVALID_CONTEXT: *text = "invalid device context"; break;
        case CUDA_ERROR_INVALID_HANDLE: *text = "invalid resource handle"; break;
        case CUDA_ERROR_NOT_FOUND: *text = "named symbol not found"; break;
        case CUDA_ERROR_LAUNCH_FAILED: *text = "unspecified launch failure"; break;
        case CUDA_ERROR_NOT_SUPPORTED: *text = "operation not supported"; break;
        default: *text = nullptr; return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

}  // extern "C"
