//! The read side: the engine that folds the log into views, and the views.
