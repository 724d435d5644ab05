#pragma once

#include <Eigen/Core>

namespace dsaperf::predict::stages {

// The x >= 0 that minimises |A x - b|, given the normal equations: `gram` = A^T A, `moment` = A^T b
// (Lawson and Hanson, 1974). Columns of zeros get 0.
Eigen::VectorXd non_negative_least_squares(const Eigen::MatrixXd& gram,
                                           const Eigen::VectorXd& moment);

}  // namespace dsaperf::predict::stages
