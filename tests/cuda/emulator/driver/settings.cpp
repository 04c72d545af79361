#include "settings.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace emulate {

namespace {

long long number(const char* name, long long otherwise) {
    const char* text = getenv(name);
    if (text == nullptr || *text == '\0') {
        return otherwise;
    }
    char* end;
    const long long value = strtoll(text, &end, 10);
    if (*end != '\0') {
        fprintf(stderr, "emulated GPU: %s is not a number: %s\n", name, text);
        exit(2);
    }
    return value;
}

Settings read() {
    Settings s{};
    s.memory = static_cast<size_t>(number("S2PIPE_EMULATE_MEMORY", 2LL << 30));
    s.devices = static_cast<int>(number("S2PIPE_EMULATE_DEVICES", 1));
    s.driver = static_cast<int>(number("S2PIPE_EMULATE_DRIVER", 13000));
    s.lost_after = static_cast<long>(number("S2PIPE_EMULATE_LOST_AFTER", -1));
    s.check_every_launch = number("S2PIPE_EMULATE_CHECK", 0) != 0;
    const char* capability = getenv("S2PIPE_EMULATE_CAPABILITY");
    if (sscanf(capability == nullptr ? "9.0" : capability, "%d.%d", &s.major, &s.minor) != 2) {
        fprintf(stderr, "emulated GPU: S2PIPE_EMULATE_CAPABILITY is not like 9.0: %s\n", capability);
        exit(2);
    }
    const char* order = getenv("S2PIPE_EMULATE_ORDER");
    s.backward = order != nullptr && strcmp(order, "backward") == 0;
    s.trace = getenv("S2PIPE_EMULATE_TRACE");
    return s;
}

}  // namespace

const Settings& settings() {
    static const Settings read_once = read();
    return read_once;
}

void trace(const char* format, ...) {
    if (settings().trace == nullptr) {
        return;
    }
    // Every line at once, so that a process that is killed, and a child that traces into the same file, leave whole lines.
    static FILE* file = fopen(settings().trace, "a");
    if (file == nullptr) {
        fprintf(stderr, "emulated GPU: cannot write %s\n", settings().trace);
        exit(2);
    }
    va_list arguments;
    va_start(arguments, format);
    char line[512];
    const int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    const size_t end = length < 0                                   ? 0
                       : length < static_cast<int>(sizeof line) - 1 ? static_cast<size_t>(length)
                                                                    : sizeof line - 2;
    line[end] = '\n';
    fwrite(line, 1, end + 1, file);
    fflush(file);
}

}  // namespace emulate
