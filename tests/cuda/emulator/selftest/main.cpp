// Runs all tests; prints those that fail.
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "check.h"

void open_device() {
    OK(cuInit(0));
    CUdevice device;
    CUcontext context;
    OK(cuDeviceGet(&device, 0));
    OK(cuDevicePrimaryCtxRetain(&context, device));
    OK(cuCtxSetCurrent(context));
}

CUfunction kernel(const char* name) {
    static CUmodule module = [] {
        CUmodule made;
        OK(cuModuleLoadData(&made, "\x50\xed machine code"));
        return made;
    }();
    CUfunction function;
    OK(cuModuleGetFunction(&function, module, name));
    return function;
}

static bool passes(const Test& test) {
    int said[2];
    CHECK(pipe(said) == 0);
    const pid_t child = fork();
    if (child == 0) {
        dup2(said[1], 2);
        close(said[0]);
        if (test.environment != nullptr) {
            putenv(strdup(test.environment));
        }
        test.run();
        exit(0);
    }
    close(said[1]);
    std::string text;
    char part[4096];
    for (ssize_t count; (count = read(said[0], part, sizeof part)) > 0;) {
        text.append(part, static_cast<size_t>(count));
    }
    close(said[0]);
    int status;
    waitpid(child, &status, 0);
    const bool died = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
    const bool passed = test.dies_with == nullptr ? status == 0 : died && text.find(test.dies_with) != std::string::npos;
    if (!passed) {
        fprintf(stderr, "FAILED %s (status %d)\n%s", test.name, status, text.c_str());
    }
    return passed;
}

int main(int count, char** arguments) {
    size_t failed = 0, run = 0;
    for (const auto* tests : {&driver_tests, &kernel_tests, &library_tests}) {
        for (const Test& test : *tests) {
            if (count < 2 || strcmp(arguments[1], test.name) == 0) {
                run++;
                failed += !passes(test);
            }
        }
    }
    printf("%zu tests of the emulated GPU, %zu failed\n", run, failed);
    return failed == 0 ? 0 : 1;
}
