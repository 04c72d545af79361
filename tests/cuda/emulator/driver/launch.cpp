// Modules, functions, launches.
#include <dirent.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "grid.h"
#include "memory.h"
#include "settings.h"
#include "state.h"

using namespace emulate;

namespace {

// Where the libraries of kernels lie, and the symbol that each has.
constexpr const char* FOLDER = "kernels";
constexpr const char* IMAGE = "s2pipe_emulate_image";
// How the names of those begin that come from candle.
constexpr const char* CANDLE = "candle-";

struct Library {
    std::string name;
    const Image* image;
};

// All libraries in the folder beside this one, by name.
std::vector<Library> load_libraries() {
    Dl_info here;
    dladdr(reinterpret_cast<void*>(&load_libraries), &here);
    const std::string file = here.dli_fname;
    const std::string folder = file.substr(0, file.find_last_of('/') + 1) + FOLDER;
    std::vector<std::string> names;
    if (DIR* entries = opendir(folder.c_str())) {
        while (const dirent* entry = readdir(entries)) {
            const std::string name = entry->d_name;
            if (name.size() > 3 && name.compare(name.size() - 3, 3, ".so") == 0) {
                names.push_back(name);
            }
        }
        closedir(entries);
    }
    std::sort(names.begin(), names.end());
    std::vector<Library> libraries;
    for (const std::string& name : names) {
        void* library = dlopen((folder + "/" + name).c_str(), RTLD_NOW | RTLD_LOCAL);
        const void* image = library == nullptr ? nullptr : dlsym(library, IMAGE);
        if (image == nullptr) {
            fprintf(stderr, "emulated GPU: %s\n", dlerror());
            abort();
        }
        libraries.push_back({name, static_cast<const Image*>(image)});
    }
    return libraries;
}

// candle's modules and ours may use the same name for different kernels. candle's are text, ours machine code.
bool find(const char* name, bool of_candle, CUfunc_st& found) {
    static const std::vector<Library> libraries = load_libraries();
    for (const Library& library : libraries) {
        if ((library.name.rfind(CANDLE, 0) == 0) != of_candle) {
            continue;
        }
        for (size_t i = 0; i < library.image->count; i++) {
            if (strcmp(library.image->kernels[i].name, name) == 0) {
                found.image = library.image;
                found.kernel = &library.image->kernels[i];
                return true;
            }
        }
    }
    return false;
}

// One for each kernel, as long as the program runs.
std::map<const Kernel*, CUfunc_st> functions;

CUresult launch(CUfunction function, dim3 grid, dim3 block, unsigned dynamic, void** arguments, void** extra) {
    const size_t threads = size_t{block.x} * block.y * block.z;
    if (function == nullptr) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (threads == 0 || threads > MOST_THREADS || block.z > 64 || grid.x == 0 || grid.x > 2147483647u || grid.y == 0 ||
        grid.y > 65535 || grid.z == 0 || grid.z > 65535 || extra != nullptr ||
        dynamic > static_cast<unsigned>(function->dynamic_bytes)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    trace("kernel %s grid %u,%u,%u block %u,%u,%u shared %u", function->kernel->name, grid.x, grid.y, grid.z, block.x,
          block.y, block.z, dynamic);
    run({*function->image, *function->kernel, grid, block, dynamic, arguments});
    return launched(function->kernel->name);
}

}  // namespace

extern "C" {

CUresult cuModuleLoadData(CUmodule* module, const void* image) {
    EMULATE_ENTER(ready)
    if (image == nullptr) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    const char* text = static_cast<const char*>(image);
    *module = new CUmod_st{strncmp(text, "//", 2) == 0 || strncmp(text, ".version", 8) == 0 || *text == '\n' ? text : ""};
    return CUDA_SUCCESS;
}
CUresult cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned, CUjit_option*, void**) {
    return cuModuleLoadData(module, image);
}
CUresult cuModuleLoadFatBinary(CUmodule* module, const void* image) { return cuModuleLoadData(module, image); }

CUresult cuModuleUnload(CUmodule module) {
    EMULATE_ENTER(ready)
    delete module;
    return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
    EMULATE_ENTER(ready)
    const bool text = !module->text.empty();
    if (text && module->text.find(std::string(".entry ") + name + "(") == std::string::npos) {
        return CUDA_ERROR_NOT_FOUND;
    }
    CUfunc_st found{};
    if (!find(name, text, found)) {
        fprintf(stderr, "emulated GPU: there is no kernel %s\n", name);
        return CUDA_ERROR_NOT_FOUND;
    }
    *function = &functions.try_emplace(found.kernel, found).first->second;
    return CUDA_SUCCESS;
}

CUresult cuModuleGetGlobal_v2(CUdeviceptr*, size_t*, CUmodule, const char*) {
    EMULATE_ENTER(ready)
    return CUDA_ERROR_NOT_FOUND;
}

CUresult cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction function) {
    EMULATE_ENTER(ready)
    switch (attribute) {
        case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = MOST_THREADS; break;
        case CU_FUNC_ATTRIBUTE_NUM_REGS: *value = 32; break;
        case CU_FUNC_ATTRIBUTE_PTX_VERSION:
        case CU_FUNC_ATTRIBUTE_BINARY_VERSION: *value = settings().major * 10 + settings().minor; break;
        case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: *value = function->dynamic_bytes; break;
        default: *value = 0;
    }
    return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
    EMULATE_ENTER(ready)
    if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
        if (value < 0 || value > static_cast<int>(MOST_SHARED)) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        function->dynamic_bytes = value;
    }
    return CUDA_SUCCESS;
}
CUresult cuFuncSetCacheConfig(CUfunction, CUfunc_cache) {
    EMULATE_ENTER(ready)
    return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, CUfunction, int threads, size_t dynamic,
                                                              unsigned) {
    EMULATE_ENTER(ready)
    const int by_threads = threads > 0 ? 2048 / threads : 0;
    const int by_memory = dynamic > 0 ? static_cast<int>(228 * 1024 / (dynamic + 1024)) : 32;
    *blocks = std::min({by_threads, by_memory, 32});
    return CUDA_SUCCESS;
}
CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction function, int threads, size_t dynamic) {
    return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, threads, dynamic, 0);
}
CUresult cuOccupancyMaxPotentialBlockSizeWithFlags(int* grid, int* block, CUfunction, CUoccupancyB2DSize, size_t, int limit,
                                                   unsigned) {
    EMULATE_ENTER(ready)
    *block = limit > 0 ? std::min(limit, 1024) : 1024;
    *grid = 8;
    return CUDA_SUCCESS;
}
CUresult cuOccupancyMaxPotentialBlockSize(int* grid, int* block, CUfunction function, CUoccupancyB2DSize size,
                                          size_t dynamic, int limit) {
    return cuOccupancyMaxPotentialBlockSizeWithFlags(grid, block, function, size, dynamic, limit, 0);
}
CUresult cuOccupancyAvailableDynamicSMemPerBlock(size_t* bytes, CUfunction, int, int) {
    EMULATE_ENTER(ready)
    *bytes = 48 * 1024;
    return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                        unsigned block_y, unsigned block_z, unsigned dynamic, CUstream, void** arguments, void** extra) {
    EMULATE_ENTER(ready)
    return launch(function, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, dynamic, arguments, extra);
}
CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction function, void** arguments, void** extra) {
    EMULATE_ENTER(ready)
    return launch(function, {config->gridDimX, config->gridDimY, config->gridDimZ},
                  {config->blockDimX, config->blockDimY, config->blockDimZ}, config->sharedMemBytes, arguments, extra);
}

// The names are those of this library's functions: what is not there is not supported.
CUresult cuGetProcAddress_v2(const char* symbol, void** address, int, cuuint64_t, CUdriverProcAddressQueryResult* result) {
    std::lock_guard<std::recursive_mutex> guard(lock());
    const std::string name = symbol;
    *address = nullptr;
    for (const char* version : {"_v4", "_v3", "_v2", ""}) {
        if (*address == nullptr) {
            *address = dlsym(RTLD_DEFAULT, (name + version).c_str());
        }
    }
    if (result != nullptr) {
        *result = *address == nullptr ? CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND : CU_GET_PROC_ADDRESS_SUCCESS;
    }
    return *address == nullptr ? CUDA_ERROR_NOT_FOUND : CUDA_SUCCESS;
}

// For the libraries that compute on the host what a GPU's kernels would: ../libraries/services.h.
int s2pipe_emulate_ready() {
    EMULATE_ENTER(ready)
    return CUDA_SUCCESS;
}
int s2pipe_emulate_library_call(const char* name, const char* detail) {
    EMULATE_ENTER(ready)
    trace("%s %s", name, detail);
    return launched(name);
}
int s2pipe_emulate_is_device(const void* at, size_t bytes) {
    std::lock_guard<std::recursive_mutex> guard(lock());
    return is_device(at, bytes);
}

}  // extern "C"
