//! Whole calls through the running gateway, over every way in and every way out that an administrator may configure.

mod dialogs;
mod endings;
mod links;
mod listeners;
mod rig;
