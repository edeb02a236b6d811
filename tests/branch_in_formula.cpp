// Not compiled into anything: a test sees how the compiler refuses it.
#include <xgrad/autodiff/elementwise.hpp>

int main() {
    const auto leaky = xgrad::elementwise([](auto x) {
        if (x > 0) return x;
        return x * 0.1;
    });
    return static_cast<int>(leaky(xgrad::Variable<>(1)).item());
}
