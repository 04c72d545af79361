// Written behind the preprocessed kernels by build.sh.
#pragma once

#define EMULATE_KERNEL(name) {#name, &emulate::Entry<&name>::run}
#define EMULATE_MODULE(...)                                                                                  \
    static const emulate::Kernel s2pipe_emulate_list[] = {__VA_ARGS__};                                      \
    extern "C" __attribute__((visibility("default")))                                                        \
    const emulate::Image s2pipe_emulate_image = {s2pipe_emulate_list,                                        \
                                                 sizeof s2pipe_emulate_list / sizeof s2pipe_emulate_list[0], \
                                                 &blockIdx,                                                  \
                                                 &blockDim,                                                  \
                                                 &gridDim,                                                   \
                                                 emulate::__bss_start,                                       \
                                                 emulate::s2pipe_emulate_dynamic};
