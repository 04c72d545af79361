// A block's threads run until they wait. As long as none has waited, one fiber runs them all in a loop; a thread that waits
// keeps the fiber, and the next ones get another. Warps go as far as they can before the next warp starts.
#include "grid.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "fiber.h"
#include "settings.h"

namespace emulate {

namespace {

constexpr int UNDEFINED = 0xff;  // as a byte of a number: NaN
constexpr int MARGIN = 0xa5;

enum State : unsigned char { Gone, AtBarrier, InExchange, Ready };

class Runner {
   public:
    void run(const Launch& launch);
    int barrier(int brought);
    void exchange(Exchange* with);
    unsigned lane() const { return block_.current % WARP; }
    unsigned active() const;
    [[noreturn]] void fail(const char* reason) const;

   private:
    void run_block();
    void poison() const;
    void check_margin() const;
    void start();
    void advance(unsigned warp);
    bool finish_exchanges(unsigned warp);
    void leave(State state);
    void enter(Fiber* fiber);

    const Launch* launch_ = nullptr;
    Block block_;
    uint3 at_{};
    std::vector<std::unique_ptr<Fiber>> fibers_;
    std::vector<Fiber*> idle_;
    // Of every thread of the block, once it has waited.
    State state_[MOST_THREADS];
    Fiber* fiber_[MOST_THREADS];
    Exchange* exchange_[MOST_THREADS];
    // What the lanes of a warp brought last. All that exchange have read it before the next exchange is over.
    uint64_t brought_[MOST_THREADS][2];
    Fiber* running_ = nullptr;
    int barrier_sum_ = 0;
    int barrier_result_ = 0;
};

// Launches are made one at a time: the driver holds its lock.
Runner runner;

void Runner::run(const Launch& launch) {
    launch_ = &launch;
    block_.size = launch.block;
    block_.backward = settings().backward;
    *launch.image.block_size = launch.block;
    *launch.image.grid_size = launch.grid;
    const size_t count = size_t{launch.grid.x} * launch.grid.y * launch.grid.z;
    for (size_t i = 0; i < count; i++) {
        const size_t number = block_.backward ? count - 1 - i : i;
        at_ = {static_cast<unsigned>(number % launch.grid.x), static_cast<unsigned>(number / launch.grid.x % launch.grid.y),
               static_cast<unsigned>(number / launch.grid.x / launch.grid.y)};
        *launch.image.block_index = at_;
        poison();
        run_block();
        check_margin();
    }
    launch_ = nullptr;
}

// Shared memory starts without values. What a kernel reads before it writes would be what the last block left there.
void Runner::poison() const {
    const Image& image = launch_->image;
    memset(image.shared, UNDEFINED, static_cast<size_t>(image.dynamic - image.shared));
    memset(image.dynamic, UNDEFINED, launch_->dynamic_bytes);
    memset(image.dynamic + launch_->dynamic_bytes, MARGIN, SHARED_MARGIN);
}

void Runner::check_margin() const {
    const char* margin = launch_->image.dynamic + launch_->dynamic_bytes;
    // Compared with itself, moved by one: all bytes are as the first.
    if (static_cast<unsigned char>(margin[0]) != MARGIN || memcmp(margin, margin + 1, SHARED_MARGIN - 1) != 0) {
        fail("it wrote behind its dynamic shared memory");
    }
}

void Runner::run_block() {
    const unsigned threads = block_.size.x * block_.size.y * block_.size.z;
    const unsigned warps = (threads + WARP - 1) / WARP;
    memset(state_, Gone, sizeof state_);
    auto warp = [&](unsigned i) { return block_.backward ? warps - 1 - i : i; };
    for (unsigned i = 0; i < warps; i++) {
        block_.next = warp(i) * WARP;
        block_.end = block_.next + WARP < threads ? block_.next + WARP : threads;
        start();
        advance(warp(i));
    }
    for (;;) {
        unsigned at_barrier = 0, in_exchange = 0;
        for (unsigned thread = 0; thread < threads; thread++) {
            at_barrier += state_[thread] == AtBarrier;
            in_exchange += state_[thread] == InExchange;
        }
        if (in_exchange > 0) {
            fail("threads wait for others of their warp that will not come: not all lanes of the mask take part");
        }
        if (at_barrier == 0) {
            return;
        }
        // All that have not ended are there; those that have do not count.
        for (unsigned thread = 0; thread < threads; thread++) {
            state_[thread] = state_[thread] == AtBarrier ? Ready : state_[thread];
        }
        barrier_result_ = barrier_sum_;
        barrier_sum_ = 0;
        for (unsigned i = 0; i < warps; i++) {
            advance(warp(i));
        }
    }
}

void Runner::start() {
    while (block_.next < block_.end) {
        if (idle_.empty()) {
            auto body = [](void* self) {
                auto* runner = static_cast<Runner*>(self);
                runner->launch_->kernel.run(runner->launch_->arguments, runner->block_);
                runner->idle_.push_back(runner->running_);
            };
            fibers_.push_back(std::make_unique<Fiber>(body, this, fibers_.size()));
            idle_.push_back(fibers_.back().get());
        }
        Fiber* fiber = idle_.back();
        idle_.pop_back();
        enter(fiber);
    }
}

void Runner::enter(Fiber* fiber) {
    running_ = fiber;
    fiber->enter();
}

// Runs the warp's threads until all of them wait for other warps or have ended.
void Runner::advance(unsigned warp) {
    const unsigned first = warp * WARP;
    for (;;) {
        for (unsigned i = 0; i < WARP; i++) {
            const unsigned thread = first + (block_.backward ? WARP - 1 - i : i);
            if (state_[thread] == Ready) {
                // It is gone, unless it waits again.
                state_[thread] = Gone;
                block_.current = thread;
                enter(fiber_[thread]);
            }
        }
        if (!finish_exchanges(warp)) {
            return;
        }
    }
}

bool Runner::finish_exchanges(unsigned warp) {
    const unsigned first = warp * WARP;
    bool any = false;
    for (unsigned lane = 0; lane < WARP; lane++) {
        if (state_[first + lane] != InExchange) {
            continue;
        }
        const unsigned mask = exchange_[first + lane]->mask;
        bool complete = true;
        for (unsigned other = 0; other < WARP && complete; other++) {
            const State state = state_[first + other];
            complete =
                !(mask >> other & 1) || state == Gone || (state == InExchange && exchange_[first + other]->mask == mask);
        }
        for (unsigned other = 0; other < WARP && complete; other++) {
            uint64_t (&brought)[2] = brought_[first + other];
            if ((mask >> other & 1) && state_[first + other] == InExchange) {
                Exchange& with = *exchange_[first + other];
                memcpy(brought, with.brought, sizeof brought);
                with.all = brought_ + first;
                state_[first + other] = Ready;
                any = true;
            } else if (state_[first + other] != Ready) {
                memset(brought, UNDEFINED, sizeof brought);
            }
        }
    }
    return any;
}

void Runner::leave(State state) {
    const unsigned thread = block_.current;
    state_[thread] = state;
    fiber_[thread] = running_;
    running_->leave();
}

int Runner::barrier(int brought) {
    barrier_sum_ += brought;
    leave(AtBarrier);
    return barrier_result_;
}

void Runner::exchange(Exchange* with) {
    if (!(with->mask >> lane() & 1)) {
        fail("a thread exchanges values under a mask that leaves it out");
    }
    exchange_[block_.current] = with;
    leave(InExchange);
}

unsigned Runner::active() const {
    const unsigned first = block_.current / WARP * WARP;
    unsigned lanes = 1u << lane();
    for (unsigned other = 0; other < WARP; other++) {
        const unsigned thread = first + other;
        const bool unstarted = thread >= block_.next && thread < block_.end;
        lanes |= static_cast<unsigned>(unstarted || state_[thread] != Gone) << other;
    }
    return lanes;
}

void Runner::fail(const char* reason) const {
    const uint3 thread = block_.index(block_.current);
    fprintf(stderr, "emulated GPU: kernel %s, block %u,%u,%u of %u,%u,%u, thread %u,%u,%u (or after it): %s\n",
            launch_->kernel.name, at_.x, at_.y, at_.z, launch_->grid.x, launch_->grid.y, launch_->grid.z, thread.x, thread.y,
            thread.z, reason);
    abort();
}

}  // namespace

void run(const Launch& launch) { runner.run(launch); }

}  // namespace emulate

int s2pipe_emulate_barrier(int brought) { return emulate::runner.barrier(brought); }
void s2pipe_emulate_exchange(emulate::Exchange* with) { emulate::runner.exchange(with); }
unsigned s2pipe_emulate_lane() { return emulate::runner.lane(); }
unsigned s2pipe_emulate_active() { return emulate::runner.active(); }
void s2pipe_emulate_trap(const char* reason) { emulate::runner.fail(reason); }
