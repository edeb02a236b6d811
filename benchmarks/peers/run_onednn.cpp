// The products of matrices of the comparison, with oneDNN: its sgemm and its matmul primitive, of which the faster
// counts.
#include <omp.h>
#include <oneapi/dnnl/dnnl.hpp>

#include "matmul.hpp"

namespace {

void sgemm(peers::Product& p) {
    for (std::size_t i = 0; i < p.count; ++i)
        dnnl_sgemm(p.transpose_a ? 'T' : 'N', p.transpose_b ? 'T' : 'N', static_cast<dnnl_dim_t>(p.rows),
                   static_cast<dnnl_dim_t>(p.columns), static_cast<dnnl_dim_t>(p.depth), 1.0f,
                   p.a + i * p.rows * p.depth, static_cast<dnnl_dim_t>(p.a_stride()),
                   p.b + i * p.depth * p.columns, static_cast<dnnl_dim_t>(p.b_stride()), 0.0f,
                   p.c + i * p.rows * p.columns, static_cast<dnnl_dim_t>(p.columns));
}

class Matmul {
public:
    explicit Matmul(peers::Product& p)
        : a_(matrices(p.count, p.rows, p.depth, p.transpose_a), engine_, p.a),
          b_(matrices(p.count, p.depth, p.columns, p.transpose_b), engine_, p.b),
          c_(matrices(p.count, p.rows, p.columns, false), engine_, p.c),
          primitive_(dnnl::matmul::primitive_desc(engine_, a_.get_desc(), b_.get_desc(), c_.get_desc())),
          arguments_{{DNNL_ARG_SRC, a_}, {DNNL_ARG_WEIGHTS, b_}, {DNNL_ARG_DST, c_}} {}

    void operator()(peers::Product& p) {
        if (p.takes_turns()) a_.set_data_handle(p.a), b_.set_data_handle(p.b), c_.set_data_handle(p.c);
        primitive_.execute(stream_, arguments_);
        stream_.wait();
    }

private:
    static dnnl::memory::desc matrices(std::size_t count, std::size_t rows, std::size_t columns, bool transposed) {
        const auto n = static_cast<dnnl::memory::dim>(count), r = static_cast<dnnl::memory::dim>(rows),
                   c = static_cast<dnnl::memory::dim>(columns);
        dnnl::memory::dims sizes{n, r, c}, strides{r * c, transposed ? 1 : c, transposed ? r : 1};
        if (count == 1) sizes.erase(sizes.begin()), strides.erase(strides.begin());
        return {sizes, dnnl::memory::data_type::f32, strides};
    }

    dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
    dnnl::stream stream_{engine_};
    dnnl::memory a_, b_, c_;
    dnnl::matmul primitive_;
    std::unordered_map<int, dnnl::memory> arguments_;
};

}  // namespace

int main(int argc, char** argv) {
    const auto how = peers::arguments(argc, argv);
    omp_set_num_threads(how.threads);
    const dnnl_version_t* version = dnnl_version();
    const std::string name = "oneDNN " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
                             std::to_string(version->patch);
    return peers::run(name, how, [&](const peers::Case& each) {
        peers::Product product(each);
        const auto by_sgemm = product.measure(how.seconds / 2, sgemm);
        const auto by_matmul = product.measure(how.seconds / 2, Matmul(product));
        return by_sgemm.numbers[0].second < by_matmul.numbers[0].second ? by_sgemm : by_matmul;
    });
}
