// NCCL: the calls of ranks that add up and hand round, between processes of one machine. There is no header of NCCL in the
// toolkit; the types are those of its ABI.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "services.h"

namespace {

// ncclResult_t
enum Result { SUCCESS = 0, UNHANDLED = 1, SYSTEM = 2, INVALID_ARGUMENT = 4, INVALID_USAGE = 5, REMOTE = 6 };
// ncclDataType_t
enum Type { INT8 = 0, UINT8 = 1, FLOAT32 = 7, FLOAT64 = 8 };
const int SUM = 0;

struct UniqueId {
    char internal[128];
};

// Rank 0 has a socket to every other rank, from place 1 on; the others have one to rank 0.
struct Comm {
    int rank;
    int ranks;
    std::vector<int> sockets;
};

thread_local int group_depth = 0;

bool send_all(int socket, const void* from, size_t bytes) {
    const char* at = static_cast<const char*>(from);
    while (bytes > 0) {
        const ssize_t sent = send(socket, at, bytes, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        at += sent, bytes -= static_cast<size_t>(sent);
    }
    return true;
}

bool receive_all(int socket, void* into, size_t bytes) {
    return bytes == 0 || recv(socket, into, bytes, MSG_WAITALL) == static_cast<ssize_t>(bytes);
}

// The name of the meeting, which no file stands for.
socklen_t address(const UniqueId& id, sockaddr_un& place) {
    place = {};
    place.sun_family = AF_UNIX;
    memcpy(place.sun_path + 1, id.internal, 40);
    return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 41);
}

size_t size_of(int type) { return type == FLOAT64 ? 8 : type == FLOAT32 ? 4 : 1; }

template <typename T>
void add(const std::vector<char>& other, void* into) {
    T* sums = static_cast<T*>(into);
    for (size_t i = 0; i < other.size() / sizeof(T); i++) {
        T value;
        memcpy(&value, other.data() + i * sizeof(T), sizeof value);
        sums[i] += value;
    }
}

// What a GPU would refuse.
Result check(const char* call, const void* from, const void* into, size_t bytes) {
    if (bytes > 0 && (s2pipe_emulate_is_device(from, bytes) == 0 || s2pipe_emulate_is_device(into, bytes) == 0)) {
        return INVALID_ARGUMENT;
    }
    return s2pipe_emulate_library_call(call, "") == 0 ? SUCCESS : UNHANDLED;
}

Result all_reduce(const void* from, void* into, size_t count, int type, Comm& comm) {
    const size_t bytes = count * size_of(type);
    if (into != from) memcpy(into, from, bytes);
    if (comm.rank > 0) {
        const bool well = send_all(comm.sockets[0], into, bytes) && receive_all(comm.sockets[0], into, bytes);
        return well ? SUCCESS : REMOTE;
    }
    std::vector<char> other(bytes);
    for (int rank = 1; rank < comm.ranks; rank++) {
        if (!receive_all(comm.sockets[static_cast<size_t>(rank)], other.data(), bytes)) return REMOTE;
        if (type == FLOAT64) add<double>(other, into);
        else add<float>(other, into);
    }
    for (int rank = 1; rank < comm.ranks; rank++) {
        if (!send_all(comm.sockets[static_cast<size_t>(rank)], into, bytes)) return REMOTE;
    }
    return SUCCESS;
}

Result broadcast(const void* from, void* into, size_t bytes, int root, Comm& comm) {
    if (comm.rank == root && into != from) memcpy(into, from, bytes);
    if (comm.rank > 0) {
        const bool well = comm.rank == root ? send_all(comm.sockets[0], into, bytes) : receive_all(comm.sockets[0], into, bytes);
        return well ? SUCCESS : REMOTE;
    }
    if (root > 0 && !receive_all(comm.sockets[static_cast<size_t>(root)], into, bytes)) return REMOTE;
    for (int rank = 1; rank < comm.ranks; rank++) {
        if (rank != root && !send_all(comm.sockets[static_cast<size_t>(rank)], into, bytes)) return REMOTE;
    }
    return SUCCESS;
}

}  // namespace

extern "C" {

int ncclGetUniqueId(UniqueId* id) {
    *id = {};
    uint64_t words[2];
    FILE* random = fopen("/dev/urandom", "rb");
    if (random == nullptr || fread(words, sizeof words, 1, random) != 1) return SYSTEM;
    fclose(random);
    snprintf(id->internal, sizeof id->internal, "emulated%016llx%016llx", static_cast<unsigned long long>(words[0]),
             static_cast<unsigned long long>(words[1]));
    return SUCCESS;
}

int ncclCommInitRank(Comm** made, int ranks, UniqueId id, int rank) {
    if (ranks < 1 || rank < 0 || rank >= ranks || strncmp(id.internal, "emulated", 8) != 0) return INVALID_ARGUMENT;
    if (s2pipe_emulate_ready() != 0) return UNHANDLED;
    sockaddr_un place;
    const socklen_t length = address(id, place);
    auto* at = reinterpret_cast<sockaddr*>(&place);
    Comm* comm = new Comm{rank, ranks, {}};
    const int mine = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (rank > 0) {
        // Rank 0 may not be there yet.
        for (int tries = 0; connect(mine, at, length) != 0; tries++) {
            if (tries == 3000) return SYSTEM;
            usleep(10000);
        }
        if (!send_all(mine, &rank, sizeof rank)) return REMOTE;
        comm->sockets = {mine};
    } else {
        comm->sockets.assign(static_cast<size_t>(ranks), -1);
        if (bind(mine, at, length) != 0 || listen(mine, ranks) != 0) return SYSTEM;
        for (int come = 1; come < ranks; come++) {
            const int other = accept4(mine, nullptr, nullptr, SOCK_CLOEXEC);
            int number = 0;
            if (other < 0 || !receive_all(other, &number, sizeof number)) return REMOTE;
            // Two ranks of one number, which NCCL refuses too.
            if (number <= 0 || number >= ranks || comm->sockets[static_cast<size_t>(number)] != -1) return INVALID_USAGE;
            comm->sockets[static_cast<size_t>(number)] = other;
        }
        close(mine);
    }
    *made = comm;
    return SUCCESS;
}

int ncclCommAbort(Comm* comm) {
    for (int socket : comm->sockets) {
        if (socket >= 0) shutdown(socket, SHUT_RDWR);
    }
    // What another thread may still wait in is left where it is.
    return SUCCESS;
}

int ncclCommDestroy(Comm* comm) {
    for (int socket : comm->sockets) {
        if (socket >= 0) close(socket);
    }
    delete comm;
    return SUCCESS;
}

int ncclAllReduce(const void* from, void* into, size_t count, int type, int op, Comm* comm, void*) {
    if (comm == nullptr || op != SUM || (type != FLOAT32 && type != FLOAT64)) return INVALID_ARGUMENT;
    const Result refused = check("ncclAllReduce", from, into, count * size_of(type));
    return refused != SUCCESS ? refused : all_reduce(from, into, count, type, *comm);
}

int ncclBroadcast(const void* from, void* into, size_t count, int type, int root, Comm* comm, void*) {
    if (comm == nullptr || root < 0 || root >= comm->ranks || (type != INT8 && type != UINT8)) return INVALID_ARGUMENT;
    const Result refused = check("ncclBroadcast", from, into, count);
    return refused != SUCCESS ? refused : broadcast(from, into, count, root, *comm);
}

int ncclGroupStart() {
    group_depth++;
    return SUCCESS;
}

int ncclGroupEnd() { return group_depth-- > 0 ? SUCCESS : INVALID_USAGE; }

const char* ncclGetErrorString(int code) {
    switch (code) {
        case SUCCESS: return "no error";
        case UNHANDLED: return "unhandled cuda error";
        case SYSTEM: return "unhandled system error";
        case INVALID_ARGUMENT: return "invalid argument";
        case INVALID_USAGE: return "invalid usage";
        case REMOTE: return "remote process exited or there was a network error";
        default: return "unknown result code";
    }
}

}  // extern "C"
