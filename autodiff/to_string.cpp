#include <algorithm>
#include <iterator>
#include <ostream>

#include <fmt/format.h>

#include <xgrad/autodiff/variable.hpp>

namespace xgrad {
namespace {

// Writes arrays from the outside inwards. Rows of matrices begin a line, and matrices leave one free.
template <class T> class Writer {
public:
    Writer(const Array<T>& array, std::string& text)
        : shape_(array.shape()), next_(array.data()), text_(text) {
        std::size_t room = 1000;  // numbers, or empty rows
        for (const std::size_t size : shape_) room /= std::max<std::size_t>(size, 1);
        abbreviates_ = room == 0;
    }

    void write(std::size_t axis, std::size_t size) {
        if (axis == shape_.size()) {
            fmt::format_to(std::back_inserter(text_), "{:.6g}", *next_++);
            return;
        }
        constexpr std::size_t edge = 3;
        const std::size_t count = shape_[axis], inner = count > 0 ? size / count : 0;
        text_ += '[';
        for (std::size_t i = 0; i < count; ++i) {
            if (i > 0) separate(axis);
            if (abbreviates_ && i == edge && count > 2 * edge) {
                text_ += "...";
                separate(axis);
                next_ += (count - 2 * edge) * inner;
                i = count - edge;
            }
            write(axis + 1, inner);
        }
        text_ += ']';
    }

private:
    void separate(std::size_t axis) {
        const std::size_t within = shape_.size() - 1 - axis;  // axes
        text_ += within == 0 ? ", " : ",";
        text_.append(within, '\n');
        if (within > 0) text_.append(axis + 1, ' ');
    }

    const Shape& shape_;
    bool abbreviates_;
    const T* next_;
    std::string& text_;
};

}  // namespace

template <class T> std::string to_string(const Variable<T>& x) {
    if (!x.defined()) return "empty";
    std::string text;
    Writer<T>(x.value(), text).write(0, x.size());
    return text;
}

template <class T> std::ostream& operator<<(std::ostream& out, const Variable<T>& x) { return out << to_string(x); }

template std::string to_string(const Variable<float>&);
template std::string to_string(const Variable<double>&);
template std::ostream& operator<<(std::ostream&, const Variable<float>&);
template std::ostream& operator<<(std::ostream&, const Variable<double>&);

}  // namespace xgrad
