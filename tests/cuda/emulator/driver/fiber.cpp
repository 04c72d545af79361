#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace emulate {

namespace {

constexpr size_t STACK = 128 * 1024;
constexpr size_t PAGE = 4096;

}  // namespace

#ifdef __x86_64__

// swapcontext asks the kernel for the signal mask, twice a switch; this only saves what a called function has to save.
extern "C" void s2pipe_emulate_switch(void** save, void* load);
asm(R"(
.text
.p2align 4
.type s2pipe_emulate_switch, @function
s2pipe_emulate_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size s2pipe_emulate_switch, . - s2pipe_emulate_switch

.p2align 4
.type s2pipe_emulate_first, @function
s2pipe_emulate_first:
    movq %r12, %rdi
    callq *%r13
    ud2
.size s2pipe_emulate_first, . - s2pipe_emulate_first
)");
extern "C" void s2pipe_emulate_first();

struct Fiber::Machine {
    void* inside = nullptr;
    void* outside = nullptr;
};

#else

struct Fiber::Machine {
    ucontext_t inside;
    ucontext_t outside;
};

#endif

void Fiber::main(Fiber* self) {
    for (;;) {
        self->body_(self->argument_);
        self->leave();
    }
}

Fiber::Fiber(void (*body)(void*), void* argument, size_t number)
    : body_(body), argument_(argument), machine_(std::make_unique<Machine>()) {
    memory_ = mmap(nullptr, PAGE + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    // The lowest page stays closed, so that a thread that needs more stack stops there.
    if (memory_ == MAP_FAILED || mprotect(memory_, PAGE, PROT_NONE) != 0) {
        perror("emulated GPU: no stack for a thread");
        abort();
    }
#ifdef __x86_64__
    // A multiple of 16 is left when all of the frame is taken off, as a call needs it.
    // Tops that differ in their low bits: else all of them compete for the same lines of the cache.
    auto top = reinterpret_cast<uintptr_t>(memory_) + PAGE + STACK - number % 32 * 320;
    auto* frame = reinterpret_cast<void**>(top & ~uintptr_t{63}) - 9;
    frame[0] = frame[1] = nullptr;                     // r15, r14
    frame[2] = reinterpret_cast<void*>(&Fiber::main);  // r13
    frame[3] = this;                                   // r12
    frame[4] = frame[5] = nullptr;                     // rbx, rbp
    frame[6] = reinterpret_cast<void*>(&s2pipe_emulate_first);
    machine_->inside = frame;
#else
    (void)number;
    getcontext(&machine_->inside);
    machine_->inside.uc_stack.ss_sp = static_cast<char*>(memory_) + PAGE;
    machine_->inside.uc_stack.ss_size = STACK;
    machine_->inside.uc_link = nullptr;
    auto address = reinterpret_cast<uintptr_t>(this);
    auto first =
        +[](unsigned high, unsigned low) { main(reinterpret_cast<Fiber*>(static_cast<uintptr_t>(high) << 32 | low)); };
    makecontext(&machine_->inside, reinterpret_cast<void (*)()>(first), 2, static_cast<unsigned>(address >> 32),
                static_cast<unsigned>(address));
#endif
}

Fiber::~Fiber() { munmap(memory_, PAGE + STACK); }

void Fiber::enter() {
#ifdef __x86_64__
    s2pipe_emulate_switch(&machine_->outside, machine_->inside);
#else
    swapcontext(&machine_->outside, &machine_->inside);
#endif
}

void Fiber::leave() {
#ifdef __x86_64__
    s2pipe_emulate_switch(&machine_->inside, machine_->outside);
#else
    swapcontext(&machine_->inside, &machine_->outside);
#endif
}

}  // namespace emulate
