// A second stack to run a function on, left and entered again without the system's help.
#pragma once

#include <cstddef>
#include <memory>

namespace emulate {

class Fiber {
   public:
    // Runs `body(argument)` again and again; each time that it returns counts as a call of `leave`.
    Fiber(void (*body)(void*), void* argument, size_t number);
    ~Fiber();
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;

    // Goes on with it until it leaves.
    void enter();
    // Back to who entered it; called on the fiber.
    void leave();

   private:
    struct Machine;
    static void main(Fiber* self);

    void (*body_)(void*);
    void* argument_;
    void* memory_;
    std::unique_ptr<Machine> machine_;
};

}  // namespace emulate
