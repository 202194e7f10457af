//! coupon
