//! Behaviour of exchanges over the twins of store and upstream, with the clock in hand.
