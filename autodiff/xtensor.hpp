// The one place where xtensor's headers are included: its files moved in 0.26, and one bug needs a cure before first
// use.
#pragma once

#if __has_include(<xtensor/containers/xarray.hpp>)
#include <xtensor/containers/xarray.hpp>
#else
#include <xtensor/xarray.hpp>
#endif

#if XTENSOR_VERSION_MAJOR == 0 && XTENSOR_VERSION_MINOR <= 25
// In C++20 these versions take their own dynamic shape for one of fixed size, and reductions with axes crash.
namespace xt::detail {
template <> struct xtype_for_shape<dynamic_shape<std::size_t>> {
    template <class T, layout_type L> using type = xarray<T, L>;
};
template <> struct xtype_for_shape<dynamic_shape<std::ptrdiff_t>> {
    template <class T, layout_type L> using type = xarray<T, L>;
};
}  // namespace xt::detail
#endif
