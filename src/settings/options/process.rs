//! Options about the process that runs the command: what gosu, su-exec, setpriv and s6-setuidgid are used for.

#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]

use crate::settings::options::parse;
use crate::values::user::UserSpec;
use clap::Args;
use clap::builder::BoolishValueParser;
use std::path::PathBuf;

/// As whom, where and under which limits the command runs.
#[derive(Debug, PartialEq, Eq, Args)]
pub struct ProcessOptions {
    /// Run the command as this user, by name or id, with the user's groups; listeners are bound before.
    ///
    /// HOME, USER and LOGNAME are set to the user's. We keep only the rights to signal it and to start it anew.
    #[arg(long, value_name = "USER[:GROUP]", env = "PREFORK_USER")]
    #[arg(value_parser = parse::parse_user)]
    pub user: Option<UserSpec>,

    /// Run the command with this group alone, by name or id [default: the user's groups].
    #[arg(long, value_name = "GROUP", env = "PREFORK_GROUP")]
    pub group: Option<String>,

    /// Let no set-user-ID program give the command more rights.
    #[arg(long, env = "PREFORK_NO_NEW_PRIVS", value_parser = BoolishValueParser::new())]
    pub no_new_privs: bool,

    /// The command's file mode creation mask, in octal.
    #[arg(long, value_name = "MASK", env = "PREFORK_UMASK", value_parser = parse::parse_umask)]
    #[arg(allow_negative_numbers = true)]
    pub umask: Option<u32>,

    /// The command's working directory.
    #[arg(long, value_name = "DIR", env = "PREFORK_CHDIR")]
    pub chdir: Option<PathBuf>,

    /// How early the kernel kills the command for want of memory: from -1000, never, to 1000, first.
    #[arg(long, value_name = "N", env = "PREFORK_OOM_SCORE_ADJ")]
    #[arg(allow_negative_numbers = true, value_parser = parse::parse_oom_score_adj)]
    pub oom_score_adj: Option<i32>,
}
